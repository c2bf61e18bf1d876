/* quant.c - lib/quant: whole numbers with scales, how near they are, and that nothing else
 * moves them. */
#include "quant/quant.h"
#include "lib/tap.h"

#include <stdint.h>

#define N 33
#define K 160

static const struct quant int8 = { .scheme = QUANT_INT8 };
static const struct quant int4 = { .scheme = QUANT_INT4, .group = 32 };
static const struct quant to_bf16 = { .scheme = QUANT_BF16 };

static uint32_t seed;

/* About normal, of deviation 1. */
static float normal(void)
{
    float sum = 0;
    for (int i = 0; i < 12; i++) {
        seed = seed * 1664525 + 1013904223;
        sum += (float)(seed >> 8) / 0x1p24f;
    }
    return sum - 6;
}

static float w[N * K], back[N * K];
static uint16_t codes_mem[2][N * K];
static float scale_mem[2][N * K / 32];

static void fill_weights(uint32_t s)
{
    seed = s;
    for (int i = 0; i < N * K; i++)
        w[i] = 0.05F * normal();
}

struct made {
    struct tensor codes, scale;
    int rc;
};

static struct made run(const struct quant *q, struct tensor from, struct pool *pool, int slot)
{
    struct made m;
    quant_shapes(&m.codes, &m.scale, q, from);
    m.codes.data = codes_mem[slot];
    m.scale.data = scale_mem[slot];
    m.rc = quant_fill(m.codes, m.scale, from, pool);
    return m;
}

static bool same(const struct made *a, const struct made *b)
{
    return !memcmp(a->codes.data, b->codes.data, tensor_bytes(a->codes)) &&
           !memcmp(a->scale.data, b->scale.data, tensor_bytes(a->scale));
}

static double squares(const float *a, const float *b, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += (a[i] - (double)b[i]) * (a[i] - (double)b[i]);
    return sum;
}

static struct tensor weights(void)
{
    return tensor_2d(w, DT_F32, N, K);
}

/* ---- int8 ---- */

static void check_int8(void)
{
    fill_weights(1);
    w[5 * K + 7] = 30; /* an outlier */
    memset(w + 6 * K, 0, K * sizeof *w);
    struct made m = run(&int8, weights(), NULL, 0);
    const float *scale = m.scale.data;
    ok(m.codes.dtype == DT_I8 && m.scale.dtype == DT_F32 && m.scale.dim[0] == N &&
           m.scale.dim[1] == 1,
       "int8: i8 with f32 scales (N, 1)");
    quant_restore(back, m.codes, m.scale);
    int beyond = 0;
    for (int i = 0; i < N * K; i++)
        beyond += !(fabsf(w[i] - back[i]) <= 0.5001F * scale[i / K]);
    ok(m.rc == 0 && beyond == 0, "int8: every value within half a step");
    ok(scale[5] == 30.0F / 127 && fabsf(back[5 * K + 7] - 30) < 1e-5F,
       "int8: an outlier sets its row's scale");
    ok(scale[4] < 0.01F && scale[7] < 0.01F, "int8: and no other row's");
    ok(scale[6] == 0 && back[6 * K] == 0, "int8: a row of zeros is zeros");
    w[3] = 1e-42F;
    for (int k = 0; k < K; k++)
        w[6 * K + k] = 1e-42F;
    m = run(&int8, weights(), NULL, 0);
    quant_restore(back, m.codes, m.scale);
    ok(back[6 * K] == 0, "int8: a row of values below all others is zeros");
}

/* ---- int4 ---- */

/* The least squared error that any scale gives, over a fine grid of both signs. */
static double least(const float *x)
{
    double best = 1e30, most = 0;
    for (int i = 0; i < 32; i++)
        most = fmax(most, fabs((double)x[i]));
    for (int t = -4000; t <= 4000; t++) {
        double s = most * t / 4000 / 4, e = 0;
        for (int i = 0; i < 32 && s != 0; i++) {
            double q = fmin(fmax(nearbyint(x[i] / s), -8), 7);
            e += (x[i] - q * s) * (x[i] - q * s);
        }
        if (s != 0 && e < best)
            best = e;
    }
    return best;
}

static double plain(const float *x)
{
    double e = 0, most = 0;
    for (int i = 0; i < 32; i++)
        most = fmax(most, fabs((double)x[i]));
    for (int i = 0; i < 32; i++) {
        double q = nearbyint(x[i] / (most / 7));
        e += (x[i] - q * most / 7) * (x[i] - q * most / 7);
    }
    return e;
}

static void check_int4(void)
{
    fill_weights(2);
    memset(w + 32, 0, 32 * sizeof *w);
    struct made m = run(&int4, weights(), NULL, 0);
    ok(m.codes.dtype == DT_I4 && tensor_bytes(m.codes) == N * K / 2 &&
           m.scale.dtype == DT_F16 && m.scale.dim[1] == K / 32,
       "int4: half bytes with f16 scales (N, K/32)");
    quant_restore(back, m.codes, m.scale);
    double ours = 0, best = 0, simple = 0;
    for (int i = 0; i < 40 * 32; i += 32) {
        ours += squares(w + i, back + i, 32);
        best += i == 32 ? 0 : least(w + i);
        simple += i == 32 ? 0 : plain(w + i);
    }
    ok(m.rc == 0 && ours < 1.02 * best, "int4: squared error %.3f of the best scale's",
       ours / best);
    ok(ours < 0.75 * simple, "int4: and %.3f of that of max / 7", ours / simple);
    const unsigned char *codes = m.codes.data;
    ok(codes[16] == 0x88 && back[32] == 0, "int4: a group of zeros is zeros");
    w[0] = 0.25F;
    w[1] = 100;
    m = run(&int4, weights(), NULL, 0);
    ok(codes[0] % 16 == 8 && codes[0] / 16 != 8, "int4: the low half is the even column");
    quant_restore(back, m.codes, m.scale);
    ok(fabsf(back[1] - 100) < 0.1F && fabsf(back[64] - w[64]) < 0.02F,
       "int4: an outlier is met, and costs its group alone");
}

static void check_groups(void)
{
    const struct quant wide = { QUANT_INT4, 160 };
    struct tensor t = weights();
    fill_weights(3);
    struct made m = run(&wide, t, NULL, 0);
    ok(m.scale.dim[1] == 1, "int4: groups of another size");
    ok(quant_fits(&int4, t) && quant_fits(&int8, t), "what fits");
    t.dim[1] = 150;
    ok(!quant_fits(&int4, t) && quant_fits(&int8, t), "no whole groups: int8 alone");
    t.dim[1] = QUANT_INNER + 32;
    ok(!quant_fits(&int4, t) && !quant_fits(&int8, t) && quant_fits(&to_bf16, t),
       "too many inputs: neither, but bf16");
    t = tensor_1d(w, DT_F32, N);
    ok(!quant_fits(&int8, t) && !quant_fits(&to_bf16, t), "a vector: no");
}

/* ---- bf16 ---- */

static void check_bf16(void)
{
    int wrong = 0;
    fill_weights(6);
    w[3] = NAN;
    w[4] = -INFINITY;
    w[5] = 1.00390625F; /* halfway: to the even one */
    struct made m = run(&to_bf16, weights(), NULL, 0);
    const uint16_t *q = m.codes.data;
    for (int i = 0; i < N * K; i++)
        wrong += q[i] != dtype_f32_to_bf16(w[i]);
    ok(m.rc == 0 && m.codes.dtype == DT_BF16 && tensor_count(m.scale) == 0 && wrong == 0 &&
           q[5] == 0x3f80,
       "bf16: each to the nearest, without scales");
}

/* ---- all ---- */

static void check_threads(const struct quant *q)
{
    static float big[1 << 13][K];
    static uint16_t codes[2][(1 << 13) * K];
    static float scale[2][(1 << 13) * K / 32];
    struct tensor t = tensor_2d(big, DT_F32, 1 << 13, K);
    struct pool *pool = pool_new(3);
    for (int i = 0; i < 1 << 13; i++)
        for (int k = 0; k < K; k++)
            big[i][k] = normal();
    struct made m[2];
    for (int i = 0; i < 2; i++) {
        quant_shapes(&m[i].codes, &m[i].scale, q, t);
        m[i].codes.data = codes[i];
        m[i].scale.data = scale[i];
        m[i].rc = quant_fill(m[i].codes, m[i].scale, t, i ? pool : NULL);
    }
    pool_free(pool);
    ok(m[0].rc == 0 && m[1].rc == 0 && same(&m[0], &m[1]), "%s: the same with three threads",
       quant_words[q->scheme]);
}

static void check_sources(const struct quant *q)
{
    static uint16_t half[N * K];
    static char odd[sizeof half + 1];
    for (int bf16 = 0; bf16 < 2; bf16++) {
        enum dtype type = bf16 ? DT_BF16 : DT_F16;
        fill_weights(4);
        for (int i = 0; i < N * K; i++) {
            half[i] = bf16 ? dtype_f32_to_bf16(w[i]) : dtype_f32_to_f16(w[i]);
            w[i] = bf16 ? dtype_bf16_to_f32(half[i]) : dtype_f16_to_f32(half[i]);
        }
        struct made a = run(q, weights(), NULL, 0),
                    b = run(q, tensor_2d(half, type, N, K), NULL, 1);
        ok(b.rc == 0 && same(&a, &b), "%s: of %s as of the same in f32", quant_words[q->scheme],
           dtype_name(type));
        memcpy(odd + 1, half, sizeof half);
        b = run(q, tensor_2d(odd + 1, type, N, K), NULL, 1);
        ok(b.rc == 0 && same(&a, &b), "%s: of %s at an odd address", quant_words[q->scheme],
           dtype_name(type));
    }
}

static void check_failures(const struct quant *q)
{
    static const float bad[] = { NAN, INFINITY, -INFINITY };
    for (int i = 0; i < 3; i++) {
        fill_weights(5);
        w[3 * K + 40 * i] = bad[i];
        fails(run(q, weights(), NULL, 0).rc, ERR_DATA, "row 3: a value that is not finite");
    }
}

static void check_turned(void)
{
    static int8_t turned[N * K];
    struct pool *pool = pool_new(3);
    fill_weights(2);
    struct made m = run(&int8, weights(), NULL, 0);
    const int8_t *codes = m.codes.data;
    quant_turn(turned, m.codes, pool);
    int wrong = 0;
    for (int i = 0; i < N * K; i++)
        wrong += turned[i % K * N + i / K] != codes[i];
    ok(wrong == 0, "by input: the same codes");
    struct tensor wide = tensor_2d(NULL, DT_I8, 1, QUANT_TURN + 1);
    ok(quant_turns(m.codes) && !quant_turns(wide) &&
           !quant_turns(run(&int4, weights(), NULL, 0).codes),
       "by input: of i8, up to %d inputs", QUANT_TURN);
    pool_free(pool);
}

static void check_columns(void)
{
    static float wide[3 * 1500], most[1500];
    struct pool *pool = pool_new(2);
    for (int i = 0; i < 3 * 1500; i++)
        wide[i] = (float)((i * 37) % 1009) - 504;
    most[7] = 1000;
    quant_columns(most, tensor_2d(wide, DT_F32, 3, 1500), pool);
    int wrong = 0;
    for (int k = 0; k < 1500; k++) {
        float want = k == 7 ? 1000 : 0;
        for (int n = 0; n < 3; n++)
            want = fmaxf(want, fabsf(wide[n * 1500 + k]));
        wrong += most[k] != want;
    }
    ok(wrong == 0, "columns: the largest magnitude of each, or what was there");
    pool_free(pool);
}

int main(void)
{
    check_columns();
    check_turned();
    check_int8();
    check_int4();
    check_groups();
    check_bf16();
    const struct quant *all[] = { &int8, &int4, &to_bf16 };
    for (int i = 0; i < 3; i++) {
        check_threads(all[i]);
        check_sources(all[i]);
        if (all[i] != &to_bf16)
            check_failures(all[i]);
    }
    return tap_done();
}
