/* tensor.h - a dense array in C order: a view that owns nothing, passed by value.
 *
 * Knows nothing of:  where the bytes came from, what they mean.
 * Lifetime:          that of the memory it points to (a mapped file, an arena, a record).
 * Errors:            -1 with err set. */
#ifndef TENSOR_TENSOR_H
#define TENSOR_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TENSOR_DIMS 4

/* DT_I4: values -8..7 stored as 0..15, two a byte, the low half first; rows of whole bytes.
 * Only weights have it; no file or stream names it. */
enum dtype {
    DT_NONE,
    DT_F32,
    DT_F16,
    DT_BF16,
    DT_F64,
    DT_I8,
    DT_U8,
    DT_BOOL,
    DT_I32,
    DT_I64,
    DT_I4
};

struct tensor {
    void *data; /* NULL: no tensor */
    enum dtype dtype;
    int ndim;
    int64_t dim[TENSOR_DIMS];
};

/* Bytes of an item; 0 for DT_I4, two of whose items share one: tensor_bytes() counts those. */
size_t dtype_size(enum dtype t);

/* "f32", "bf16", ... as tensor-info prints it. */
const char *dtype_name(enum dtype t);

/* One value converted; f16 and bf16 round to nearest even, and keep NaN a NaN. */
float dtype_f16_to_f32(uint16_t h);
float dtype_bf16_to_f32(uint16_t h);
uint16_t dtype_f32_to_f16(float f);
uint16_t dtype_f32_to_bf16(float f);

/* Views over data the caller keeps. */
struct tensor tensor_1d(void *data, enum dtype t, int64_t a);
struct tensor tensor_2d(void *data, enum dtype t, int64_t a, int64_t b);
struct tensor tensor_3d(void *data, enum dtype t, int64_t a, int64_t b, int64_t c);

int64_t tensor_count(struct tensor t); /* product of the dims; 1 for ndim 0 */
size_t tensor_bytes(struct tensor t);

/* Product of dims times the item size, or -1 (ERR_DATA) if a dim is negative or it overflows.
 */
int tensor_size_checked(size_t *bytes, enum dtype t, int ndim, const int64_t *dim);

bool tensor_same_shape(struct tensor a, struct tensor b);

/* "(257, 1408)" into buf; gives buf. */
#define TENSOR_SHAPE_MAX 96
const char *tensor_shape_str(char buf[TENSOR_SHAPE_MAX], struct tensor t);

/* dst[0..count) = the tensor's values as f32, any dtype, any alignment. */
void tensor_to_f32(float *dst, struct tensor t);

/* The i-th value as a double; i64 values beyond 2^53 lose bits. */
double tensor_at(struct tensor t, int64_t i);

/* -1 (ERR_DATA) naming the first NaN or infinity; integer tensors are always fine. */
int tensor_check_finite(struct tensor t, const char *name);

#endif
