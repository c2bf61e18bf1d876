/* loss.c - losses that turn scores into their own gradients, in place. */
#include "base/err.h"
#include "kern/kern.h"
#include "train/state.h"

#include <math.h>

struct entropy {
    const struct kern *kern;
    float *x;
    const int64_t *target;
    double smoothing, scale;
    double *loss; /* of each row */
    int64_t V;
};

/* loss = lse - (1 - e) x[y] - e mean(x); its gradient p - (1 - e) 1[y] - e/V. */
static double row_loss(const struct entropy *c, float *x, int64_t y)
{
    double sum = 0, at = (double)x[y], e = c->smoothing;
    int64_t top = 0;
    for (int64_t i = 0; i < c->V; i++) {
        sum += (double)x[i];
        top = x[i] > x[top] ? i : top;
    }
    double highest = (double)x[top];
    c->kern->softmax(x, 1, (size_t)c->V);
    double lse = highest - log((double)x[top]);
    float even = (float)(e / (double)c->V), scale = (float)c->scale;
    x[y] -= (float)(1 - e);
    for (int64_t i = 0; i < c->V; i++)
        x[i] = scale * (x[i] - even);
    return lse - (1 - e) * at - e * sum / (double)c->V;
}

static int rows(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct entropy *c = ctx;
    (void)worker;
    for (int64_t r = begin; r < end; r++)
        c->loss[r] = row_loss(c, c->x + r * c->V, c->target[r]);
    return 0;
}

int train_cross_entropy(double *sum, struct train *t, struct tensor logits,
                        const int64_t *target, double smoothing, double scale)
{
    if (t->nn.failed)
        return nn_failed(&t->nn);
    int64_t n = logits.dim[0];
    struct entropy c = {
        t->nn.kern, logits.data, target, smoothing, scale, NULL, logits.dim[1]
    };
    c.loss = arena_calloc(&t->mem, (size_t)n, sizeof *c.loss);
    if (!c.loss)
        return -1;
    pool_run(t->nn.pool, rows, &c, n, 8);
    for (int64_t r = 0; r < n; r++)
        *sum += scale * c.loss[r];
    tape_seed(&t->nn, logits);
    return 0;
}

void train_matching(double *sum, int64_t *right, struct train *t, struct tensor x,
                    const int64_t *label, double scale)
{
    if (t->nn.failed)
        return;
    int64_t n = x.dim[0], Q = x.dim[1];
    float *p = x.data;
    for (int64_t i = 0; i < n; i++, p += 2 * Q) {
        double no = 0, yes = 0;
        for (int64_t q = 0; q < Q; q++) {
            no += (double)p[2 * q] / (double)Q;
            yes += (double)p[2 * q + 1] / (double)Q;
        }
        double wrong = label[i] ? no - yes : yes - no; /* loss = log(1 + exp(wrong)) */
        *sum += scale * (fmax(wrong, 0) + log1p(exp(-fabs(wrong))));
        *right += wrong < 0;
        double slope = scale / (1 + exp(-wrong)) / (double)Q * (label[i] ? -1 : 1);
        for (int64_t q = 0; q < Q; q++) {
            p[2 * q] = (float)-slope;
            p[2 * q + 1] = (float)slope;
        }
    }
    tape_seed(&t->nn, x);
}
