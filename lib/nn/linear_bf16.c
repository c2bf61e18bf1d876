/* linear_bf16.c - linear layers of bf16 by bf16: the rows of x are rounded, then the columns
 * are split among threads. */
#include "base/err.h"
#include "nn/linear.h"

struct linear {
    const struct kern *kern;
    struct kern_bf16_gemm gemm; /* all columns */
    enum nn_act act;
};

static int columns(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct linear *l = ctx;
    struct kern_bf16_gemm g = l->gemm;
    size_t n = (size_t)begin;
    (void)worker;
    g.N = (size_t)(end - begin);
    g.w = (const char *)g.w + n * g.ldw * sizeof(uint16_t);
    g.y += n;
    g.bias = g.bias ? g.bias + n : NULL;
    l->kern->bf16->gemm(&g);
    for (size_t m = 0; m < g.M; m++)
        nn_activate(l->kern, l->act, g.y + m * g.ldy, g.N);
    return 0;
}

void nn_linear_bf16(struct nn *nn, struct tensor y, struct tensor x, const struct nn_linear *w,
                    enum nn_act act)
{
    int64_t N = w->weight.dim[0], K = w->weight.dim[1], M = tensor_count(x) / K;
    BUG_ON(w->weight.dtype != DT_BF16);
    struct linear l = { .kern = nn->kern, .act = act };
    struct arena_mark mark = arena_mark(nn->mem);
    size_t row = nn->kern->bf16->row_size((size_t)K);
    void *rows = nn_encode_rows(nn, nn->kern->bf16->encode, row, x);
    if (!rows)
        return;
    l.gemm = (struct kern_bf16_gemm){ .M = (size_t)M,
                                      .K = (size_t)K,
                                      .x = rows,
                                      .w = w->weight.data,
                                      .bias = w->bias.data,
                                      .y = y.data,
                                      .ldx = row,
                                      .ldw = (size_t)K,
                                      .ldy = (size_t)N };
    pool_run(nn->pool, columns, &l, N, nn_linear_grain(M, N, K));
    arena_rewind(nn->mem, mark);
}
