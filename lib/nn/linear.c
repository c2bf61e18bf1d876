/* linear.c - act(x W^T + b), the columns split among threads; which kind a layer is. */
#include "nn/linear.h"
#include "base/err.h"
#include "base/math.h"
#include "kern/kern.h"
#include "nn/back.h"

#include <string.h>

/* Below this many multiply-adds, waking a thread costs more than it saves. */
#define ALONE (1 << 16)

/* So many are worth taking one more piece. */
#define PIECE (1 << 18)

/* Columns are cut at multiples of every kernel's tile width. */
#define CUT 32

#define ROWS_GRAIN 16384 /* floats to encode that are worth a thread's while */

struct linear {
    const struct kern *kern;
    struct kern_gemm gemm; /* all columns */
    enum kern_type type;
    enum nn_act act;
};

enum kern_type nn_kern_type(enum dtype t)
{
    BUG_ON(t != DT_F32 && t != DT_F16 && t != DT_BF16); /* store_bind() gives no other */
    return t == DT_F32 ? KERN_F32 : t == DT_F16 ? KERN_F16 : KERN_BF16;
}

void nn_activate(const struct kern *k, enum nn_act act, float *y, size_t n)
{
    if (act == NN_RELU)
        k->relu(y, n);
    else if (act == NN_GELU)
        k->gelu(y, n);
    else if (act == NN_QUICK_GELU)
        k->quick_gelu(y, n);
}

static int columns(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct linear *l = ctx;
    struct kern_gemm g = l->gemm;
    size_t n = (size_t)begin, item = l->type == KERN_F32 ? 4 : 2;
    (void)worker;
    g.N = (size_t)(end - begin);
    g.w = (const char *)g.w + n * g.ldw * item;
    g.y += n;
    g.bias = g.bias ? g.bias + n : NULL;
    l->kern->gemm[l->type](&g);
    for (size_t m = 0; m < g.M; m++)
        nn_activate(l->kern, l->act, g.y + m * g.ldy, g.N);
    return 0;
}

int64_t nn_linear_grain(int64_t M, int64_t N, int64_t K)
{
    if (M * N * K <= ALONE)
        return math_max(N, 1);
    return (PIECE / (M * K) / CUT + 1) * CUT;
}

struct rows {
    nn_encode_fn *encode;
    const float *x;
    char *to;
    size_t K, size;
};

static int encode_rows(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct rows *r = ctx;
    (void)worker;
    for (size_t i = (size_t)begin; i < (size_t)end; i++)
        r->encode(r->to + i * r->size, r->x + i * r->K, r->K);
    return 0;
}

void *nn_encode_rows(struct nn *nn, nn_encode_fn *encode, size_t size, struct tensor x)
{
    int64_t K = x.dim[x.ndim - 1], M = tensor_count(x) / K;
    struct rows r = { .encode = encode, .x = x.data, .K = (size_t)K, .size = size };
    size_t bytes;
    r.to = math_mul(&bytes, (size_t)M, size) ? arena_alloc(nn->mem, bytes) : NULL;
    if (!r.to)
        nn->failed = 1;
    else
        pool_run(nn->pool, encode_rows, &r, M, ROWS_GRAIN / K + 1);
    return r.to;
}

struct act_job {
    const struct kern *kern;
    enum nn_act act;
    const float *x;
    float *y;
};

static int act_range(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct act_job *a = ctx;
    (void)worker;
    memcpy(a->y + begin, a->x + begin, (size_t)(end - begin) * sizeof *a->y);
    nn_activate(a->kern, a->act, a->y + begin, (size_t)(end - begin));
    return 0;
}

static struct tensor activation(struct nn *nn, struct tensor x, enum nn_act act)
{
    struct tensor y = nn_tensor(nn, x.ndim, x.dim);
    struct act_job a = { nn->kern, act, x.data, y.data };
    if (!y.data)
        return y;
    pool_run(nn->pool, act_range, &a, tensor_count(x), 16384);
    nn_back_act(nn, y, x, act);
    return y;
}

static void linear_float(struct nn *nn, struct tensor y, struct tensor x,
                         const struct nn_linear *w, enum nn_act act)
{
    int64_t N = w->weight.dim[0], K = w->weight.dim[1], M = tensor_count(x) / K;
    struct linear l = { .kern = nn->kern, .type = nn_kern_type(w->weight.dtype), .act = act };
    l.gemm = (struct kern_gemm){ (size_t)M,    0,      (size_t)K, x.data,    w->weight.data,
                                 w->bias.data, y.data, (size_t)K, (size_t)K, (size_t)N };
    pool_run(nn->pool, columns, &l, N, nn_linear_grain(M, N, K));
}

struct tensor nn_linear(struct nn *nn, struct tensor x, const struct nn_linear *w,
                        enum nn_act act)
{
    int64_t N = w->weight.dim[0], K = w->weight.dim[1], dim[TENSOR_DIMS] = { 0 };
    if (nn->failed)
        return (struct tensor){ 0 };
    BUG_ON(x.dtype != DT_F32 || x.dim[x.ndim - 1] != K);
    for (int i = 0; i < x.ndim; i++)
        dim[i] = i == x.ndim - 1 ? N : x.dim[i];
    struct tensor y = nn_tensor(nn, x.ndim, dim);
    if (!y.data)
        return y;
    bool apart = nn->tape && act != NN_NONE; /* its slope is at what came before */
    if (w->weight.dtype == DT_I8 || w->weight.dtype == DT_I4)
        nn_linear_int(nn, y, x, w, act);
    else if (w->rounds)
        nn_linear_bf16(nn, y, x, w, apart ? NN_NONE : act);
    else
        linear_float(nn, y, x, w, apart ? NN_NONE : act);
    if (nn->tape)
        nn_back_linear(nn, y, x, w);
    return apart ? activation(nn, y, act) : y;
}
