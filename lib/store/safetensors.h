/* safetensors.h - one mapped safetensors file, believed only after every byte of its data has
 * exactly one owner.
 *
 * Layout:    8 bytes little-endian N, N bytes of JSON {"NAME": {"dtype", "shape",
 *            "data_offsets": [begin, end)}, "__metadata__": {str: str}}, then the data.
 * Refused:   N beyond the file or 16 MiB, JSON that is not an object of such objects, a name
 *            twice, offsets that are not integers, overlap, hole, trailing bytes, a size that
 * is not dtype times shape. Lifetime:  entries lie in the arena given; data until
 * safetensors_close(). Errors:    -1 with err set: ERR_NOINPUT cannot open, ERR_DATA the rest,
 * with offset and reason. Source:    the format's page at huggingface.co/docs/safetensors. */
#ifndef STORE_SAFETENSORS_H
#define STORE_SAFETENSORS_H

#include "base/arena.h"
#include "base/io.h"
#include "tensor/tensor.h"

#define SAFETENSORS_HEADER_MAX ((size_t)16 << 20)

struct safetensors_entry {
    const char *name;
    const char *dtype;    /* as in the file: "F8_E4M3" */
    struct tensor tensor; /* dtype DT_NONE where we have no such type */
    int ndim;             /* the file's, which may be beyond TENSOR_DIMS: then no dims here */
    size_t begin, end;    /* within the data */
};

struct safetensors {
    const char *path; /* the caller's string */
    struct io_map map;
    size_t data; /* offset of the data: 8 + N */
    struct safetensors_entry *entries;
    size_t count;
};

int safetensors_open(struct safetensors *f, const char *path, struct arena *mem);
void safetensors_close(struct safetensors *f);

/* The entry as a tensor: -1 (ERR_CONFIG) if its dtype or its rank is not one of ours. */
int safetensors_tensor(struct tensor *t, const struct safetensors_entry *e);

#endif
