/* convert.h - streams of records to and from .npy and .safetensors: what tensor-convert does.
 *
 * .npy          one field: its tensors stacked along a new first axis, or a file each
 * .safetensors  every tensor of every record (or one field's), named FIELD/ID; a second record
 *               of the same id gives FIELD/ID#2, and so on
 *
 * Errors:  -1 with err set. */
#ifndef FRONT_CONVERT_H
#define FRONT_CONVERT_H

#include "wire/wire.h"

struct convert {
    const char *field; /* NULL: the only tensor there is (.npy), or all of them */
    const char *ids;   /* a file with an id a line, in the order of the rows, or NULL */
    bool per_record;   /* .npy: a file for each record, not one for all */
};

/* Writes the stream's tensors to out (a directory with per_record). 0, or 1 if there were error
 * records, which are told of and left out. */
int convert_to_npy(const struct convert *c, struct wire_reader *in, const char *out);
int convert_to_safetensors(const struct convert *c, struct wire_reader *in, const char *out);

/* Files as records, one after another. */
struct convert_source;
struct convert_source *convert_source_new(const struct convert *c, bool npy, char **files,
                                          int n);
void convert_source_free(struct convert_source *s);
int convert_source_next(struct convert_source *s, struct record *rec); /* 1, 0, -1 */

#endif
