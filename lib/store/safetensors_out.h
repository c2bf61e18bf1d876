/* safetensors_out.h - writes a safetensors file tensor by tensor. The header, which comes first
 * in the file, is known only at the end, so data wait in a nameless file beside it: memory does
 * not grow with them.
 *
 * Owns:    both files, until safetensors_out_close().
 * Errors:  -1 with err set: ERR_IO, ERR_OS, ERR_DATA a name that is not UTF-8. */
#ifndef STORE_SAFETENSORS_OUT_H
#define STORE_SAFETENSORS_OUT_H

#include "base/outfile.h"
#include "tensor/tensor.h"

#include <stdbool.h>
#include <stddef.h>

struct json_t;

struct safetensors_out {
    struct outfile file;
    int data_fd;
    struct json_t *header;
    size_t bytes;
};

int safetensors_out_open(struct safetensors_out *o, const char *path);

bool safetensors_out_has(const struct safetensors_out *o, const char *name);

/* name must be new. Data are written at once, in their dtype. */
int safetensors_out_add(struct safetensors_out *o, const char *name, struct tensor t);

/* Writes header and data and publishes the file. Close comes after this too. */
int safetensors_out_finish(struct safetensors_out *o);

/* Returns everything; what was not finished leaves no file. */
void safetensors_out_close(struct safetensors_out *o);

#endif
