/* adamw.c - the step, and how long it is. Source: Loshchilov and Hutter 2019, as torch's AdamW;
 * LAVIS optims.py. */
#include "base/err.h"
#include "base/math.h"
#include "train/state.h"

#include <math.h>
#include <string.h>

static int alone_gather(void *ctx, void *all, const void *own, size_t bytes)
{
    (void)ctx;
    memcpy(all, own, bytes);
    return 0;
}

static int alone_sum(void *ctx, float *x, size_t n)
{
    (void)ctx;
    (void)x;
    (void)n;
    return 0;
}

static int alone_sum_double(void *ctx, double *x, size_t n)
{
    (void)ctx;
    (void)x;
    (void)n;
    return 0;
}

const struct train_comm train_alone = { 0, 1, alone_gather, alone_sum, alone_sum_double, NULL };

/* Sums the gradients over the ranks, once. */
static int reduce(struct train *t)
{
    const struct train_comm *c = t->o.comm;
    for (size_t i = 0; c->size > 1 && !t->reduced && i < t->params; i++) {
        struct train_param *p = &t->param[i];
        if (p->touched && c->sum(c->ctx, p->grad, (size_t)tensor_count(p->value)) < 0)
            return -1;
    }
    t->reduced = true;
    return 0;
}

#define STRETCH 65536 /* of a sum that has its own order, whoever computes it */
#define LANES   8     /* parts of it, which the compiler may keep in one register */

struct squares {
    const float *grad;
    int64_t n;
    double *sum; /* of each stretch */
};

static int sum_squares(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct squares *s = ctx;
    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        const float *g = s->grad + i * STRETCH;
        int64_t n = math_min(STRETCH, s->n - i * STRETCH);
        double part[LANES] = { 0 };
        for (int64_t j = 0; j < n; j++)
            part[j % LANES] += (double)g[j] * (double)g[j];
        for (int k = 0; k < LANES; k++)
            s->sum[i] += part[k];
    }
    return 0;
}

int train_grad_norm(double *norm, struct train *t)
{
    double total = 0;
    if (reduce(t) < 0)
        return -1;
    for (size_t i = 0; i < t->params; i++) {
        const struct train_param *p = &t->param[i];
        int64_t n = tensor_count(p->value), stretches = (n + STRETCH - 1) / STRETCH;
        if (!p->touched)
            continue;
        struct squares s = { p->grad, n, NULL };
        s.sum = arena_calloc(&t->batch, (size_t)stretches, sizeof *s.sum);
        if (!s.sum)
            return -1;
        pool_run(t->nn.pool, sum_squares, &s, stretches, 1);
        for (int64_t k = 0; k < stretches; k++)
            total += s.sum[k];
    }
    *norm = sqrt(total);
    return 0;
}

struct step {
    struct train_param *p;
    float decay, scale, rate, correction, new1, beta2, new2, eps; /* new: 1 - beta, in double */
};

static int step_range(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct step *s = ctx;
    float *x = s->p->value.data, *m = s->p->exp_avg, *v = s->p->exp_avg_sq;
    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        float g = s->scale * s->p->grad[i];
        x[i] *= s->decay;
        m[i] += s->new1 * (g - m[i]);
        v[i] = s->beta2 * v[i] + s->new2 * g * g;
        x[i] -= s->rate * m[i] / (sqrtf(v[i]) / s->correction + s->eps);
        s->p->grad[i] = 0;
    }
    return 0;
}

static void step(struct train *t, struct train_param *p, double rate, double scale)
{
    const struct train_options *o = &t->o;
    double n = (double)++p->steps;
    struct step s = { .p = p,
                      .decay = (float)(p->decay ? 1 - rate * o->weight_decay : 1),
                      .scale = (float)scale,
                      .rate = (float)(rate / (1 - pow(o->beta1, n))),
                      .correction = (float)sqrt(1 - pow(o->beta2, n)),
                      .new1 = (float)(1 - o->beta1),
                      .beta2 = (float)o->beta2,
                      .new2 = (float)(1 - o->beta2),
                      .eps = (float)o->eps };
    pool_run(t->nn.pool, step_range, &s, tensor_count(p->value), 1 << 16);
    p->touched = false;
}

static void clamp_temp(struct train *t)
{
    float *temp = t->temp.data;
    if (temp && t->o.temp_max > 0)
        *temp = fminf(fmaxf(*temp, (float)t->o.temp_min), (float)t->o.temp_max);
}

int train_update(struct train *t, double rate)
{
    double norm = 0, scale = 1;
    if (reduce(t) < 0 || (t->o.clip > 0 && train_grad_norm(&norm, t) < 0))
        return -1;
    if (norm > t->o.clip)
        scale = t->o.clip / (norm + 1e-6); /* as torch.nn.utils.clip_grad_norm_ */
    for (size_t i = 0; i < t->params; i++)
        if (t->param[i].touched)
            step(t, &t->param[i], rate, scale);
    clamp_temp(t);
    t->reduced = false;
    return 0;
}

void train_clear(struct train *t)
{
    for (size_t i = 0; i < t->params; i++) {
        struct train_param *p = &t->param[i];
        memset(p->grad, 0, tensor_bytes(p->value));
        p->touched = false;
    }
    t->reduced = false;
}

static double cosine(const struct train_schedule *s, double part)
{
    return s->min + (s->peak - s->min) / 2 * (1 + cos(3.141592653589793 * fmin(part, 1)));
}

double train_rate(const struct train_schedule *s, int64_t step)
{
    int64_t epoch = step / math_max(s->epoch_steps, 1), all = s->epochs * s->epoch_steps;
    double ramp = s->start +
                  (s->peak - s->start) * (double)step / (double)math_max(s->warmup, 1);
    if (s->by_step)
        return step < s->warmup ? ramp
                                : cosine(s, (double)(step - s->warmup) /
                                                (double)math_max(all - s->warmup, 1));
    return epoch == 0 ? fmin(s->peak, ramp) : cosine(s, (double)epoch / (double)s->epochs);
}
