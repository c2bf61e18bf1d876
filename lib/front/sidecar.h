/* sidecar.h - an answer in a file beside its picture: a text file for training scripts, or XMP
 * metadata that photo programs read (dc:description).
 *
 * Written:  complete or not at all. A file that is there is never replaced unless told so, and
 *           an XMP file never unless this program made it: it may hold somebody's work.
 * Errors:   -1 with err set: ERR_IO; ERR_DATA for a file that is not to be replaced. */
#ifndef FRONT_SIDECAR_H
#define FRONT_SIDECAR_H

#include <stdbool.h>
#include <stddef.h>

enum sidecar {
    SIDECAR_TXT,      /* a.jpg: a.txt */
    SIDECAR_XMP,      /* a.jpg.xmp */
    SIDECAR_XMP_STEM, /* a.xmp */
    SIDECAR_NONE
};

/* "txt", "xmp", "xmp:stem", NULL; and the kind of such a word, SIDECAR_NONE for NULL or others.
 */
extern const char *const sidecar_words[];
enum sidecar sidecar_of(const char *word);

/* Where the sidecar of a picture is. false: the name is too long. */
bool sidecar_path(char *path, size_t n, const char *image, enum sidecar kind);

/* Whether there is one. */
bool sidecar_is_there(const char *image, enum sidecar kind);

/* text: UTF-8, n bytes. */
int sidecar_write(const char *image, enum sidecar kind, const char *text, size_t n,
                  bool overwrite);

#endif
