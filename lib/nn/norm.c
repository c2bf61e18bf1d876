/* norm.c - layer normalisation and sums, the rows split among threads. */
#include "base/err.h"
#include "kern/kern.h"
#include "nn/back.h"

#define GRAIN 16384 /* floats worth a thread's while */

struct rows {
    const struct kern *kern;
    float *y;
    const float *a, *b, *w;
    double eps;
    int64_t D, period; /* row i of b is i % period */
};

static int norm_rows(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct rows *r = ctx;
    (void)worker;
    for (int64_t i = begin; i < end; i++)
        r->kern->layernorm(r->y + i * r->D, r->a + i * r->D, r->w, r->b, r->eps, (size_t)r->D);
    return 0;
}

static int add_rows(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct rows *r = ctx;
    (void)worker;
    for (int64_t i = begin; i < end; i++)
        r->kern->add(r->y + i * r->D, r->a + i * r->D, r->b + i % r->period * r->D,
                     (size_t)r->D);
    return 0;
}

static struct tensor run(struct nn *nn, struct tensor x, pool_fn *fn, struct rows r)
{
    struct tensor y = nn_tensor(nn, x.ndim, x.dim);
    if (!y.data)
        return y;
    r.kern = nn->kern;
    r.y = y.data;
    r.a = x.data;
    r.D = x.dim[x.ndim - 1];
    pool_run(nn->pool, fn, &r, tensor_count(x) / r.D, GRAIN / r.D + 1);
    return y;
}

struct tensor nn_layernorm(struct nn *nn, struct tensor x, const struct nn_norm *w, double eps)
{
    if (nn->failed)
        return (struct tensor){ 0 };
    BUG_ON(w->weight.dim[0] != x.dim[x.ndim - 1]);
    struct rows r = { .w = w->weight.data, .b = w->bias.data, .eps = eps };
    struct tensor y = run(nn, x, norm_rows, r);
    if (nn->tape && y.data)
        nn_back_layernorm(nn, y, x, w, eps);
    return y;
}

struct tensor nn_add(struct nn *nn, struct tensor a, struct tensor b)
{
    if (nn->failed)
        return (struct tensor){ 0 };
    int64_t D = a.dim[a.ndim - 1];
    BUG_ON(D != b.dim[b.ndim - 1] || tensor_count(a) % tensor_count(b));
    struct rows r = { .b = b.data, .period = tensor_count(b) / D };
    struct tensor y = run(nn, a, add_rows, r);
    if (nn->tape && y.data)
        nn_back_add(nn, y, a, b);
    return y;
}
