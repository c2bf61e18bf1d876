/* npy.h - NumPy's .npy files: one array and its type and shape in a line of Python.
 *
 * Errors:  -1 with err set: ERR_NOINPUT cannot open, ERR_DATA not .npy, an element type or
 * order that is not ours, or a length that is not the shape's. Source:  numpy.lib.format's
 * documentation, versions 1.0 to 3.0; 1.0 is written. */
#ifndef STORE_NPY_H
#define STORE_NPY_H

#include "base/arena.h"
#include "base/io.h"
#include "tensor/tensor.h"

#define NPY_DIMS   (TENSOR_DIMS + 1) /* records stacked: one more than a record's tensor */
#define NPY_HEADER 128               /* what we write: the same size for any shape of ours */

/* The header for an array of count tensors like t, or (count < 0) of t alone. bf16, which NumPy
 * lacks, must have been made f32 before. */
void npy_header(unsigned char header[NPY_HEADER], struct tensor t, int64_t count);

struct npy {
    struct io_map map;
    enum dtype dtype;
    bool swapped; /* big-endian data */
    int ndim;
    int64_t dim[NPY_DIMS];
    const unsigned char *data;
};

int npy_open(struct npy *f, const char *path);
void npy_close(struct npy *f);

/* Views of the mapping, or copies in mem where order or alignment ask for one: the whole array,
 * and the i-th along its first axis (0 <= i < dim[0]). */
int npy_tensor(struct tensor *t, const struct npy *f, struct arena *mem);
int npy_row(struct tensor *t, const struct npy *f, int64_t i, struct arena *mem);

#endif
