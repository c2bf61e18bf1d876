/* tensor.c - shapes, sizes and element access: see tensor.h. */
#include "tensor/tensor.h"

#include "base/err.h"
#include "base/math.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static struct tensor view(void *data, enum dtype t, int ndim, int64_t a, int64_t b, int64_t c)
{
    return (struct tensor){ .data = data, .dtype = t, .ndim = ndim, .dim = { a, b, c } };
}

struct tensor tensor_1d(void *data, enum dtype t, int64_t a)
{
    return view(data, t, 1, a, 0, 0);
}

struct tensor tensor_2d(void *data, enum dtype t, int64_t a, int64_t b)
{
    return view(data, t, 2, a, b, 0);
}

struct tensor tensor_3d(void *data, enum dtype t, int64_t a, int64_t b, int64_t c)
{
    return view(data, t, 3, a, b, c);
}

int64_t tensor_count(struct tensor t)
{
    int64_t n = 1;
    for (int i = 0; i < t.ndim; i++)
        n *= t.dim[i];
    return n;
}

size_t tensor_bytes(struct tensor t)
{
    size_t n = (size_t)tensor_count(t);
    return t.dtype == DT_I4 ? n / 2 : n * dtype_size(t.dtype);
}

int tensor_size_checked(size_t *bytes, enum dtype t, int ndim, const int64_t *dim)
{
    size_t n = t == DT_I4 ? 1 : dtype_size(t);
    bool empty = false, fits = true;
    for (int i = 0; i < ndim; i++) {
        if (dim[i] < 0)
            return err_set(ERR_DATA, "negative dimension %lld", (long long)dim[i]);
        empty |= dim[i] == 0;
        fits = fits && math_mul(&n, n, (size_t)dim[i]) && n <= (size_t)INT64_MAX;
    }
    if (!empty && !fits)
        return err_set(ERR_DATA, "shape overflows");
    *bytes = empty ? 0 : t == DT_I4 ? n / 2 : n;
    return 0;
}

bool tensor_same_shape(struct tensor a, struct tensor b)
{
    return a.ndim == b.ndim && !memcmp(a.dim, b.dim, (size_t)a.ndim * sizeof a.dim[0]);
}

const char *tensor_shape_str(char buf[TENSOR_SHAPE_MAX], struct tensor t)
{
    size_t n = 0;
    buf[n++] = '(';
    for (int i = 0; i < t.ndim; i++)
        n += (size_t)snprintf(buf + n, TENSOR_SHAPE_MAX - n, "%s%lld", i ? ", " : "",
                              (long long)t.dim[i]);
    snprintf(buf + n, TENSOR_SHAPE_MAX - n, "%s", t.ndim == 1 ? ",)" : ")");
    return buf;
}

/* memcpy instead of a cast: tensors in a received record can lie at any address. */
#define LOAD(type, t, i)                                                                       \
    ({                                                                                         \
        type v_;                                                                               \
        memcpy(&v_, (const char *)(t).data + (size_t)(i) * sizeof v_, sizeof v_);              \
        v_;                                                                                    \
    })

double tensor_at(struct tensor t, int64_t i)
{
    switch (t.dtype) {
    case DT_F32:
        return LOAD(float, t, i);
    case DT_F16:
        return dtype_f16_to_f32(LOAD(uint16_t, t, i));
    case DT_BF16:
        return dtype_bf16_to_f32(LOAD(uint16_t, t, i));
    case DT_F64:
        return LOAD(double, t, i);
    case DT_I8:
        return LOAD(int8_t, t, i);
    case DT_U8:
    case DT_BOOL:
        return LOAD(uint8_t, t, i);
    case DT_I32:
        return LOAD(int32_t, t, i);
    case DT_I64:
        return (double)LOAD(int64_t, t, i);
    case DT_I4:
        return (LOAD(uint8_t, t, i / 2) >> (i % 2 * 4) & 15) - 8;
    case DT_NONE:
        break;
    }
    return NAN;
}

void tensor_to_f32(float *dst, struct tensor t)
{
    int64_t n = tensor_count(t);
    if (t.dtype == DT_F32) {
        if (n)
            memcpy(dst, t.data, (size_t)n * sizeof *dst);
        return;
    }
    for (int64_t i = 0; i < n; i++)
        dst[i] = (float)tensor_at(t, i);
}

static bool is_float(enum dtype t)
{
    return t == DT_F32 || t == DT_F16 || t == DT_BF16 || t == DT_F64;
}

/* Exponents alone are looked at, by a loop that compilers make wide: a picture's embeddings are
 * 360,000 floats. */
static bool f32_finite(struct tensor t, int64_t n)
{
    uint32_t largest = 0;
    for (int64_t i = 0; i < n; i++) {
        uint32_t exponent = LOAD(uint32_t, t, i) & 0x7f800000;
        largest = exponent > largest ? exponent : largest;
    }
    return largest != 0x7f800000;
}

int tensor_check_finite(struct tensor t, const char *name)
{
    int64_t n = tensor_count(t);
    if (!is_float(t.dtype) || (t.dtype == DT_F32 && f32_finite(t, n)))
        return 0;
    for (int64_t i = 0; i < n; i++) {
        double v = tensor_at(t, i);
        if (!isfinite(v))
            return err_set(ERR_DATA, "%s: %s at index %lld, expected finite values", name,
                           isnan(v) ? "NaN" : "infinity", (long long)i);
    }
    return 0;
}
