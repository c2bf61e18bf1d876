/* tape.c - each operation's gradient against central differences of the same formula in double,
 * on every instruction set, and the same bits from any number of threads. */
#include "nn/tape.h"

#include "base/pool.h"
#include "lib/tap.h"
#include "nn/back.h"

#include <math.h>
#include <stddef.h>

enum { INPUTS = 3, MOST = 512 };

struct run;

/* An operation: as nn does it, and as the textbook does. in[i] has size[i] values. */
struct op {
    const char *name;
    int64_t size[INPUTS], out;
    struct tensor (*nn)(struct run *r);
    void (*shadow)(const struct op *o, double *y, double *const *in);
    double dropout;
};

struct run {
    const struct op *op;
    struct arena mem, notes;
    struct nn nn;
    struct tape tape;
    float *in[INPUTS], *grad[INPUTS];
    bool touched[INPUTS];
};

static struct tensor in2(struct run *r, int i, int64_t rows, int64_t columns)
{
    return tensor_2d(r->in[i], DT_F32, rows, columns);
}

/* ---- linear and activations: x (5, 70), W (6, 70), b (6) ---- */

enum { M = 5, N = 6, K = 70 };

static struct tensor linear(struct run *r, enum nn_act act)
{
    struct nn_linear w = { .weight = in2(r, 1, N, K), .bias = tensor_1d(r->in[2], DT_F32, N) };
    return nn_linear(&r->nn, in2(r, 0, M, K), &w, act);
}

static struct tensor linear_none(struct run *r)
{
    return linear(r, NN_NONE);
}

static struct tensor linear_relu(struct run *r)
{
    return linear(r, NN_RELU);
}

static struct tensor linear_gelu(struct run *r)
{
    return linear(r, NN_GELU);
}

static struct tensor linear_quick(struct run *r)
{
    return linear(r, NN_QUICK_GELU);
}

static void shadow_linear(const struct op *o, double *y, double *const *in)
{
    (void)o;
    for (int m = 0; m < M; m++)
        for (int n = 0; n < N; n++) {
            double sum = in[2][n];
            for (int k = 0; k < K; k++)
                sum += in[0][m * K + k] * in[1][n * K + k];
            y[m * N + n] = sum;
        }
}

static void shadow_relu(const struct op *o, double *y, double *const *in)
{
    shadow_linear(o, y, in);
    for (int i = 0; i < M * N; i++)
        y[i] = fmax(y[i], 0);
}

static void shadow_gelu(const struct op *o, double *y, double *const *in)
{
    shadow_linear(o, y, in);
    for (int i = 0; i < M * N; i++)
        y[i] = y[i] / 2 * (1 + erf(y[i] / sqrt(2)));
}

static void shadow_quick(const struct op *o, double *y, double *const *in)
{
    shadow_linear(o, y, in);
    for (int i = 0; i < M * N; i++)
        y[i] /= 1 + exp(-1.702 * y[i]);
}

/* ---- norms: x (3, 70), w (70), b (70) ---- */

enum { R = 3 };

static struct tensor layernorm(struct run *r)
{
    struct nn_norm w = { tensor_1d(r->in[1], DT_F32, K), tensor_1d(r->in[2], DT_F32, K) };
    return nn_layernorm(&r->nn, in2(r, 0, R, K), &w, 1e-2);
}

static void shadow_layernorm(const struct op *o, double *y, double *const *in)
{
    (void)o;
    for (int i = 0; i < R; i++) {
        const double *x = in[0] + i * K;
        double mean = 0, squares = 0;
        for (int k = 0; k < K; k++)
            mean += x[k] / K;
        for (int k = 0; k < K; k++)
            squares += (x[k] - mean) * (x[k] - mean) / K;
        for (int k = 0; k < K; k++)
            y[i * K + k] = (x[k] - mean) / sqrt(squares + 1e-2) * in[1][k] + in[2][k];
    }
}

static struct tensor unit(struct run *r)
{
    return nn_unit(&r->nn, in2(r, 0, R, K));
}

static void shadow_unit(const struct op *o, double *y, double *const *in)
{
    (void)o;
    for (int i = 0; i < R; i++) {
        double squares = 0;
        for (int k = 0; k < K; k++)
            squares += in[0][i * K + k] * in[0][i * K + k];
        for (int k = 0; k < K; k++)
            y[i * K + k] = in[0][i * K + k] / sqrt(squares);
    }
}

/* ---- rows: a (4, 7), b (2, 7) ---- */

static struct tensor add(struct run *r)
{
    return nn_add(&r->nn, in2(r, 0, 4, 7), in2(r, 1, 2, 7));
}

static void shadow_add(const struct op *o, double *y, double *const *in)
{
    for (int i = 0; i < o->out; i++)
        y[i] = in[0][i] + in[1][i % 14];
}

static const int64_t picked[] = { 5, 0, 4, 0, 3, 5 };

static struct tensor pick(struct run *r)
{
    return nn_pick(&r->nn, in2(r, 0, 4, 7), in2(r, 1, 2, 7), picked, 6);
}

static void shadow_pick(const struct op *o, double *y, double *const *in)
{
    for (int i = 0; i < o->out; i++) {
        int64_t row = picked[i / 7];
        y[i] = row < 4 ? in[0][row * 7 + i % 7] : in[1][(row - 4) * 7 + i % 7];
    }
}

static const uint64_t keys[] = { 11, 12, 13, 14, 15, 16, 17, 18 };

static struct tensor dropout(struct run *r)
{
    return nn_dropout(&r->nn, nn_add(&r->nn, in2(r, 0, 4, 7), in2(r, 1, 4, 7)), keys);
}

static void shadow_dropout(const struct op *o, double *y, double *const *in)
{
    for (int i = 0; i < o->out; i++) {
        uint64_t row = nn_drop_row(1, 0, keys[i / 7]);
        bool drops = nn_drops(row, nn_drop_below(o->dropout), (uint64_t)(i % 7));
        y[i] = drops ? 0 : (in[0][i] + in[1][i]) / (1 - o->dropout);
    }
}

/* ---- attention: 2 heads of 4; two sequences share 5 keys, one has 3 of its own ---- */

enum { H = 2, HD = 4, D = H * HD, QUERIES = 6, KEYS = 8 };

static const struct {
    int q, T, k, S;
} spans[] = { { 0, 2, 0, 5 }, { 2, 1, 5, 3 }, { 3, 3, 0, 5 } };

static struct tensor attend(struct run *r, bool causal)
{
    struct nn_heads heads = { .H = H, .hd = HD, .scale = 0.7f, .causal = causal };
    struct nn_sequence seq[3];
    for (int i = 0; i < 3; i++)
        seq[i] = (struct nn_sequence){ .q = r->in[0] + spans[i].q * D,
                                       .k = r->in[1] + spans[i].k * D,
                                       .v = r->in[2] + spans[i].k * D,
                                       .T = spans[i].T,
                                       .S = spans[i].S,
                                       .q_stride = D,
                                       .k_stride = D,
                                       .v_stride = D,
                                       .key = keys + spans[i].q };
    return nn_attention(&r->nn, heads, seq, 3);
}

static struct tensor attention(struct run *r)
{
    return attend(r, false);
}

static struct tensor attention_causal(struct run *r)
{
    return attend(r, true);
}

/* One row of one head: seen of the S keys are looked at. */
static void shadow_row(const struct op *o, double *y, double *const *in, int i, int t, int h,
                       int seen)
{
    double p[KEYS], sum = 0;
    int S = spans[i].S, row = spans[i].q + t;
    uint64_t drop = nn_drop_row(1, 0, keys[row]);
    for (int s = 0; s < seen; s++) {
        double dot = 0;
        for (int d = 0; d < HD; d++)
            dot += in[0][row * D + h * HD + d] * in[1][(spans[i].k + s) * D + h * HD + d];
        sum += p[s] = exp((double)0.7f * dot);
    }
    for (int d = 0; d < HD; d++)
        y[row * D + h * HD + d] = 0;
    for (int s = 0; s < seen; s++) {
        bool drops = o->dropout > 0 &&
                     nn_drops(drop, nn_drop_below(o->dropout), (uint64_t)(h * S + s));
        for (int d = 0; !drops && d < HD; d++)
            y[row * D + h * HD + d] += p[s] / sum / (1 - o->dropout) *
                                       in[2][(spans[i].k + s) * D + h * HD + d];
    }
}

static void shadow_all(const struct op *o, double *y, double *const *in, bool causal)
{
    for (int i = 0; i < 3; i++)
        for (int t = 0; t < spans[i].T; t++)
            for (int h = 0; h < H; h++)
                shadow_row(o, y, in, i, t, h,
                           causal ? spans[i].S - spans[i].T + t + 1 : spans[i].S);
}

static void shadow_attention(const struct op *o, double *y, double *const *in)
{
    shadow_all(o, y, in, false);
}

static void shadow_causal(const struct op *o, double *y, double *const *in)
{
    shadow_all(o, y, in, true);
}

static const struct op ops[] = {
    { "linear", { M * K, N *K, N }, M *N, linear_none, shadow_linear, 0 },
    { "linear, relu", { M * K, N *K, N }, M *N, linear_relu, shadow_relu, 0 },
    { "linear, gelu", { M * K, N *K, N }, M *N, linear_gelu, shadow_gelu, 0 },
    { "linear, quick_gelu", { M * K, N *K, N }, M *N, linear_quick, shadow_quick, 0 },
    { "layernorm", { R * K, K, K }, R *K, layernorm, shadow_layernorm, 0 },
    { "unit", { R * K }, R *K, unit, shadow_unit, 0 },
    { "add", { 28, 14 }, 28, add, shadow_add, 0 },
    { "pick", { 28, 14 }, 42, pick, shadow_pick, 0 },
    { "dropout of a sum, in its place", { 28, 28 }, 28, dropout, shadow_dropout, 0.3 },
    { "attention",
      { QUERIES * D, KEYS *D, KEYS *D },
      QUERIES *D,
      attention,
      shadow_attention,
      0 },
    { "attention, dropout",
      { QUERIES * D, KEYS *D, KEYS *D },
      QUERIES *D,
      attention,
      shadow_attention,
      0.3 },
    { "attention, causal",
      { QUERIES * D, KEYS *D, KEYS *D },
      QUERIES *D,
      attention_causal,
      shadow_causal,
      0 },
};

/* Values in [-1, 1] that are the same each time. */
static float value(int i, int64_t j)
{
    uint64_t h = (uint64_t)(j * 3 + i + 1) * 0x9E3779B97F4A7C15u;
    return (float)((double)(h >> 40) / (1 << 23) - 1);
}

static bool begin(struct run *r, const struct op *o, const char *isa, struct pool *pool)
{
    *r = (struct run){ .op = o };
    if (nn_init(&r->nn, &r->mem, pool, isa) < 0)
        return false;
    tape_init(&r->tape, &r->notes);
    r->tape.dropout = o->dropout;
    r->tape.seed = 1;
    for (int i = 0; i < INPUTS && o->size[i]; i++) {
        r->in[i] = malloc((size_t)o->size[i] * sizeof(float));
        r->grad[i] = calloc((size_t)o->size[i], sizeof(float));
        for (int64_t j = 0; j < o->size[i]; j++)
            r->in[i][j] = value(i, j);
        tape_param(&r->tape, tensor_1d(r->in[i], DT_F32, o->size[i]), r->grad[i],
                   &r->touched[i], &r->mem);
    }
    r->nn.tape = &r->tape;
    return true;
}

static void end(struct run *r)
{
    for (int i = 0; i < INPUTS; i++) {
        free(r->in[i]);
        free(r->grad[i]);
    }
    arena_release(&r->mem);
    arena_release(&r->notes);
}

/* y's gradient is value(3, .). Leaves the inputs' in r->grad. */
static void back(struct run *r, float *y)
{
    struct tensor out = r->op->nn(r);
    memcpy(y, out.data, (size_t)r->op->out * sizeof *y);
    float *dy = tape_in(&r->nn, out.data);
    for (int64_t j = 0; dy && j < r->op->out; j++)
        dy[j] = value(3, j);
    tape_backward(&r->nn);
}

static double objective(const struct op *o, double *const *in)
{
    double y[MOST], sum = 0;
    o->shadow(o, y, in);
    for (int64_t j = 0; j < o->out; j++)
        sum += y[j] * (double)value(3, j);
    return sum;
}

static void check(const struct op *o, const char *isa)
{
    struct run r;
    float y[MOST], slope[MOST], shadow[MOST];
    double in[INPUTS][MOST], *at[INPUTS] = { in[0], in[1], in[2] }, want[MOST];
    if (!begin(&r, o, isa, NULL))
        return skip(err_msg());
    back(&r, y);
    ok(nn_failed(&r.nn) == 0, "%s %s goes back", isa, o->name);
    for (int i = 0; i < INPUTS && o->size[i]; i++)
        for (int64_t j = 0; j < o->size[i]; j++)
            in[i][j] = (double)r.in[i][j];
    o->shadow(o, want, at);
    for (int64_t j = 0; j < o->out; j++)
        shadow[j] = (float)want[j];
    near(y, shadow, (long)o->out, 1e-5, 1e-5, o->name);
    for (int i = 0; i < INPUTS && o->size[i]; i++) {
        for (int64_t j = 0; j < o->size[i]; j++) {
            double x = in[i][j], h = 1e-5;
            in[i][j] = x + h;
            double up = objective(o, at);
            in[i][j] = x - h;
            slope[j] = (float)((up - objective(o, at)) / (2 * h));
            in[i][j] = x;
        }
        char label[64];
        snprintf(label, sizeof label, "%s %s, input %d", isa, o->name, i);
        near(r.grad[i], slope, (long)o->size[i], 1e-5, 1e-5, label);
        ok(r.touched[i], "%s has a gradient", label);
    }
    end(&r);
}

static void check_threads(const struct op *o)
{
    struct run one, many;
    float y[MOST];
    struct pool *pool = pool_new(3);
    if (begin(&one, o, NULL, NULL) && begin(&many, o, NULL, pool)) {
        int same = 1;
        back(&one, y);
        back(&many, y);
        for (int i = 0; i < INPUTS && o->size[i]; i++)
            same &= !memcmp(one.grad[i], many.grad[i], (size_t)o->size[i] * sizeof(float));
        ok(same, "%s: three threads, the same bits", o->name);
    }
    end(&one);
    end(&many);
    pool_free(pool);
}

/* A product that threads share, through more than one panel and stretch, with weights that are
 * not f32. */
static void check_matmul(enum dtype type)
{
    enum { BIG_M = 530, BIG_N = 130, BIG_K = 600 };
    struct run r, s;
    const struct op none = { "matmul", { 1 }, 1, NULL, NULL, 0 };
    struct pool *pool = pool_new(3);
    float *p = malloc(BIG_M * BIG_K * sizeof *p), *y[2];
    uint16_t *half = malloc(BIG_K * BIG_N * sizeof *half);
    float *v = malloc(BIG_K * BIG_N * sizeof *v), *want = malloc(BIG_M * BIG_N * sizeof *want);
    for (int64_t i = 0; i < BIG_M * BIG_K; i++)
        p[i] = value(0, i);
    for (int64_t i = 0; i < BIG_K * BIG_N; i++) {
        half[i] = dtype_f32_to_bf16(value(1, i));
        v[i] = dtype_bf16_to_f32(half[i]);
    }
    for (int64_t i = 0; i < BIG_M * BIG_N; i++) {
        double sum = 1;
        for (int64_t k = 0; k < BIG_K; k++)
            sum += (double)p[i / BIG_N * BIG_K + k] * (double)v[k * BIG_N + i % BIG_N];
        want[i] = (float)sum;
    }
    begin(&r, &none, NULL, NULL);
    begin(&s, &none, NULL, pool);
    for (int i = 0; i < 2; i++) {
        y[i] = malloc(BIG_M * BIG_N * sizeof *y[i]);
        for (int64_t j = 0; j < BIG_M * BIG_N; j++)
            y[i][j] = 1;
        struct nn_matmul m = {
            .M = BIG_M, .N = BIG_N, .K = BIG_K, .p = p, .y = y[i], .add = true
        };
        m.v = tensor_2d(type == DT_F32 ? (void *)v : half, type, BIG_K, BIG_N);
        nn_matmul(i ? &s.nn : &r.nn, &m);
    }
    near(y[0], want, BIG_M * BIG_N, 1e-5, 1e-5, dtype_name(type));
    ok(!memcmp(y[0], y[1], BIG_M * BIG_N * sizeof *want), "three threads, the same bits");
    for (int i = 0; i < 2; i++)
        free(y[i]);
    free(p);
    free(v);
    free(half);
    free(want);
    end(&r);
    end(&s);
    pool_free(pool);
}

/* A chain: frozen weights pass the gradient on and get none; views share their tensor's.
 */
static void check_chain(void)
{
    struct run r;
    const struct op none = { "chain", { M * K }, 1, NULL, NULL, 0 };
    float frozen[K * K], got[M * K];
    for (int64_t i = 0; i < K * K; i++)
        frozen[i] = value(1, i) / 4;
    struct nn_linear w = { .weight = tensor_2d(frozen, DT_F32, K, K) };
    begin(&r, &none, "ref", NULL);
    struct tensor x = nn_linear(&r.nn, in2(&r, 0, M, K), &w, NN_GELU), y = x;
    for (int i = 0; i < 20; i++)
        y = nn_linear(&r.nn, y, &w, NN_NONE);
    struct tensor half = tensor_2d((float *)y.data + 2 * K, DT_F32, 2, K);
    half = nn_add(&r.nn, half, half); /* of rows 2 and 3 */
    float *dy = tape_in(&r.nn, half.data);
    for (int64_t j = 0; j < 2 * K; j++)
        dy[j] = value(3, j);
    ok(!tape_wants(&r.nn, frozen) && !tape_in(&r.nn, frozen), "frozen weights get no gradient");
    tape_backward(&r.nn);
    memcpy(got, r.grad[0], sizeof got);
    int outside = 0, inside = 0;
    for (int64_t j = 0; j < M * K; j++)
        *(j / K == 2 || j / K == 3 ? &inside : &outside) += got[j] != 0;
    ok(inside == 2 * K && outside == 0, "only the rows that were used have a gradient");
    ok(nn_failed(&r.nn) == 0, "through 22 operations");
    tape_reset(&r.tape);
    ok(!tape_wants(&r.nn, y.data) && tape_wants(&r.nn, r.in[0]),
       "after a reset only parameters are known");
    end(&r);
}

int main(void)
{
    static const char *const isas[] = { "ref", "avx2", "avx512" };
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        for (int k = 0; k < 3; k++)
            check(&ops[i], isas[k]);
        check_threads(&ops[i]);
    }
    check_matmul(DT_F32);
    check_matmul(DT_BF16);
    check_chain();
    return tap_done();
}
