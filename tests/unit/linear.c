/* linear.c - nn_linear() with weights that are whole numbers, and of bf16 by bf16: near the f32
 * layer they stand for, the same bits for any threads and rows. */
#include "base/err.h"
#include "nn/nn.h"
#include "quant/quant.h"

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
                                   tensor_2d(l->scale, DT_F32, N, groups), false, false };
    l->plain = (struct nn_linear){
        tensor_2d(l->full, DT_F32, N, K), l->coded.bias, { 0 }, false, false
    };
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

/* Weights and x of bf16: as the f32 layer with both rounded, and not as with weights alone. */
static void test_bf16(const char *cpu)
{
    static struct layer l;
    static uint16_t half[N * K];
    struct arena mem = { 0 };
    struct nn nn, threaded;
    struct pool *pool = pool_new(3);
    fill(&l, DT_I8);
    if (nn_init(&nn, &mem, NULL, cpu) < 0 || nn_init(&threaded, &mem, pool, cpu) < 0)
        exit(tap_done());
    for (int i = 0; i < N * K; i++) {
        half[i] = dtype_f32_to_bf16(l.full[i]);
        l.full[i] = dtype_bf16_to_f32(half[i]);
    }
    struct nn_linear w = { .weight = tensor_2d(half, DT_BF16, N, K), .bias = l.plain.bias };
    struct tensor apart = run(&nn, &l, &w, M);
    w.rounds = true;
    struct tensor y = run(&nn, &l, &w, M), one = run(&nn, &l, &w, 1);
    struct tensor again = run(&threaded, &l, &w, M);
    for (int i = 0; i < M * K; i++)
        l.x[i] = dtype_bf16_to_f32(dtype_f32_to_bf16(l.x[i]));
    struct tensor want = run(&nn, &l, &l.plain, M);
    double worst = 0, other = 0;
    for (int i = 0; i < M * N; i++) {
        worst = fmax(worst, fabs(((float *)y.data)[i] - ((float *)want.data)[i]));
        other = fmax(other, fabs(((float *)apart.data)[i] - ((float *)want.data)[i]));
    }
    ok(worst < 1e-5 && other > 1e-4, "%s bf16: the f32 layer with both rounded", cpu);
    ok(!memcmp(y.data, again.data, tensor_bytes(y)) &&
           !memcmp(y.data, one.data, tensor_bytes(one)),
       "%s bf16: the same bits with three threads, and for a row alone", cpu);
    arena_release(&mem);
    pool_free(pool);
}

/* ---- the words' scores ---- */

enum { WORDS = 1500, WIDTH = 200, QUESTIONS = 9 };

static int likeliest(const float *y)
{
    int best = 0;
    for (int n = 1; n < WORDS; n++)
        best = y[n] > y[best] ? n : best;
    return best;
}

/* Words in groups that hardly differ: 8 bits take some for their neighbours. */
static struct nn_head words(enum dtype t, float *rows, struct pool *pool)
{
    static int8_t codes[WORDS * WIDTH];
    static float scale[WORDS], size[WORDS], full[WORDS * WIDTH];
    const struct quant int8 = { .scheme = QUANT_INT8 };
    for (int i = 0; i < WORDS * WIDTH; i++)
        full[i] = i / WIDTH % 5 ? full[i - WIDTH] + 0.002f * uniform() : uniform();
    for (int i = 0; i < WORDS * WIDTH; i++)
        if (t == DT_F32)
            rows[i] = full[i];
        else
            ((uint16_t *)rows)[i] = t == DT_F16 ? dtype_f32_to_f16(full[i])
                                                : dtype_f32_to_bf16(full[i]);
    struct nn_head h = { .rows = tensor_2d(rows, t, WORDS, WIDTH),
                         .size = tensor_1d(size, DT_F32, WORDS) };
    quant_shapes(&h.linear.weight, &h.linear.scale, &int8, h.rows);
    h.linear.weight.data = codes;
    h.linear.scale.data = scale;
    if (quant_fill(h.linear.weight, h.linear.scale, h.rows, pool) < 0 ||
        quant_sizes(size, h.rows, pool) < 0)
        exit(tap_done());
    return h;
}

static void test_score(enum dtype t, const char *cpu)
{
    static float rows[WORDS * WIDTH], x[QUESTIONS * WIDTH];
    struct arena mem = { 0 };
    struct nn nn, threaded;
    struct pool *pool = pool_new(3);
    struct nn_head h = words(t, rows, pool);
    for (int i = 0; i < QUESTIONS * WIDTH; i++)
        x[i] = i < WIDTH ? 0 : i < 2 * WIDTH ? fabsf(uniform()) : 3 * uniform();
    struct tensor in = tensor_2d(x, DT_F32, QUESTIONS, WIDTH);
    struct nn_linear stored = { .weight = h.rows };
    if (nn_init(&nn, &mem, NULL, cpu) < 0 || nn_init(&threaded, &mem, pool, cpu) < 0)
        exit(tap_done());
    struct tensor want = nn_linear(&nn, in, &stored, NN_NONE), got = nn_score(&nn, in, &h),
                  rough = nn_linear(&nn, in, &h.linear, NN_NONE),
                  again = nn_score(&threaded, in, &h);
    int same = 0, luck = 0, other = 0, exact = 0;
    for (int m = 0; m < QUESTIONS; m++) {
        const float *w = (float *)want.data + m * WORDS, *g = (float *)got.data + m * WORDS,
                    *r = (float *)rough.data + m * WORDS;
        same += likeliest(g) == likeliest(w);
        luck += likeliest(r) == likeliest(w);
        for (int n = 0; n < WORDS; n++) {
            exact += g[n] == w[n] && m > 0;
            other += g[n] != w[n] && g[n] != r[n];
        }
    }
    ok(same == QUESTIONS && luck < QUESTIONS && other == 0,
       "%s %s: the likeliest word is that of the weights as stored (by 8 bits alone %d of %d)",
       cpu, dtype_name(t), luck, QUESTIONS);
    ok(exact < WORDS * (QUESTIONS - 1) / 2, "%s %s: few words are computed again (%d)", cpu,
       dtype_name(t), exact);
    ok(!memcmp(got.data, again.data, tensor_bytes(got)), "%s %s: the same with three threads",
       cpu, dtype_name(t));
    h.size.data = NULL;
    got = nn_score(&nn, in, &h);
    ok(!memcmp(got.data, rough.data, tensor_bytes(got)), "%s %s: without sizes by 8 bits alone",
       cpu, dtype_name(t));
    arena_release(&mem);
    pool_free(pool);
}

int main(void)
{
    static const char *const names[] = { "ref",    "avx2",       "avxvnni",
                                         "avx512", "avx512vnni", "avx512bf16" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct nn nn;
        struct arena mem = { 0 };
        if (nn_init(&nn, &mem, NULL, names[i]) < 0)
            continue; /* not this processor's */
        test_kind(DT_I8, names[i]);
        test_kind(DT_I4, names[i]);
        test_by_input(names[i]);
        test_bf16(names[i]);
        test_score(DT_F32, names[i]);
        test_score(DT_F16, names[i]);
        test_score(DT_BF16, names[i]);
    }
    return tap_done();
}
