/* kern.h - the inner loops, on raw pointers: one table an instruction set.
 *
 * Every function: no allocation, no failure, any tail, n = 0 fine; NaN and
 * infinity go through as IEEE 754 has them. Alignment is that of an item. Rows are `ld` items
 * apart. Outputs do not overlap inputs unless it says so.
 *
 * Same bits:  an output element is computed in one order that depends on the sizes it sums over
 * (K, n) alone, never on M, N, its place in the matrix or an address: any split of rows or
 * columns among threads and batches gives the same bits. Instruction sets differ in rounding.
 * Accuracy:   tests/unit/kern.c, against ref, which accumulates in double.
 * Knows nothing of:  tensors, threads. */
#ifndef KERN_KERN_H
#define KERN_KERN_H

#include <stdbool.h>
#include <stddef.h>

enum kern_type { KERN_F32, KERN_F16, KERN_BF16, KERN_TYPES };

/* y (M, N) = x (M, K) w^T + bias: w (N, K) of the function's type, bias (N) or NULL. */
struct kern_gemm {
    size_t M, N, K;
    const float *x;
    const void *w;
    const float *bias;
    float *y;
    size_t ldx, ldw, ldy;
};

/* y (M, N) = p (M, K) v (K, N), all f32: probabilities times values. */
struct kern_mix {
    size_t M, N, K;
    const float *p, *v;
    float *y;
    size_t ldp, ldv, ldy;
};

/* y (M, N) = x (M, K) w^T + bias with weights that are whole numbers and have scales:
 *
 *   i8  w of bytes -128..127, scale (N) f32: w[n][k] ~ scale[n] byte
 *   i4  w of half bytes 0..15, the low half first, scale (N, K/group) of type `scales`:
 *       w[n][k] ~ scale[n][k/group] (half - 8); group a multiple of 32, K of group
 *
 * x is encoded first, row by row, once for all columns: x[k] ~ step (q[k] - zero), where q =
 * 0..255 spans the row's values and 0 (which is exact). Sums of products are exact, K <= 65536:
 *
 *   i8  y = sum((q - zero) byte) (step scale) + bias
 *   i4  y = (S(q) - zero S(1)) step + bias, S(q) = sum_b(sum_32(q (half - 8)) scale) by fused
 *       multiply-adds, a block of 32 after the other
 *
 * i8 weights may lie by input instead, w (K, N), K <= 16384: then, for up to 8 rows of x, rows
 * of w are not read if all they would be multiplied with is 0.
 *
 * Every operation and its rounding is as written here, so all tables give the same bits. How a
 * row of codes lies in memory is each table's own affair. A row of x that is not finite gives
 * NaN. */
struct kern_int_gemm {
    size_t M, N, K, group;
    const void *x; /* what encode() made, ldx bytes apart */
    const void *w; /* ldw bytes apart */
    const void *scale;
    const float *bias;
    float *y;
    size_t ldx, ldw, lds, ldy;
    enum kern_type scales;
    bool by_input;
};

struct kern_int {
    size_t (*row_size)(size_t K); /* bytes of an encoded row, a multiple of 64 */
    void (*encode)(void *row, const float *x, size_t K); /* row: 64-byte aligned */
    void (*gemm)(const struct kern_int_gemm *g);
};

/* y (M, N) = x (M, K) w^T + bias with both of bf16 and sums of f32: w (N, K) as stored. x is
 * encoded first, row by row, once for all columns: each value rounded to the nearest bf16, even
 * if halfway; NaN stays NaN. Products are exact, as for gemm. avx512bf16 takes what is below
 * 2^-126 as 0: items, products and sums. */
struct kern_bf16_gemm {
    size_t M, N, K;
    const void *x; /* what encode() made, ldx bytes apart */
    const void *w; /* ldw items apart */
    const float *bias;
    float *y;
    size_t ldx, ldw, ldy;
};

struct kern_bf16 {
    size_t (*row_size)(size_t K); /* bytes of an encoded row, a multiple of 64 */
    void (*encode)(void *row, const float *x, size_t K); /* row: 64-byte aligned */
    void (*gemm)(const struct kern_bf16_gemm *g);
};

struct kern {
    const char *name; /* "ref", "avx2", "avxvnni", "avx512", "avx512vnni", "avx512bf16" */
    const struct kern_int *i8, *i4;
    const struct kern_bf16 *bf16;

    void (*gemm[KERN_TYPES])(const struct kern_gemm *g);
    void (*mix)(const struct kern_mix *m);

    /* x[i] = exp(scale x[i]) / their sum, in place; scale > 0. */
    void (*softmax)(float *x, float scale, size_t n);

    /* y[i] = (x[i] - mean) / sqrt(var + eps) * w[i] + b[i]; y may be x. */
    void (*layernorm)(float *y, const float *x, const float *w, const float *b, double eps,
                      size_t n);

    /* y[i] = a[i] + b[i]; y may be a or b. */
    void (*add)(float *y, const float *a, const float *b, size_t n);

    /* In place. gelu is x/2 (1 + erf(x/sqrt 2)); quick_gelu x / (1 + exp(-1.702 x)). */
    void (*relu)(float *x, size_t n);
    void (*gelu)(float *x, size_t n);
    void (*quick_gelu)(float *x, size_t n);

    /* y[i] = x[i] as f32. */
    void (*widen[KERN_TYPES])(float *y, const void *x, size_t n);
};

/* The table of that name, NULL if the word is unknown or this processor cannot run it; the best
 * this processor has for name NULL. */
const struct kern *kern_get(const char *name);

/* The i-th table this processor can run, by rising speed, ref first; NULL past the last. */
const struct kern *kern_at(int i);

extern const struct kern kern_ref, kern_avx2, kern_avxvnni, kern_avx512, kern_avx512vnni,
    kern_avx512bf16;
extern const struct kern_int kern_ref_i8, kern_ref_i4, kern_avx2_i8, kern_avx2_i4,
    kern_avxvnni_i8, kern_avxvnni_i4, kern_avx512_i8, kern_avx512_i4, kern_avx512vnni_i8,
    kern_avx512vnni_i4;
extern const struct kern_bf16 kern_ref_bf16, kern_avx2_bf16, kern_avx512_bf16,
    kern_avx512bf16_bf16;

#endif
