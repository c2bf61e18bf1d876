/* draw_source.h - whatever holds tensors, as records: a stream, .npy and .safetensors files,
 * and pictures.
 *
 * Errors:  -1 with err set, as convert.h and input.h say. */
#ifndef FRONT_DRAW_SOURCE_H
#define FRONT_DRAW_SOURCE_H

#include "front/convert.h"
#include "front/input.h"

struct draw_source {
    struct convert convert; /* what convert_source reads by */
    struct convert_source *files;
    struct input stream;
    struct buf image; /* the bytes of a picture: one record, then none */
    char *path;
};

/* path NULL or "-": a stream on standard input. Files are told by their content, but for
 * .safetensors, whose name must end so. field: the one tensor wanted of a checkpoint, and what
 * a .npy file's array is called; or NULL. */
int draw_source_open(struct draw_source *s, char *path, const char *field);
int draw_source_next(struct draw_source *s, struct record *rec); /* 1, 0, -1 */

/* Also after a failed draw_source_open(). */
void draw_source_close(struct draw_source *s);

#endif
