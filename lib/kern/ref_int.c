/* ref_int.c - products with whole numbers, in plain C: what kern.h says, word by word. */
#include "kern/kern.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

struct codes {
    float step;
    int16_t zero, q[];
};

static size_t row_size(size_t K)
{
    return (sizeof(struct codes) + K * sizeof(int16_t) + 63) / 64 * 64;
}

static int16_t code(float x, float inverse, float zero)
{
    float q = rintf(x * inverse) + zero;
    return (int16_t)(q < 0 ? 0 : q > 255 ? 255 : q);
}

/* A step too small to be divided by is none: such a row is all 0. */
static void encode(void *row, const float *x, size_t K)
{
    struct codes *c = row;
    float low = 0, high = 0, finite = 0;
    for (size_t k = 0; k < K; k++) {
        low = x[k] < low ? x[k] : low;
        high = x[k] > high ? x[k] : high;
        finite += x[k] * 0; /* 0, or NaN */
    }
    float step = high / 255 - low / 255;
    float inverse = finite == 0 && step > 1e-37f ? 1 / step : 0;
    float zero = finite == 0 ? rintf(-low * inverse) : 0;
    c->step = step + finite;
    c->zero = (int16_t)zero;
    for (size_t k = 0; k < K; k++)
        c->q[k] = finite == 0 ? code(x[k], inverse, zero) : 0;
}

static float bias_of(const struct kern_int_gemm *g, size_t n)
{
    return g->bias ? g->bias[n] : 0;
}

static const struct codes *row_of(const struct kern_int_gemm *g, size_t m)
{
    return (const void *)((const char *)g->x + m * g->ldx);
}

static void gemm_i8(const struct kern_int_gemm *g)
{
    for (size_t m = 0; m < g->M; m++)
        for (size_t n = 0; n < g->N; n++) {
            const struct codes *c = row_of(g, m);
            const int8_t *w = (const int8_t *)g->w + n * (g->by_input ? 1 : g->ldw);
            size_t next = g->by_input ? g->ldw : 1;
            const float *scale = g->scale;
            int32_t sum = 0;
            for (size_t k = 0; k < g->K; k++)
                sum += (c->q[k] - c->zero) * w[k * next];
            g->y[m * g->ldy + n] = (float)sum * (c->step * scale[n]) + bias_of(g, n);
        }
}

static float scale_at(const struct kern_int_gemm *g, size_t n, size_t group)
{
    float f;
    size_t size = g->scales == KERN_F32 ? 4 : 2;
    kern_ref.widen[g->scales](&f, (const char *)g->scale + (n * g->lds + group) * size, 1);
    return f;
}

/* S(q); S(1) for q NULL. */
static float dot_i4(const struct kern_int_gemm *g, const int16_t *q, size_t n)
{
    const uint8_t *w = (const uint8_t *)g->w + n * g->ldw;
    float total = 0;
    for (size_t k0 = 0; k0 < g->K; k0 += 32) {
        int32_t sum = 0;
        for (size_t k = k0; k < k0 + 32; k++)
            sum += (q ? q[k] : 1) * ((w[k / 2] >> (k % 2 * 4) & 15) - 8);
        total = fmaf((float)sum, scale_at(g, n, k0 / g->group), total);
    }
    return total;
}

static void gemm_i4(const struct kern_int_gemm *g)
{
    for (size_t m = 0; m < g->M; m++)
        for (size_t n = 0; n < g->N; n++) {
            const struct codes *c = row_of(g, m);
            float sum = fmaf(-(float)c->zero, dot_i4(g, NULL, n), dot_i4(g, c->q, n));
            g->y[m * g->ldy + n] = sum * c->step + bias_of(g, n);
        }
}

const struct kern_int kern_ref_i8 = { row_size, encode, gemm_i8 };
const struct kern_int kern_ref_i4 = { row_size, encode, gemm_i4 };
