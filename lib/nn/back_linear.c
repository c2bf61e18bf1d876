/* back_linear.c - y = x W^T + b and activations, backwards:
 *
 *   dx += dy W    dW += dy^T x    db += sum over rows of dy */
#include "base/err.h"
#include "base/math.h"
#include "nn/back.h"

#include <math.h>
#include <string.h>

struct linear {
    struct tensor y, x, weight, bias;
};

#define BLOCK 32 /* rows and columns of a square that stays in the cache */

struct flip {
    const float *from;
    float *to, *sum; /* sum: of each row of to, added; or NULL */
    int64_t rows, columns;
};

/* A square is copied first, since its rows, far apart, may share lines of the cache; the next
 * one below is asked for meanwhile. */
static void flip_square(const struct flip *f, int64_t r0, int64_t c0, int64_t columns)
{
    float square[BLOCK][BLOCK];
    int64_t rows = math_min(BLOCK, f->rows - r0);
    for (int64_t r = 0; r < rows; r++) {
        const float *row = f->from + (r0 + r) * f->columns + c0,
                    *below = row + BLOCK * f->columns;
        memcpy(square[r], row, (size_t)columns * sizeof **square);
        __builtin_prefetch(below);
        __builtin_prefetch(below + BLOCK / 2);
    }
    for (int64_t c = 0; c < columns; c++)
        for (int64_t r = 0; r < rows; r++)
            f->to[(c0 + c) * f->rows + r0 + r] = square[r][c];
}

/* Columns [begin, end) of from (rows, columns) become rows of to. */
static int flip_columns(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct flip *f = ctx;
    (void)worker;
    for (int64_t c = begin; c < end; c += BLOCK)
        for (int64_t r = 0; r < f->rows; r += BLOCK)
            flip_square(f, r, c, math_min(BLOCK, end - c));
    for (int64_t c = begin; f->sum && c < end; c++) {
        double sum = 0;
        for (int64_t r = 0; r < f->rows; r++)
            sum += (double)f->to[c * f->rows + r];
        f->sum[c] = (float)(f->sum[c] + sum);
    }
    return 0;
}

static void weight_back(struct nn *nn, const struct linear *l, const float *dy, int64_t M)
{
    int64_t N = l->weight.dim[0], K = l->weight.dim[1];
    float *dw = tape_in(nn, l->weight.data), *db = tape_in(nn, l->bias.data);
    float *flipped = dw || db ? tape_take(nn, (size_t)(M * N)) : NULL;
    if (!flipped)
        return;
    struct flip f = { dy, flipped, db, M, N };
    pool_run(nn->pool, flip_columns, &f, N, BLOCK);
    if (dw)
        nn_matmul(nn, &(struct nn_matmul){ .M = N,
                                           .N = K,
                                           .K = M,
                                           .p = flipped,
                                           .v = tensor_2d(l->x.data, DT_F32, M, K),
                                           .y = dw,
                                           .add = true });
    tape_give(nn, flipped, (size_t)(M * N));
}

static void linear_back(struct nn *nn, const void *ctx)
{
    const struct linear *l = ctx;
    int64_t N = l->weight.dim[0], K = l->weight.dim[1], M = tensor_count(l->x) / K;
    const float *dy = tape_out(nn, l->y.data);
    float *dx = tape_in(nn, l->x.data);
    if (dx)
        nn_matmul(nn,
                  &(struct nn_matmul){
                      .M = M, .N = K, .K = N, .p = dy, .v = l->weight, .y = dx, .add = true });
    weight_back(nn, l, dy, M);
}

void nn_back_linear(struct nn *nn, struct tensor y, struct tensor x, const struct nn_linear *w)
{
    struct linear l = { y, x, w->weight, w->bias };
    bool wanted = tape_wants(nn, x.data) || tape_wants(nn, w->weight.data) ||
                  tape_wants(nn, w->bias.data);
    BUG_ON(wanted && w->scale.data); /* train_open() refuses quantised models */
    if (wanted)
        tape_note(nn, y, linear_back, &l, sizeof l);
}

/* ---- activations ---- */

struct act {
    struct tensor y, x;
    enum nn_act act;
    const float *dy; /* while it goes back */
    float *dx;
};

/* d/dx of y = x Phi(x): Phi(x) + x phi(x), Phi being known from y. */
static float gelu_slope(float x, float y)
{
    float below = fabsf(x) < 1e-3f ? 0.5f + 0.398942280f * x : y / x;
    return below + x * 0.398942280f * expf(-0.5f * x * x);
}

static float quick_gelu_slope(float x)
{
    double s = 1 / (1 + exp(-1.702 * (double)x));
    return (float)(s + 1.702 * (double)x * s * (1 - s));
}

static int act_range(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct act *a = ctx;
    const float *x = a->x.data, *y = a->y.data;
    (void)worker;
    for (int64_t i = begin; i < end; i++)
        a->dx[i] += a->dy[i] * (a->act == NN_RELU   ? (float)(x[i] > 0)
                                : a->act == NN_GELU ? gelu_slope(x[i], y[i])
                                                    : quick_gelu_slope(x[i]));
    return 0;
}

static void act_back(struct nn *nn, const void *ctx)
{
    struct act a = *(const struct act *)ctx;
    a.dy = tape_out(nn, a.y.data);
    a.dx = tape_in(nn, a.x.data);
    if (a.dx)
        pool_run(nn->pool, act_range, &a, tensor_count(a.x), 4096);
}

void nn_back_act(struct nn *nn, struct tensor y, struct tensor x, enum nn_act act)
{
    struct act a = { .y = y, .x = x, .act = act };
    if (tape_wants(nn, x.data))
        tape_note(nn, y, act_back, &a, sizeof a);
}
