/* linear.c - nn_linear() with weights that are whole numbers: near the f32 layer they stand
 * for, the same bits for any threads and rows, and memory that runs short. */
#include "base/err.h"
#include "nn/nn.h"

#include "lib/tap.h"

#include <math.h>
#include <stdlib.h>

enum { M = 5, N = 200, K = 192, G = 32 };

static uint32_t seed = 7;

static float uniform(void) /* -1..1 */
{
    seed = seed * 1664525u + 1013904223u;
    return (float)(seed >> 8) / 8388608.0f - 1;
}

struct layer {
    float x[M * K], bias[N], scale[N * (K / G)], full[N * K];
    uint8_t codes[N * K];
    struct nn_linear coded, plain;
};

/* Weights of whole numbers, and the f32 ones they stand for. */
static void fill(struct layer *l, enum dtype t)
{
    int groups = t == DT_I4 ? K / G : 1;
    for (int i = 0; i < M * K; i++)
        l->x[i] = uniform();
    for (int i = 0; i < N; i++)
        l->bias[i] = uniform();
    for (int i = 0; i < N * groups; i++)
        l->scale[i] = 0.01f * (1.5f + uniform());
    for (int i = 0; i < N * K; i++)
        l->codes[i] = (uint8_t)(int)(127.9f * (1 + uniform()));
    l->coded = (struct nn_linear){ tensor_2d(l->codes, t, N, K), tensor_1d(l->bias, DT_F32, N),
                                   tensor_2d(l->scale, DT_F32, N, groups), false };
    l->plain =
        (struct nn_linear){ tensor_2d(l->full, DT_F32, N, K), l->coded.bias, { 0 }, false };
    for (int i = 0; i < N * K; i++)
        l->full[i] = (float)tensor_at(l->coded.weight, i) *
                     l->scale[i / K * groups + i % K / (K / groups)];
}

/* The bytes again, by input. */
static struct nn_linear turned(const struct layer *l, uint8_t *to)
{
    struct nn_linear w = l->coded;
    for (int n = 0; n < N; n++)
        for (int k = 0; k < K; k++)
            to[k * N + n] = l->codes[n * K + k];
    w.weight.data = to;
    w.by_input = true;
    return w;
}

static struct tensor run(struct nn *nn, struct layer *l, const struct nn_linear *w, int rows)
{
    return nn_linear(nn, tensor_2d(l->x, DT_F32, rows, K), w, NN_RELU);
}

static void test_kind(enum dtype t, const char *cpu)
{
    static struct layer l;
    struct arena mem = { 0 };
    struct nn nn, threaded;
    struct pool *pool = pool_new(3);
    fill(&l, t);
    if (nn_init(&nn, &mem, NULL, cpu) < 0 || nn_init(&threaded, &mem, pool, cpu) < 0)
        exit(tap_done());
    struct tensor y = run(&nn, &l, &l.coded, M), want = run(&nn, &l, &l.plain, M);
    struct tensor again = run(&threaded, &l, &l.coded, M), one = run(&nn, &l, &l.coded, 1);
    double worst = 0, size = 0;
    for (int i = 0; i < M * N; i++) {
        worst = fmax(worst, fabs(((float *)y.data)[i] - ((float *)want.data)[i]));
        size = fmax(size, fabs(((float *)want.data)[i]));
    }
    ok(worst > 0 && worst < 0.01 * size, "%s %s: within 1%% of the f32 layer", cpu,
       dtype_name(t));
    ok(!memcmp(y.data, again.data, tensor_bytes(y)) &&
           !memcmp(y.data, one.data, tensor_bytes(one)),
       "%s %s: the same bits with three threads, and for a row alone", cpu, dtype_name(t));
    arena_release(&mem);
    pool_free(pool);
}

/* Most of x is 0. */
static void test_by_input(const char *cpu)
{
    static struct layer l;
    static uint8_t bytes[N * K];
    struct arena mem = { 0 };
    struct nn nn;
    fill(&l, DT_I8);
    for (int i = 0; i < M * K; i++)
        l.x[i] = uniform() < 0.8f ? 0 : fabsf(l.x[i]);
    struct nn_linear w = turned(&l, bytes);
    if (nn_init(&nn, &mem, NULL, cpu) < 0)
        exit(tap_done());
    struct tensor y = run(&nn, &l, &w, M), want = run(&nn, &l, &l.coded, M);
    ok(!memcmp(y.data, want.data, tensor_bytes(want)),
       "%s i8 by input: the bits of the same weights by output", cpu);
    arena_release(&mem);
}

int main(void)
{
    static const char *const words[] = { "ref", "avx2", "avxvnni", "avx512", "avx512vnni" };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        struct nn nn;
        struct arena mem = { 0 };
        if (nn_init(&nn, &mem, NULL, words[i]) < 0)
            continue; /* not this processor's */
        test_kind(DT_I8, words[i]);
        test_kind(DT_I4, words[i]);
        test_by_input(words[i]);
    }
    return tap_done();
}
