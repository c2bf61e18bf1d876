/* back_norm.c - y = h w + b with h = (x - mean) / s, backwards:
 *
 *   dw += sum over rows of dy h    db += sum over rows of dy
 *   dx += (g - mean(g) - h mean(g h)) / s    with g = dy w
 *
 * and of y = x / |x|: dx += (dy - y (y.dy)) / |x|. */
#include "base/err.h"
#include "base/math.h"
#include "nn/back.h"

#include <math.h>

#define COLUMNS 64

struct norm {
    struct tensor y, x, weight, bias;
    double eps;
    const float *dy; /* while it goes back */
    float *dx, *dw, *db;
    float *mean, *scale; /* of each row */
    int64_t rows, D;
};

/* Sums in LANES parts, which the compiler may keep in one register. */
#define LANES 8

static double total(const double part[LANES])
{
    double sum = 0;
    for (int i = 0; i < LANES; i++)
        sum += part[i];
    return sum;
}

static void moments(const struct norm *n, int64_t r)
{
    const float *x = (const float *)n->x.data + r * n->D;
    double sum[LANES] = { 0 }, squares[LANES] = { 0 };
    for (int64_t d = 0; d < n->D; d++)
        sum[d % LANES] += (double)x[d];
    double mean = total(sum) / (double)n->D;
    for (int64_t d = 0; d < n->D; d++) {
        double from = (double)x[d] - mean;
        squares[d % LANES] += from * from;
    }
    n->mean[r] = (float)mean;
    n->scale[r] = (float)(1 / sqrt(total(squares) / (double)n->D + n->eps));
}

static void row_back(const struct norm *n, int64_t r)
{
    const float *x = (const float *)n->x.data + r * n->D, *dy = n->dy + r * n->D;
    const float *w = n->weight.data;
    float *dx = n->dx + r * n->D, mean = n->mean[r], scale = n->scale[r];
    double sum[LANES] = { 0 }, along[LANES] = { 0 };
    for (int64_t d = 0; d < n->D; d++) {
        double g = (double)dy[d] * (double)w[d];
        sum[d % LANES] += g;
        along[d % LANES] += g * (double)((x[d] - mean) * scale);
    }
    float g_mean = (float)(total(sum) / (double)n->D);
    float h_mean = (float)(total(along) / (double)n->D);
    for (int64_t d = 0; d < n->D; d++)
        dx[d] += scale * (dy[d] * w[d] - g_mean - (x[d] - mean) * scale * h_mean);
}

static int norm_rows(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct norm *n = ctx;
    (void)worker;
    for (int64_t r = begin; r < end; r++) {
        moments(n, r);
        if (n->dx)
            row_back(n, r);
    }
    return 0;
}

static int norm_columns(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct norm *n = ctx;
    const float *x = n->x.data;
    double dw[COLUMNS] = { 0 }, db[COLUMNS] = { 0 };
    (void)worker;
    for (int64_t r = 0; r < n->rows; r++)
        for (int64_t d = begin; d < end; d++) {
            double dy = (double)n->dy[r * n->D + d];
            dw[d - begin] += dy * (double)((x[r * n->D + d] - n->mean[r]) * n->scale[r]);
            db[d - begin] += dy;
        }
    for (int64_t d = begin; d < end; d++) {
        if (n->dw)
            n->dw[d] = (float)(n->dw[d] + dw[d - begin]);
        if (n->db)
            n->db[d] = (float)(n->db[d] + db[d - begin]);
    }
    return 0;
}

/* In pieces of COLUMNS whatever the pool makes of them. */
static int norm_strips(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct norm *n = ctx;
    for (int64_t i = begin; i < end; i++)
        norm_columns(ctx, i * COLUMNS, math_min((i + 1) * COLUMNS, n->D), worker);
    return 0;
}

static void norm_back(struct nn *nn, const void *ctx)
{
    struct norm n = *(const struct norm *)ctx;
    n.dy = tape_out(nn, n.y.data);
    n.dx = tape_in(nn, n.x.data);
    n.dw = tape_in(nn, n.weight.data);
    n.db = tape_in(nn, n.bias.data);
    n.mean = tape_take(nn, (size_t)(2 * n.rows));
    if (!n.mean)
        return;
    n.scale = n.mean + n.rows;
    pool_run(nn->pool, norm_rows, &n, n.rows, 8192 / n.D + 1);
    if (n.dw || n.db)
        pool_run(nn->pool, norm_strips, &n, (n.D + COLUMNS - 1) / COLUMNS, 1);
    tape_give(nn, n.mean, (size_t)(2 * n.rows));
}

void nn_back_layernorm(struct nn *nn, struct tensor y, struct tensor x, const struct nn_norm *w,
                       double eps)
{
    int64_t D = x.dim[x.ndim - 1];
    struct norm n = { .y = y,
                      .x = x,
                      .weight = w->weight,
                      .bias = w->bias,
                      .eps = eps,
                      .rows = tensor_count(x) / D,
                      .D = D };
    if (tape_wants(nn, x.data) || tape_wants(nn, w->weight.data))
        tape_note(nn, y, norm_back, &n, sizeof n);
}

struct unit {
    struct tensor y, x;
};

static void unit_row(float *dx, const float *dy, const float *y, const float *x, int64_t D)
{
    double squares = 0, along = 0;
    for (int64_t d = 0; d < D; d++) {
        squares += (double)x[d] * (double)x[d];
        along += (double)y[d] * (double)dy[d];
    }
    double norm = fmax(sqrt(squares), 1e-12);
    for (int64_t d = 0; d < D; d++)
        dx[d] += (float)(((double)dy[d] - (double)y[d] * along) / norm);
}

static void unit_back(struct nn *nn, const void *ctx)
{
    const struct unit *u = ctx;
    int64_t D = u->x.dim[u->x.ndim - 1];
    const float *dy = tape_out(nn, u->y.data);
    float *dx = tape_in(nn, u->x.data);
    for (int64_t i = 0; dx && i < tensor_count(u->x); i += D)
        unit_row(dx + i, dy + i, (float *)u->y.data + i, (float *)u->x.data + i, D);
}

void nn_back_unit(struct nn *nn, struct tensor y, struct tensor x)
{
    if (tape_wants(nn, x.data))
        tape_note(nn, y, unit_back, &(struct unit){ y, x }, sizeof(struct unit));
}
