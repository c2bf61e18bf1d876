/* quant.c - see quant.h. */
#include "quant/quant.h"

#include "base/err.h"
#include "kern/kern.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const quant_words[] = { "stored", "int8", "int4", "bf16", NULL };

bool quant_fits(const struct quant *q, struct tensor w)
{
    if (w.ndim != 2 || w.dim[0] < 1 || w.dim[1] < 1)
        return false;
    if (q->scheme == QUANT_BF16)
        return true;
    return w.dim[1] <= QUANT_INNER &&
           (q->scheme == QUANT_INT8 || (q->scheme == QUANT_INT4 && w.dim[1] % q->group == 0));
}

void quant_shapes(struct tensor *codes, struct tensor *scale, const struct quant *q,
                  struct tensor w)
{
    bool half = q->scheme == QUANT_INT4;
    BUG_ON(!quant_fits(q, w));
    if (q->scheme == QUANT_BF16) {
        *codes = tensor_2d(NULL, DT_BF16, w.dim[0], w.dim[1]);
        *scale = tensor_1d(NULL, DT_F32, 0);
        return;
    }
    *codes = tensor_2d(NULL, half ? DT_I4 : DT_I8, w.dim[0], w.dim[1]);
    *scale = tensor_2d(NULL, half ? DT_F16 : DT_F32, w.dim[0], half ? w.dim[1] / q->group : 1);
}

/* Nearest whole number, ties to even, |x| < 2^22. */
static inline float nearest(float x)
{
    const float shift = 0x1.8p23f;
    return (x + shift) - shift;
}

static inline float clamp(float x, float low, float high)
{
    return x < low ? low : x > high ? high : x;
}

/* The value of largest magnitude, with its sign; the first of equals. NaN if any is NaN. */
static float extreme(const float *x, int64_t n)
{
    float most = 0;
    for (int64_t i = 0; i < n; i++)
        most = fabsf(x[i]) > fabsf(most) || x[i] != x[i] ? x[i] : most;
    return most;
}

/* ---- int8 ---- */

static void row_i8(int8_t *q, float *scale, const float *x, int64_t K)
{
    *scale = fabsf(extreme(x, K)) / 127;
    float inverse = *scale > 0 ? 1 / *scale : 0;
    if (!isfinite(inverse)) { /* all of it below 2^-126: as good as zero */
        *scale = 0;
        inverse = 0;
    }
    for (int64_t k = 0; k < K; k++)
        q[k] = (int8_t)clamp(nearest(x[k] * inverse), -127, 127);
}

/* ---- int4 ---- */

/* What the extreme value may become. */
static const float grids[] = { -10,    -9.6F, -9.3F,  -9,   -8.75F, -8.5F, -8.25F, -8,
                               -7.75F, -7.5F, -7.25F, -7,   -6.7F,  -6.4F, -6,     8,
                               7.6F,   7.3F,  7,      6.7F, 6.4F,   6 };

static inline float code_i4(float x)
{
    return clamp(nearest(x), -8, 7);
}

/* The scale of least squared error for the codes of x / step, and how much of sum(x x) those
 * explain. The sums are in eight parts, in a fixed order. */
static float fit(float *scale, const float *x, float inverse, int64_t n)
{
    float xq[8] = { 0 }, qq[8] = { 0 };
    for (int64_t i = 0; i < n; i += 8)
        for (int64_t j = 0; j < 8; j++) {
            float q = code_i4(x[i + j] * inverse);
            xq[j] += x[i + j] * q;
            qq[j] += q * q;
        }
    for (int j = 1; j < 8; j++) {
        xq[0] += xq[j];
        qq[0] += qq[j];
    }
    *scale = qq[0] > 0 ? xq[0] / qq[0] : 0;
    return *scale * xq[0];
}

static float search(const float *x, int64_t n)
{
    float most = extreme(x, n), best = 0, scale = 0;
    for (size_t i = 0; most != 0 && i < sizeof grids / sizeof *grids; i++) {
        float s, explained = fit(&s, x, grids[i] / most, n);
        if (explained > best) {
            best = explained;
            scale = s;
        }
    }
    return scale;
}

static void group_i4(uint8_t *q, uint16_t *scale, const float *x, int64_t n)
{
    *scale = dtype_f32_to_f16(search(x, n));
    float s = dtype_f16_to_f32(*scale), inverse = s != 0 ? 1 / s : 0;
    for (int64_t i = 0; i < n; i += 2) {
        int low = (int)code_i4(x[i] * inverse) + 8, high = (int)code_i4(x[i + 1] * inverse) + 8;
        q[i / 2] = (uint8_t)(low | high << 4);
    }
}

static void row_i4(uint8_t *q, uint16_t *scale, const float *x, int64_t K, int64_t group)
{
    for (int64_t k = 0; k < K; k += group)
        group_i4(q + k / 2, scale + k / group, x + k, group);
}

/* ---- bf16 ---- */

static void row_bf16(uint16_t *q, const float *x, int64_t K)
{
    for (int64_t k = 0; k < K; k++)
        q[k] = dtype_f32_to_bf16(x[k]);
}

/* ---- rows ---- */

struct rows {
    struct tensor codes, scale, w;
    const struct kern *kern;
    float *space; /* K for each thread */
};

/* n items of w from the i-th as f32, in x if they have to be converted. */
static const float *widen(float *x, const struct kern *kern, struct tensor w, int64_t i,
                          int64_t n)
{
    enum dtype t = w.dtype;
    const char *from = (const char *)w.data + (size_t)i * dtype_size(t);
    if ((uintptr_t)from % dtype_size(t))
        tensor_to_f32(x, tensor_1d((void *)from, t, n));
    else if (t == DT_F32)
        return (const float *)from;
    else
        kern->widen[t == DT_F16 ? KERN_F16 : KERN_BF16](x, from, (size_t)n);
    return x;
}

static int fill(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct rows *r = ctx;
    int64_t K = r->w.dim[1], groups = r->scale.dim[1];
    float *space = r->space + worker * K;
    for (int64_t n = begin; n < end; n++) {
        const float *x = widen(space, r->kern, r->w, n * K, K);
        bool whole = r->codes.dtype != DT_BF16;
        if (whole && !isfinite(extreme(x, K)))
            return err_set(ERR_DATA, "row %lld: a value that is not finite", (long long)n);
        if (!whole)
            row_bf16((uint16_t *)r->codes.data + n * K, x, K);
        else if (r->codes.dtype == DT_I8)
            row_i8((int8_t *)r->codes.data + n * K, (float *)r->scale.data + n, x, K);
        else
            row_i4((uint8_t *)r->codes.data + n * K / 2, (uint16_t *)r->scale.data + n * groups,
                   x, K, K / groups);
    }
    return 0;
}

int quant_fill(struct tensor codes, struct tensor scale, struct tensor w, struct pool *pool)
{
    int64_t grain = ((int64_t)1 << 18) / w.dim[1] + 1;
    struct rows r = { codes, scale, w, kern_get(NULL), NULL };
    BUG_ON(w.dtype != DT_F32 && w.dtype != DT_F16 && w.dtype != DT_BF16);
    r.space = calloc((size_t)(pool_threads(pool) * w.dim[1]), sizeof *r.space);
    if (!r.space)
        return err_nomem("a row of weights");
    int rc = pool_run(pool, fill, &r, w.dim[0], grain);
    free(r.space);
    return rc;
}

/* ---- columns ---- */

#define PIECE 1024 /* columns at a time: of each row a stretch that memory gives fast */

struct columns {
    float *most;
    struct tensor w;
    const struct kern *kern;
};

static int columns(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct columns *c = ctx;
    int64_t N = c->w.dim[0], K = c->w.dim[1];
    float space[PIECE];
    (void)worker;
    for (int64_t k = begin; k < end; k += PIECE) {
        int64_t count = end - k < PIECE ? end - k : PIECE;
        for (int64_t n = 0; n < N; n++) {
            const float *x = widen(space, c->kern, c->w, n * K + k, count);
            for (int64_t i = 0; i < count; i++)
                c->most[k + i] = fabsf(x[i]) > c->most[k + i] ? fabsf(x[i]) : c->most[k + i];
        }
    }
    return 0;
}

void quant_columns(float *most, struct tensor w, struct pool *pool)
{
    struct columns c = { most, w, kern_get(NULL) };
    BUG_ON(w.ndim != 2 || (w.dtype != DT_F32 && w.dtype != DT_F16 && w.dtype != DT_BF16));
    pool_run(pool, columns, &c, w.dim[1], PIECE);
}

/* ---- rows' sums ---- */

struct sizes {
    float *size;
    struct tensor w;
    const struct kern *kern;
    float *space; /* K for each thread */
};

static int sizes(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct sizes *s = ctx;
    int64_t K = s->w.dim[1];
    for (int64_t n = begin; n < end; n++) {
        const float *x = widen(s->space + worker * K, s->kern, s->w, n * K, K);
        float sum = 0;
        for (int64_t k = 0; k < K; k++)
            sum += fabsf(x[k]);
        s->size[n] = sum;
    }
    return 0;
}

int quant_sizes(float *size, struct tensor w, struct pool *pool)
{
    struct sizes s = { size, w, kern_get(NULL), NULL };
    s.space = calloc((size_t)(pool_threads(pool) * w.dim[1]), sizeof *s.space);
    if (!s.space)
        return err_nomem("a row of weights");
    pool_run(pool, sizes, &s, w.dim[0], 64);
    free(s.space);
    return 0;
}

/* ---- by input ---- */

bool quant_turns(struct tensor codes)
{
    return codes.dtype == DT_I8 && codes.ndim == 2 && codes.dim[1] <= QUANT_TURN;
}

struct turn {
    int8_t *to;
    const int8_t *from;
    int64_t N, K;
};

#define SQUARE 64 /* rows and columns at a time: a line of memory each */

static int turn(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct turn *t = ctx;
    (void)worker;
    for (int64_t n0 = 0; n0 < t->N; n0 += SQUARE)
        for (int64_t k = begin; k < end; k++)
            for (int64_t n = n0; n < t->N && n < n0 + SQUARE; n++)
                t->to[k * t->N + n] = t->from[n * t->K + k];
    return 0;
}

void quant_turn(int8_t *turned, struct tensor codes, struct pool *pool)
{
    struct turn t = { turned, codes.data, codes.dim[0], codes.dim[1] };
    BUG_ON(!quant_turns(codes));
    pool_run(pool, turn, &t, t.K, SQUARE);
}

void quant_restore(float *w, struct tensor codes, struct tensor scale)
{
    int64_t N = codes.dim[0], K = codes.dim[1], groups = tensor_count(scale) / N;
    for (int64_t i = 0; i < N * K; i++)
        w[i] = (float)(tensor_at(codes, i) * tensor_at(scale, i / (K / groups)));
}
