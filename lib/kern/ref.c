/* ref.c - the kernels in plain C, summed in double: the oracle of the tests, and what runs on a
 * processor nobody wrote a file for. */
#include "kern/kern.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

static float from_f32(const void *p, size_t i)
{
    float f;
    memcpy(&f, (const char *)p + 4 * i, 4);
    return f;
}

static float from_bf16(const void *p, size_t i)
{
    uint16_t h;
    memcpy(&h, (const char *)p + 2 * i, 2);
    uint32_t u = (uint32_t)h << 16;
    float f;
    memcpy(&f, &u, 4);
    return f;
}

static float from_f16(const void *p, size_t i)
{
    uint16_t h;
    memcpy(&h, (const char *)p + 2 * i, 2);
    int exponent = h >> 10 & 31, fraction = h & 1023;
    float sign = h & 0x8000 ? -1 : 1;
    if (exponent == 31)
        return fraction ? sign * NAN : sign * INFINITY;
    return exponent ? sign * ldexpf((float)(1024 + fraction), exponent - 25)
                    : sign * ldexpf((float)fraction, -24);
}

typedef float from_fn(const void *p, size_t i);

static void gemm(const struct kern_gemm *g, from_fn *from, size_t size)
{
    for (size_t m = 0; m < g->M; m++)
        for (size_t n = 0; n < g->N; n++) {
            const float *x = g->x + m * g->ldx;
            const char *w = (const char *)g->w + n * g->ldw * size;
            double sum = 0;
            for (size_t k = 0; k < g->K; k++)
                sum += (double)from_f32(x, k) * from(w, k);
            g->y[m * g->ldy + n] = (float)(g->bias ? sum + from_f32(g->bias, n) : sum);
        }
}

static void gemm_f32(const struct kern_gemm *g)
{
    gemm(g, from_f32, 4);
}

static void gemm_f16(const struct kern_gemm *g)
{
    gemm(g, from_f16, 2);
}

static void gemm_bf16(const struct kern_gemm *g)
{
    gemm(g, from_bf16, 2);
}

#include "kern/rounded.inc"

static void mix(const struct kern_mix *a)
{
    for (size_t m = 0; m < a->M; m++)
        for (size_t n = 0; n < a->N; n++) {
            double sum = 0;
            for (size_t k = 0; k < a->K; k++)
                sum += (double)a->p[m * a->ldp + k] * a->v[k * a->ldv + n];
            a->y[m * a->ldy + n] = (float)sum;
        }
}

static void softmax(float *x, float scale, size_t n)
{
    double top = -INFINITY, sum = 0;
    for (size_t i = 0; i < n; i++) {
        x[i] = scale * x[i];
        top = fmax(top, x[i]);
    }
    for (size_t i = 0; i < n; i++)
        sum += exp(x[i] - top);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(exp(x[i] - top) / sum);
}

static void layernorm(float *y, const float *x, const float *w, const float *b, double eps,
                      size_t n)
{
    double mean = 0, var = 0;
    for (size_t i = 0; i < n; i++)
        mean += x[i] / (double)n;
    for (size_t i = 0; i < n; i++)
        var += (x[i] - mean) * (x[i] - mean) / (double)n;
    double scale = 1 / sqrt(var + eps);
    for (size_t i = 0; i < n; i++)
        y[i] = (float)((x[i] - mean) * scale * w[i] + b[i]);
}

static void add(float *y, const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = a[i] + b[i];
}

static void relu(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = x[i] < 0 ? 0 : x[i]; /* keeps a NaN */
}

static void gelu(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(0.5 * x[i] * (1 + erf(x[i] * 0.70710678118654752)));
}

static void quick_gelu(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(x[i] / (1 + exp(-1.702 * x[i])));
}

static void widen_f32(float *y, const void *x, size_t n)
{
    if (n)
        memcpy(y, x, n * 4);
}

static void widen_f16(float *y, const void *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = from_f16(x, i);
}

static void widen_bf16(float *y, const void *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = from_bf16(x, i);
}

const struct kern_bf16 kern_ref_bf16 = { row_rounded, encode_rounded, gemm_rounded };
const struct kern kern_ref = {
    .name = "ref",
    .i8 = &kern_ref_i8,
    .i4 = &kern_ref_i4,
    .bf16 = &kern_ref_bf16,
    .gemm = { gemm_f32, gemm_f16, gemm_bf16 },
    .mix = mix,
    .softmax = softmax,
    .layernorm = layernorm,
    .add = add,
    .relu = relu,
    .gelu = gelu,
    .quick_gelu = quick_gelu,
    .widen = { widen_f32, widen_f16, widen_bf16 },
};
