/* source.h - the images a command is given: operands, a list of names, directories, a tar
 * archive; as records.
 *
 * Order:   operands as given, then the list's names; within a directory by name, bytewise.
 * Memory:  constant in the number of files, but for the names of the directories being walked.
 * Errors:  -1 with err set. A file that cannot be read is no error here: whoever reads it says
 *          so, in its record. */
#ifndef FRONT_SOURCE_H
#define FRONT_SOURCE_H

#include "wire/record.h"

struct source_args {
    char **names; /* operands; "-" is standard input, read as one image */
    int count;
    const char *list; /* -T: a file with a name a line ("-": standard input), or NULL */
    bool null;        /* -0: names in it end in NUL */
    bool recursive;   /* -r: files in directories that are images by content; links to
                         directories are not followed */
    const char *tar;  /* --tar: an archive ("-": standard input) in place of all that: those of
                         its files that are images by content or name, by their key */
    bool only_names;  /* of an archive: no bytes */
    const char *skip; /* leave out files that have such a sidecar (front/sidecar.h), or NULL */
};

struct source;

/* ERR_NOINPUT if the list or archive cannot be opened, ERR_USAGE for other images beside one.
 * The arguments are kept by the caller. */
struct source *source_new(const struct source_args *a);
void source_free(struct source *s);

/* The next file: rec gets id and path; for standard input id "-" and image (its bytes); of an
 * archive the key (webdataset's: the name up to the first dot after the last slash) as id, and
 * image. 1, 0 at the end, -1. rec comes cleared. */
int source_next(struct source *s, struct record *rec);

/* Whether source_next() would not wait for a list that comes through a pipe. */
bool source_ready(struct source *s);

#endif
