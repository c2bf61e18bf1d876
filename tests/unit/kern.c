/* kern.c - every instruction set this processor has against ref, which sums in double.
 *
 * Inputs end at a page that cannot be read, so that a kernel that reads too far dies; outputs
 * lie between poisoned floats. --bench [TABLE] times the same kernels at the models' sizes. */
#include "kern/kern.h"

#include "lib/tap.h"
#include "tensor/tensor.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define POISON 1234567.0f

static uint32_t seed = 1;

static float uniform(void) /* -1..1 */
{
    seed = seed * 1664525u + 1013904223u;
    return (float)(seed >> 8) / 8388608.0f - 1;
}

/* n bytes whose end is the end of what may be read. */
static void *fenced(size_t n)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), size = (n + page - 1) / page * page + page;
    char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED || mprotect(p + size - page, page, PROT_NONE) < 0)
        abort();
    return p + size - page - n;
}

static void unfence(void *p, size_t n)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), size = (n + page - 1) / page * page + page;
    munmap((char *)p + n + page - size, size);
}

static float *random_floats(size_t n)
{
    float *p = fenced(n * sizeof *p);
    for (size_t i = 0; i < n; i++)
        p[i] = uniform();
    return p;
}

static size_t item(enum kern_type t)
{
    return t == KERN_F32 ? 4 : 2;
}

static void *random_weights(enum kern_type t, size_t n)
{
    char *p = fenced(n * item(t));
    for (size_t i = 0; i < n; i++) {
        float f = uniform();
        uint16_t h = t == KERN_F16 ? dtype_f32_to_f16(f) : dtype_f32_to_bf16(f);
        memcpy(p + i * item(t), t == KERN_F32 ? (void *)&f : (void *)&h, item(t));
    }
    return p;
}

static bool same(float a, float b)
{
    return a == b || (a != a && b != b);
}

static bool close_to(float got, float want, double bound)
{
    return same(got, want) || fabs((double)got - want) <= bound;
}

/* ---- matrix products ---- */

struct shape {
    size_t M, N, K;
};
static const struct shape shapes[] = {
    { 0, 3, 4 },      { 3, 0, 4 },      { 1, 1, 0 },      { 9, 5, 0 },      { 1, 1, 1 },
    { 1, 7, 16 },     { 2, 5, 17 },     { 3, 4, 31 },     { 4, 6, 33 },     { 5, 13, 88 },
    { 6, 12, 7 },     { 7, 24, 100 },   { 8, 6, 16 },     { 9, 11, 588 },   { 25, 30, 1023 },
    { 50, 13, 1024 }, { 37, 18, 1025 }, { 100, 7, 2100 }, { 257, 9, 1408 }, { 9, 300, 600 },
    { 561, 33, 300 }, { 7, 16, 260 },   { 8, 37, 300 },
};
#define SHAPES (sizeof shapes / sizeof *shapes)

/* y with two poisoned floats behind each row. */
static float *poisoned(const struct shape *s)
{
    size_t n = s->M * (s->N + 2) + 1;
    float *y = malloc(n * sizeof *y);
    for (size_t i = 0; i < n; i++)
        y[i] = POISON;
    return y;
}

static int gaps_kept(const float *y, const struct shape *s)
{
    int bad = 0;
    for (size_t m = 0; m < s->M; m++)
        bad += y[m * (s->N + 2) + s->N] != POISON || y[m * (s->N + 2) + s->N + 1] != POISON;
    return bad == 0 && y[s->M * (s->N + 2)] == POISON;
}

/* Floats of a matrix of rows n, ld apart, the last without its gap: what may be read. */
static size_t extent(size_t rows, size_t n, size_t ld)
{
    return rows ? (rows - 1) * ld + n : 0;
}

static void run_rows(const struct kern *k, enum kern_type t, struct kern_gemm g)
{
    size_t M = g.M, N = g.N;
    const char *w = g.w;
    const float *bias = g.bias;
    float *y = g.y;
    for (size_t n = 0; n < N; n += 5) { /* columns cut elsewhere, rows one by one */
        g.N = N - n < 5 ? N - n : 5;
        for (size_t m = 0; m < M; m++) {
            struct kern_gemm one = g;
            one.M = 1;
            one.x += m * g.ldx;
            one.w = w + n * g.ldw * item(t);
            one.bias = bias ? bias + n : NULL;
            one.y = y + m * g.ldy + n;
            k->gemm[t](&one);
        }
    }
}

static int far_off(const float *got, const float *want, const struct shape *s, double bound)
{
    int bad = 0;
    for (size_t m = 0; m < s->M; m++)
        for (size_t n = 0; n < s->N; n++)
            bad += !close_to(got[m * (s->N + 2) + n], want[m * (s->N + 2) + n], bound);
    return bad;
}

static void test_gemm(const struct kern *k, enum kern_type t, const struct shape *s)
{
    size_t ldx = s->K + 3, ldw = s->K + 1, nx = extent(s->M, s->K, ldx),
           nw = extent(s->N, s->K, ldw);
    float *x = random_floats(nx), *bias = random_floats(s->N);
    void *w = random_weights(t, nw);
    float *want = poisoned(s), *got = poisoned(s), *pieces = poisoned(s);
    struct kern_gemm g = { s->M, s->N, s->K, x,       w, s->N % 2 ? bias : NULL,
                           want, ldx,  ldw,  s->N + 2 };
    if (s->M > 2 && s->K > 2) { /* a row that is NaN, and one that is infinite */
        x[ldx + s->K - 1] = NAN;
        x[2 * ldx] = INFINITY;
    }
    kern_ref.gemm[t](&g);
    g.y = got;
    k->gemm[t](&g);
    g.y = pieces;
    run_rows(k, t, g);
    size_t bytes = s->M * (s->N + 2) * sizeof *got;
    ok(far_off(got, want, s, 1e-6 * (1 + sqrt((double)s->K))) == 0 && gaps_kept(got, s) &&
           memcmp(got, pieces, bytes) == 0,
       "%s gemm %d (%zu, %zu, %zu): near ref, in bounds, the same bits in pieces", k->name, t,
       s->M, s->N, s->K);
    unfence(x, nx * sizeof *x);
    unfence(bias, s->N * sizeof *bias);
    unfence(w, nw * item(t));
    free(want);
    free(got);
    free(pieces);
}

static void test_mix(const struct kern *k, const struct shape *s)
{
    size_t ldp = s->K + 1, ldv = s->N + 3, np = extent(s->M, s->K, ldp),
           nv = extent(s->K, s->N, ldv);
    float *p = random_floats(np), *v = random_floats(nv);
    float *want = poisoned(s), *got = poisoned(s), *pieces = poisoned(s);
    struct kern_mix a = { s->M, s->N, s->K, p, v, want, ldp, ldv, s->N + 2 };
    kern_ref.mix(&a);
    a.y = got;
    k->mix(&a);
    for (size_t m = 0; m < s->M; m++) {
        struct kern_mix one = a;
        one.M = 1;
        one.p += m * ldp;
        one.y = pieces + m * a.ldy;
        k->mix(&one);
    }
    size_t bytes = s->M * (s->N + 2) * sizeof *got;
    ok(far_off(got, want, s, 2e-6 * (1 + sqrt((double)s->K))) == 0 && gaps_kept(got, s) &&
           memcmp(got, pieces, bytes) == 0,
       "%s mix (%zu, %zu, %zu): near ref, in bounds, the same bits row by row", k->name, s->M,
       s->N, s->K);
    unfence(p, np * sizeof *p);
    unfence(v, nv * sizeof *v);
    free(want);
    free(got);
    free(pieces);
}

/* ---- products of bf16 by bf16 ---- */

/* x as k encodes it, rows ldx floats apart. */
static void *encoded_bf16(const struct kern *k, const struct shape *s, const float *x,
                          size_t ldx, struct kern_bf16_gemm *g)
{
    g->ldx = k->bf16->row_size(s->K);
    char *rows = aligned_alloc(64, s->M * g->ldx + 64);
    for (size_t m = 0; m < s->M; m++)
        k->bf16->encode(rows + m * g->ldx, x + m * ldx, s->K);
    g->x = rows;
    return rows;
}

/* Columns cut elsewhere, rows one by one. */
static void run_bf16_rows(const struct kern *k, const struct kern_bf16_gemm *all)
{
    for (size_t n = 0; n < all->N; n += 5)
        for (size_t m = 0; m < all->M; m++) {
            struct kern_bf16_gemm one = *all;
            one.M = 1;
            one.N = all->N - n < 5 ? all->N - n : 5;
            one.x = (const char *)all->x + m * all->ldx;
            one.w = (const char *)all->w + n * all->ldw * 2;
            one.bias = all->bias ? all->bias + n : NULL;
            one.y += m * all->ldy + n;
            k->bf16->gemm(&one);
        }
}

static void test_bf16(const struct kern *k, const struct shape *s)
{
    size_t ldx = s->K + 3, ldw = s->K + 1, nx = extent(s->M, s->K, ldx),
           nw = extent(s->N, s->K, ldw);
    float *x = random_floats(nx), *bias = random_floats(s->N);
    void *w = random_weights(KERN_BF16, nw);
    float *want = poisoned(s), *got = poisoned(s), *pieces = poisoned(s);
    struct kern_bf16_gemm g = { s->M, s->N, s->K, NULL,    w, s->N % 2 ? bias : NULL,
                                want, 0,    ldw,  s->N + 2 };
    if (s->M > 2 && s->K > 2) { /* a row that is NaN, and one that is infinite */
        x[ldx + s->K - 1] = NAN;
        x[2 * ldx] = INFINITY;
    }
    void *ref_rows = encoded_bf16(&kern_ref, s, x, ldx, &g);
    kern_ref.bf16->gemm(&g);
    void *rows = encoded_bf16(k, s, x, ldx, &g);
    g.y = got;
    k->bf16->gemm(&g);
    g.y = pieces;
    run_bf16_rows(k, &g);
    size_t bytes = s->M * (s->N + 2) * sizeof *got;
    ok(far_off(got, want, s, 1e-6 * (1 + sqrt((double)s->K))) == 0 && gaps_kept(got, s) &&
           memcmp(got, pieces, bytes) == 0,
       "%s bf16 (%zu, %zu, %zu): near ref, in bounds, the same bits in pieces", k->name, s->M,
       s->N, s->K);
    unfence(x, nx * sizeof *x);
    unfence(bias, s->N * sizeof *bias);
    unfence(w, nw * 2);
    free(ref_rows);
    free(rows);
    free(want);
    free(got);
    free(pieces);
}

/* Times 1, x is what it was rounded to. Values too small for a normal float may be 0. */
static void test_bf16_rounding(const struct kern *k)
{
    enum { M = 4096 };
    static float x[M], y[M];
    const uint16_t one = 0x3f80;
    struct kern_bf16_gemm g = { M, 1, 1, NULL, &one, NULL, y, 0, 1, 1 };
    int bad = 0;
    for (uint32_t low = 0; low < 16; low++) {
        for (uint32_t i = 0; i < M; i++) { /* every exponent; halves, and what is beside them */
            uint32_t u = i << 20 | (low & 3) << 16 | (0x7fff + (low >> 2));
            memcpy(&x[i], &u, 4);
        }
        void *rows = encoded_bf16(k, &(struct shape){ M, 1, 1 }, x, 1, &g);
        k->bf16->gemm(&g);
        for (uint32_t i = 0; i < M; i++) {
            float want = dtype_bf16_to_f32(dtype_f32_to_bf16(x[i]));
            bad += !same(y[i], want) && !(fabsf(want) < 0x1p-126f && y[i] == 0);
        }
        free(rows);
    }
    ok(bad == 0, "%s bf16: x to the nearest, even if halfway; infinity and NaN stay", k->name);
}

/* ---- products with whole numbers ---- */

struct int_case {
    struct shape s;
    size_t group; /* 0: i8 */
    enum kern_type scales;
    bool by_input;
};
static const struct int_case int_cases[] = {
    { { 0, 3, 4 }, 0, 0, false },       { { 3, 0, 4 }, 0, 0, false },
    { { 2, 3, 0 }, 0, 0, false },       { { 1, 1, 1 }, 0, 0, false },
    { { 1, 7, 16 }, 0, 0, false },      { { 2, 5, 17 }, 0, 0, false },
    { { 3, 9, 63 }, 0, 0, false },      { { 4, 16, 64 }, 0, 0, false },
    { { 5, 33, 65 }, 0, 0, false },     { { 6, 31, 130 }, 0, 0, false },
    { { 7, 24, 100 }, 0, 0, false },    { { 8, 40, 588 }, 0, 0, false },
    { { 9, 11, 1023 }, 0, 0, false },   { { 14, 64, 256 }, 0, 0, false },
    { { 29, 35, 2050 }, 0, 0, false },  { { 257, 19, 1408 }, 0, 0, false },
    { { 2, 3, 65536 }, 0, 0, false },   { { 10, 3, 65536 }, 0, 0, false },
    { { 0, 3, 32 }, 32, 0, false },     { { 1, 1, 32 }, 32, 0, false },
    { { 1, 17, 96 }, 32, 1, false },    { { 2, 16, 128 }, 32, 2, false },
    { { 3, 33, 1408 }, 128, 0, false }, { { 4, 5, 64 }, 64, 0, false },
    { { 5, 48, 640 }, 32, 1, false },   { { 7, 15, 608 }, 32, 0, false },
    { { 8, 37, 1056 }, 32, 2, false },  { { 9, 21, 2560 }, 128, 1, false },
    { { 30, 32, 4160 }, 32, 0, false }, { { 257, 18, 1408 }, 32, 1, false },
    { { 2, 19, 768 }, 768, 0, false },  { { 11, 35, 1024 }, 256, 0, false },
    { { 7, 33, 640 }, 128, 0, false },  { { 8, 17, 300 }, 0, 0, false },
    { { 4, 1281, 70 }, 0, 0, true },    { { 6, 16, 32 }, 32, 1, false },
    { { 1, 1, 1 }, 0, 0, true },        { { 0, 5, 3 }, 0, 0, true },
    { { 2, 3, 0 }, 0, 0, true },        { { 1, 70, 300 }, 0, 0, true },
    { { 2, 513, 129 }, 0, 0, true },    { { 3, 16, 64 }, 0, 0, true },
    { { 5, 65, 1001 }, 0, 0, true },    { { 8, 1090, 515 }, 0, 0, true },
    { { 3, 9, 16384 }, 0, 0, true },    { { 9, 33, 258 }, 0, 0, true },
    { { 1, 2631, 70 }, 0, 0, true },    { { 7, 1281, 99 }, 0, 0, true },
    { { 40, 131, 1027 }, 0, 0, true },  { { 10, 64, 2050 }, 0, 0, true },
};
#define INT_CASES (sizeof int_cases / sizeof *int_cases)

static const struct kern_int *int_table(const struct kern *k, const struct int_case *c)
{
    return c->group ? k->i4 : k->i8;
}

/* Rows of x as k encodes them. */
static void *encoded(const struct kern_int *k, const struct shape *s, const float *x,
                     struct kern_int_gemm *g)
{
    g->ldx = k->row_size(s->K);
    char *codes = aligned_alloc(64, s->M * g->ldx + 64);
    for (size_t m = 0; m < s->M; m++)
        k->encode(codes + m * g->ldx, x + m * s->K, s->K);
    g->x = codes;
    return codes;
}

/* Columns cut elsewhere, rows one by one. */
static void run_int_rows(const struct kern_int *k, const struct kern_int_gemm *all)
{
    for (size_t n = 0; n < all->N; n += 7)
        for (size_t m = 0; m < all->M; m++) {
            struct kern_int_gemm one = *all;
            one.M = 1;
            one.N = all->N - n < 7 ? all->N - n : 7;
            one.x = (const char *)all->x + m * all->ldx;
            one.w = (const char *)all->w + n * (all->by_input ? 1 : all->ldw);
            one.scale = (const char *)all->scale + n * all->lds * item(all->scales);
            one.bias = all->bias ? all->bias + n : NULL;
            one.y += m * all->ldy + n;
            k->gemm(&one);
        }
}

/* All bytes there are, the extremes more often: sums that are as large as can be. */
static void *random_bytes(size_t n)
{
    uint8_t *p = fenced(n);
    for (size_t i = 0; i < n; i++) {
        float f = uniform(), g = uniform();
        p[i] = f > 0.8f ? 0x80 : f > 0.6f ? 0xff : (uint8_t)(int)((g + 1) * 127.9f);
    }
    return p;
}

/* Rows of every kind: both signs, one sign, all 0, tiny, one large value, not finite. */
static void vary_rows(float *x, const struct shape *s)
{
    for (size_t i = 0; i < s->M * s->K; i++) {
        size_t kind = i / s->K % 8, k = i % s->K;
        x[i] = kind == 1   ? fabsf(x[i])
               : kind == 2 ? -fabsf(x[i])
               : kind == 3 ? 0
               : kind == 4 ? x[i] * 1e-38f
               : kind == 5 ? x[i] * 0.01f + (k == 0 ? 100 : 0)
               : kind == 6 ? 1
                           : x[i];
        if (kind == 7 && k == s->K - 1)
            x[i] = i / s->K % 16 == 7 ? NAN : INFINITY;
    }
}

static void test_int(const struct kern *k, const struct int_case *c)
{
    const struct shape *s = &c->s;
    size_t groups = c->group ? s->K / c->group : 1, row = c->group ? s->K / 2 : s->K;
    size_t ldw = c->by_input ? s->N + 3 : row + 3, nx = s->M * s->K;
    size_t nw = c->by_input ? extent(s->K, s->N, ldw) : extent(s->N, row, ldw);
    float *x = random_floats(nx), *bias = random_floats(s->N);
    void *w = random_bytes(nw), *scale = random_weights(c->scales, s->N * groups);
    float *want = poisoned(s), *got = poisoned(s), *pieces = poisoned(s);
    struct kern_int_gemm g = { s->M,     s->N,      s->K,       c->group,
                               NULL,     w,         scale,      s->N % 2 ? bias : NULL,
                               want,     0,         ldw,        groups,
                               s->N + 2, c->scales, c->by_input };
    vary_rows(x, s);
    for (size_t i = 0; c->by_input && i < nx; i++)
        x[i] = uniform() < 0.7f ? 0 : s->N % 2 ? fabsf(x[i]) : x[i]; /* as after a ReLU, too */
    void *ref_codes = encoded(int_table(&kern_ref, c), s, x, &g);
    int_table(&kern_ref, c)->gemm(&g);
    void *codes = encoded(int_table(k, c), s, x, &g);
    g.y = got;
    int_table(k, c)->gemm(&g);
    g.y = pieces;
    run_int_rows(int_table(k, c), &g);
    size_t bytes = s->M * (s->N + 2) * sizeof *got;
    ok(far_off(got, want, s, 0) == 0 && gaps_kept(got, s) && memcmp(got, pieces, bytes) == 0,
       "%s i%d/%zu%s (%zu, %zu, %zu): ref's bits, in bounds, the same in pieces", k->name,
       c->group ? 4 : 8, c->group, c->by_input ? " by input" : "", s->M, s->N, s->K);
    unfence(x, nx * sizeof *x);
    unfence(bias, s->N * sizeof *bias);
    unfence(w, nw);
    unfence(scale, s->N * groups * item(c->scales));
    free(ref_codes);
    free(codes);
    free(want);
    free(got);
    free(pieces);
}

/* The oracle itself: products of what codes and weights stand for, in double. */
static void test_int_meaning(size_t group)
{
    enum { N = 6, K = 256 };
    float x[K], scale[N * 8], y[N];
    uint8_t w[N * K];
    struct kern_int_gemm g = { 1,
                               N,
                               K,
                               group,
                               NULL,
                               w,
                               scale,
                               NULL,
                               y,
                               0,
                               group ? K / 2 : K,
                               group ? K / group : 1,
                               N,
                               KERN_F32,
                               false };
    const struct kern_int *k = group ? kern_ref.i4 : kern_ref.i8;
    for (size_t i = 0; i < K; i++)
        x[i] = uniform() + 0.3f;
    for (size_t i = 0; i < N * 8; i++)
        scale[i] = 0.5f + uniform() * 0.25f;
    for (size_t i = 0; i < N * K; i++)
        w[i] = (uint8_t)(int)((uniform() + 1) * 127.9f);
    void *codes = encoded(k, &(struct shape){ 1, N, K }, x, &g);
    k->gemm(&g);
    int bad = 0;
    for (size_t n = 0; n < N; n++) {
        double sum = 0, size = 0;
        for (size_t i = 0; i < K; i++) {
            double v = group ? ((w[(n * K + i) / 2] >> (i % 2 * 4) & 15) - 8) *
                                   (double)scale[n * g.lds + i / group]
                             : (int8_t)w[n * K + i] * (double)scale[n];
            sum += v * x[i];
            size += fabs(v);
        }
        bad += fabs(y[n] - sum) > size * 2.6 / 510; /* half a step, and rounding, each */
        bad += fabs(y[n] - sum) == 0;               /* 8 bits are not exact */
    }
    ok(bad == 0, "ref i%d: within half a step of the product it stands for", group ? 4 : 8);
    free(codes);
}

/* ---- rows ---- */

static const float special[] = { 0,      -0.0f,      1,     -1,         1e-30f, -1e-40f,
                                 0.9f,   1.2727922f, -1.3f, 5,          -5,     20,
                                 -20,    87.5f,      -88,   100,        -1000,  3e38f,
                                 -3e38f, INFINITY,   NAN,   -1.2727923f };
#define SPECIALS (sizeof special / sizeof *special)

typedef void map_fn(float *x, size_t n);

/* An absolute error of 2e-7 for each unit of |x|, at every length and place. */
static void test_map(const char *isa, const char *name, map_fn *f, map_fn *ref)
{
    int bad = 0;
    for (size_t n = 0; n <= 70; n++) {
        float *x = random_floats(n), *want = malloc((n + 1) * sizeof *want);
        for (size_t i = 0; i < n; i++)
            x[i] = n > 40 && i < SPECIALS ? special[i] : 6 * x[i];
        memcpy(want, x, n * sizeof *x);
        f(x, n);
        ref(want, n);
        for (size_t i = 0; i < n; i++)
            bad += !close_to(x[i], want[i], 2e-7 * fmax(1, fabs((double)want[i])));
        unfence(x, n * sizeof *x);
        free(want);
    }
    ok(bad == 0, "%s %s: near ref, special values too", isa, name);
}

static void test_softmax(const struct kern *k)
{
    int bad = 0;
    for (size_t n = 0; n <= 300; n += n < 40 ? 1 : 13) {
        float *x = random_floats(n), *want = malloc((n + 1) * sizeof *want);
        for (size_t i = 0; i < n; i++)
            x[i] *= 30;
        if (n > 3)
            x[n - 2] = -INFINITY;
        memcpy(want, x, n * sizeof *x);
        k->softmax(x, 0.3f, n);
        kern_ref.softmax(want, 0.3f, n);
        for (size_t i = 0; i < n; i++)
            bad += !close_to(x[i], want[i], 3e-7) || (n > 3 && x[n - 2] != 0);
        unfence(x, n * sizeof *x);
        free(want);
    }
    float a[3] = { 1, NAN, 2 }, big[3] = { 1e30f, 1e30f, -1e30f };
    k->softmax(a, 1, 3);
    k->softmax(big, 1, 3);
    ok(bad == 0 && a[0] != a[0] && a[2] != a[2] && big[0] == 0.5f && big[2] == 0,
       "%s softmax: near ref; -inf gives 0, a NaN spreads, large values stay finite", k->name);
}

/* How far rounding may take a layernorm: the closer together its values, the farther. */
static double spread_bound(const float *x, size_t n)
{
    double mean = 0, var = 0;
    for (size_t i = 0; i < n; i++)
        mean += x[i] / (double)n;
    for (size_t i = 0; i < n; i++)
        var += (x[i] - mean) * (x[i] - mean) / (double)n;
    return 1e-5 * fmax(1, 0.2 / sqrt(var + 1e-6));
}

static void test_layernorm(const struct kern *k)
{
    int bad = 0;
    for (size_t n = 1; n <= 1500; n += n < 40 ? 1 : 97) {
        float *x = random_floats(n), *w = random_floats(n), *b = random_floats(n);
        float *want = malloc(n * sizeof *want), *got = malloc(n * sizeof *got);
        for (size_t i = 0; i < n; i++)
            x[i] += 10; /* a mean far from 0 */
        double bound = spread_bound(x, n);
        kern_ref.layernorm(want, x, w, b, 1e-6, n);
        k->layernorm(got, x, w, b, 1e-6, n);
        k->layernorm(x, x, w, b, 1e-6, n);
        for (size_t i = 0; i < n; i++)
            bad += !close_to(got[i], want[i], bound) || !same(got[i], x[i]);
        unfence(x, n * sizeof *x);
        unfence(w, n * sizeof *w);
        unfence(b, n * sizeof *b);
        free(want);
        free(got);
    }
    ok(bad == 0, "%s layernorm: near ref, in place too", k->name);
}

static void test_add(const struct kern *k)
{
    int bad = 0;
    for (size_t n = 0; n <= 70; n++) {
        float *a = random_floats(n), *b = random_floats(n), *y = malloc((n + 1) * sizeof *y);
        y[n] = POISON;
        k->add(y, a, b, n);
        for (size_t i = 0; i < n; i++)
            bad += y[i] != a[i] + b[i];
        bad += y[n] != POISON;
        unfence(a, n * sizeof *a);
        unfence(b, n * sizeof *b);
        free(y);
    }
    ok(bad == 0, "%s add: exact", k->name);
}

/* All 65,536 values of each half, and every length of tail. */
static void test_widen(const struct kern *k)
{
    uint16_t *h = malloc(65536 * sizeof *h);
    float *y = malloc(65537 * sizeof *y);
    int bad = 0;
    for (size_t i = 0; i < 65536; i++)
        h[i] = (uint16_t)i;
    k->widen[KERN_F16](y, h, 65536);
    for (size_t i = 0; i < 65536; i++)
        bad += !same(y[i], dtype_f16_to_f32((uint16_t)i));
    k->widen[KERN_BF16](y, h, 65536);
    for (size_t i = 0; i < 65536; i++)
        bad += !same(y[i], dtype_bf16_to_f32((uint16_t)i));
    ok(bad == 0, "%s widen: every f16 and bf16 value", k->name);
    for (size_t n = 0; n < 40; n++)
        for (enum kern_type t = 0; t < KERN_TYPES; t++) {
            char *w = random_weights(t, n);
            float want[41];
            y[n] = POISON;
            k->widen[t](y, w, n);
            kern_ref.widen[t](want, w, n);
            bad += memcmp(y, want, n * sizeof *y) != 0 || y[n] != POISON;
            unfence(w, n * item(t));
        }
    ok(bad == 0, "%s widen: every tail", k->name);
    free(h);
    free(y);
}

static void test_isa(const struct kern *k)
{
    seed = 1; /* the same numbers for every table */
    for (enum kern_type t = 0; t < KERN_TYPES; t++)
        for (size_t i = 0; i < SHAPES; i++)
            test_gemm(k, t, &shapes[i]);
    for (size_t i = 0; i < SHAPES; i++)
        test_mix(k, &shapes[i]);
    for (size_t i = 0; i < SHAPES; i++)
        test_bf16(k, &shapes[i]);
    test_bf16_rounding(k);
    for (size_t i = 0; i < INT_CASES; i++)
        test_int(k, &int_cases[i]);
    test_map(k->name, "relu", k->relu, kern_ref.relu);
    test_map(k->name, "gelu", k->gelu, kern_ref.gelu);
    test_map(k->name, "quick_gelu", k->quick_gelu, kern_ref.quick_gelu);
    test_softmax(k);
    test_layernorm(k);
    test_add(k);
    test_widen(k);
}

/* ---- --bench ---- */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t); /* other processes do not count */
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static const struct shape bench_shapes[] = {
    { 257, 6144, 1408 }, { 257, 1408, 6144 }, { 257, 4224, 1408 }, { 40, 10240, 2560 },
    { 8, 10240, 2560 },  { 5, 10240, 2560 },  { 1, 10240, 2560 },  { 1, 2560, 10240 },
};

/* Weights of 256 MB in turn, so that they come from memory. */
static void bench_gemm(const struct kern *k, enum kern_type t, const struct shape *s)
{
    size_t one = s->N * s->K * item(t), copies = s->M > 8 ? 1 : ((size_t)256 << 20) / one;
    char *w = malloc(copies * one);
    float *x = random_floats(s->M * s->K), *y = malloc(s->M * s->N * sizeof *y);
    for (size_t i = 0; i < copies * one / item(t); i++) {
        uint32_t bits = t == KERN_F16 ? 0x2c00 : 0x3d80; /* 1/16 */
        bits = t == KERN_F32 ? 0x3d800000 : bits;
        memcpy(w + i * item(t), &bits, item(t));
    }
    double best = 1e9;
    for (int round = 0; round < (s->M > 8 ? 7 : 3); round++)
        for (size_t c = 0; c < copies; c++) {
            struct kern_gemm g = {
                s->M, s->N, s->K, x, w + c * one, NULL, y, s->K, s->K, s->N
            };
            double start = now();
            k->gemm[t](&g);
            best = fmin(best, now() - start);
        }
    double flop = 2.0 * (double)(s->M * s->N * s->K);
    printf("%-7s gemm %-4s %4zu x %5zu x %5zu  %7.2f ms  %7.1f GFLOP/s  %6.1f GB/s\n", k->name,
           t == KERN_F32   ? "f32"
           : t == KERN_F16 ? "f16"
                           : "bf16",
           s->M, s->N, s->K, best * 1e3, flop / best * 1e-9, (double)one / best * 1e-9);
    unfence(x, s->M * s->K * sizeof *x);
    free(w);
    free(y);
}

/* The same for bf16 by bf16, encoding left out: it is done once for all columns. */
static void bench_bf16(const struct kern *k, const struct shape *s)
{
    size_t one = s->N * s->K * 2, copies = s->M > 8 ? 1 : ((size_t)256 << 20) / one;
    char *w = malloc(copies * one);
    float *x = random_floats(s->M * s->K), *y = malloc(s->M * s->N * sizeof *y);
    struct kern_bf16_gemm g = { s->M, s->N, s->K, NULL, NULL, NULL, y, 0, s->K, s->N };
    for (size_t i = 0; i < copies * one; i++)
        w[i] = i % 2 ? 0x3d : (char)0x80; /* 1/16 */
    void *rows = encoded_bf16(k, s, x, s->K, &g);
    double best = 1e9, encode = 1e9;
    for (int round = 0; round < (s->M > 8 ? 9 : 3); round++)
        for (size_t c = 0; c < copies; c++) {
            double start = now();
            g.w = w + c * one;
            k->bf16->gemm(&g);
            best = fmin(best, now() - start);
            start = now();
            for (int i = 0; i < 32; i++)
                k->bf16->encode(rows, x, s->K);
            encode = fmin(encode, (now() - start) / 32);
        }
    double flop = 2.0 * (double)(s->M * s->N * s->K);
    printf("%-10s bf16 by bf16 %4zu x %5zu x %5zu  %7.2f ms  %7.1f GFLOP/s  %6.1f GB/s  encode "
           "%.2f ns/float\n",
           k->name, s->M, s->N, s->K, best * 1e3, flop / best * 1e-9, (double)one / best * 1e-9,
           encode * 1e9 / (double)s->K);
    unfence(x, s->M * s->K * sizeof *x);
    free(rows);
    free(w);
    free(y);
}

/* The same for whole numbers, encoding left out: it is done once for all columns. */
static void bench_int(const struct kern *k, size_t group, const struct shape *s)
{
    size_t row = group ? s->K / 2 : s->K, groups = group ? s->K / group : 1;
    size_t one = s->N * row, copies = s->M > 8 ? 1 : ((size_t)256 << 20) / one;
    char *w = malloc(copies * one);
    uint16_t *scale = malloc(s->N * groups * 4);
    float *x = random_floats(s->M * s->K), *y = malloc(s->M * s->N * sizeof *y);
    const struct kern_int *table = group ? k->i4 : k->i8;
    struct kern_int_gemm g = {
        s->M, s->N, s->K, group, NULL,   NULL, scale,
        NULL, y,    0,    row,   groups, s->N, group ? KERN_F16 : KERN_F32,
        false
    };
    for (size_t i = 0; i < s->N * groups * 2; i++)
        scale[i] = 0x2c00;
    for (size_t i = 0; i < copies * one; i++)
        w[i] = (char)(i * 7);
    void *codes = encoded(table, s, x, &g);
    double best = 1e9, encode = 1e9;
    for (int round = 0; round < (s->M > 8 ? 9 : 3); round++)
        for (size_t c = 0; c < copies; c++) {
            double start = now();
            g.w = w + c * one;
            table->gemm(&g);
            best = fmin(best, now() - start);
            start = now();
            for (int i = 0; i < 32; i++) /* the clock takes as long as a row */
                table->encode(codes, x, s->K);
            encode = fmin(encode, (now() - start) / 32);
        }
    double flop = 2.0 * (double)(s->M * s->N * s->K);
    one += group ? s->N * groups * 2 : 0;
    printf(
        "%-10s i%d %4zu x %5zu x %5zu  %7.2f ms  %7.1f GOP/s  %6.1f GB/s  encode %.2f ns/float\n",
        k->name, group ? 4 : 8, s->M, s->N, s->K, best * 1e3, flop / best * 1e-9,
        (double)one / best * 1e-9, encode * 1e9 / (double)s->K);
    unfence(x, s->M * s->K * sizeof *x);
    free(codes);
    free(scale);
    free(w);
    free(y);
}

static void bench_map(const struct kern *k, const char *name, map_fn *f)
{
    float x[6144];
    double best = 1e9;
    for (int round = 0; round < 200; round++) {
        for (size_t i = 0; i < 6144; i++)
            x[i] = 3 * uniform();
        double start = now();
        f(x, 6144);
        best = fmin(best, now() - start);
    }
    printf("%-7s %-10s %7.2f ns/float\n", k->name, name, best * 1e9 / 6144);
}

/* The kernels of one head's attention over ViT's 257 rows. */
static void bench_attention(const struct kern *k)
{
    enum { T = 56, S = 257, D = 88 };
    float *q = random_floats(S * D), *p = random_floats(T * S), *y = random_floats(T * D);
    double best[3] = { 1e9, 1e9, 1e9 };
    for (int round = 0; round < 50; round++) {
        struct kern_gemm scores = { T, S, D, q, q, NULL, p, D, D, S };
        struct kern_mix mix = { T, D, S, p, q, y, S, D, D };
        double start = now();
        k->gemm[KERN_F32](&scores);
        best[0] = fmin(best[0], now() - start);
        start = now();
        for (int t = 0; t < T; t++)
            k->softmax(p + t * S, 0.1f, S);
        best[1] = fmin(best[1], now() - start);
        start = now();
        k->mix(&mix);
        best[2] = fmin(best[2], now() - start);
    }
    double flop = 2.0 * T * S * D;
    printf("%-7s attention  q k %.1f GFLOP/s, softmax %.2f ns/float, p v %.1f GFLOP/s\n",
           k->name, flop / best[0] * 1e-9, best[1] * 1e9 / (T * S), flop / best[2] * 1e-9);
    unfence(q, S * D * sizeof *q);
    unfence(p, T * S * sizeof *p);
    unfence(y, T * D * sizeof *y);
}

static int bench(const char *only)
{
    for (int i = 1; kern_at(i); i++) {
        if (only && strcmp(only, kern_at(i)->name))
            continue;
        for (enum kern_type t = 0; t < KERN_TYPES; t++)
            for (size_t s = 0; s < sizeof bench_shapes / sizeof *bench_shapes; s++)
                bench_gemm(kern_at(i), t, &bench_shapes[s]);
        for (size_t s = 0; s < sizeof bench_shapes / sizeof *bench_shapes; s++) {
            bench_bf16(kern_at(i), &bench_shapes[s]);
            bench_int(kern_at(i), 0, &bench_shapes[s]);
            bench_int(kern_at(i), 32, &bench_shapes[s]);
        }
        bench_map(kern_at(i), "gelu", kern_at(i)->gelu);
        bench_map(kern_at(i), "quick_gelu", kern_at(i)->quick_gelu);
        bench_attention(kern_at(i));
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "--bench"))
        return bench(argc > 2 ? argv[2] : NULL);
    ok(kern_get("ref") == &kern_ref && !kern_get("sse9") && kern_get(NULL),
       "tables by name: the best is %s", kern_get(NULL)->name);
    test_int_meaning(0);
    test_int_meaning(32);
    for (int i = 1; kern_at(i); i++)
        test_isa(kern_at(i));
    return tap_done();
}
