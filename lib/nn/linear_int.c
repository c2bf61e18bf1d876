/* linear_int.c - linear layers whose weights are whole numbers with scales: the rows of x are
 * encoded once, then the columns are split among threads. */
#include "base/err.h"
#include "nn/linear.h"

#define LINE 64 /* columns that lie by input come in whole lines of memory */

struct linear {
    const struct kern *kern;
    const struct kern_int *product;
    struct kern_int_gemm gemm; /* all columns */
    enum nn_act act;
};

static int columns(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct linear *l = ctx;
    struct kern_int_gemm g = l->gemm;
    size_t n = (size_t)begin, item = g.scales == KERN_F32 ? 4 : 2;
    (void)worker;
    g.N = (size_t)(end - begin);
    g.w = (const char *)g.w + n * (g.by_input ? 1 : g.ldw);
    g.scale = (const char *)g.scale + n * g.lds * item;
    g.y += n;
    g.bias = g.bias ? g.bias + n : NULL;
    l->product->gemm(&g);
    for (size_t m = 0; m < g.M; m++)
        nn_activate(l->kern, l->act, g.y + m * g.ldy, g.N);
    return 0;
}

/* What lies by input is read fastest in long pieces of its rows: for few rows of x, where
 * reading is all there is, one a thread. */
static int64_t grain(const struct nn *nn, const struct nn_linear *w, int64_t M, int64_t N,
                     int64_t K)
{
    int64_t n = nn_linear_grain(M, N, K), threads = pool_threads(nn->pool);
    if (!w->by_input)
        return n;
    n = M <= 8 ? (N + threads - 1) / threads : n;
    return (n + LINE - 1) / LINE * LINE;
}

void nn_linear_int(struct nn *nn, struct tensor y, struct tensor x, const struct nn_linear *w,
                   enum nn_act act)
{
    bool half = w->weight.dtype == DT_I4;
    int64_t N = w->weight.dim[0], K = w->weight.dim[1], M = tensor_count(x) / K;
    int64_t groups = half ? w->scale.dim[1] : 1;
    BUG_ON(!half && w->weight.dtype != DT_I8);
    BUG_ON(w->by_input && (half || K > 16384));
    BUG_ON(K > 65536 || w->scale.dim[0] != N || K % groups || (half && K / groups % 32));
    struct linear l = { nn->kern, half ? nn->kern->i4 : nn->kern->i8, { .M = (size_t)M }, act };
    struct arena_mark mark = arena_mark(nn->mem);
    size_t row = l.product->row_size((size_t)K);
    void *codes = nn_encode_rows(nn, l.product->encode, row, x);
    if (!codes)
        return;
    l.gemm = (struct kern_int_gemm){ .M = (size_t)M,
                                     .K = (size_t)K,
                                     .group = (size_t)(K / groups),
                                     .x = codes,
                                     .w = w->weight.data,
                                     .scale = w->scale.data,
                                     .bias = w->bias.data,
                                     .y = y.data,
                                     .ldx = row,
                                     .ldw = (size_t)(w->by_input ? N
                                                     : half      ? K / 2
                                                                 : K),
                                     .lds = (size_t)groups,
                                     .ldy = (size_t)N,
                                     .scales = nn_kern_type(w->scale.dtype),
                                     .by_input = w->by_input };
    pool_run(nn->pool, columns, &l, N, grain(nn, w, M, N, K));
    arena_rewind(nn->mem, mark);
}
