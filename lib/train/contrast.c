/* contrast.c - image-text contrast over the whole batch, and the negatives it suggests:
 *
 *   s[i,t] = max over q of z[i,q].w[t] / temp
 *   loss   = (CE(rows of s) + CE(columns of s)) / 2, against (1 - e) same + e/G
 *
 * LAVIS gathers the other side without its graph, so the half over images' rows trains the
 * images alone, and the other the texts. Source: blip2_qformer.py; Li et al. 2023, 3.2. */
#include "base/err.h"
#include "train/state.h"

#include <math.h>
#include <string.h>

#define MASKED (-10000.0)

struct half {   /* one direction: own rows against everything of the other side */
    float *s;   /* (B, G) */
    int32_t *q; /* (B, G) */
    bool from_image;
};

static bool same(const struct train_contrast *c, int64_t own, int64_t other)
{
    int64_t i = c->first + own;
    return c->image_id ? c->image_id[i] == c->image_id[other] : i == other;
}

/* dot (images Q, texts): the best query of each pair, for own rows of one side. */
static void best(const struct train_contrast *c, const struct half *h, struct tensor dot,
                 double temp)
{
    const float *x = dot.data;
    int64_t columns = dot.dim[1];
    for (int64_t b = 0; b < c->B; b++)
        for (int64_t g = 0; g < c->G; g++) {
            int64_t image = h->from_image ? b : g, text = h->from_image ? g : b, top = 0;
            const float *at = x + image * c->Q * columns + text;
            for (int64_t q = 1; q < c->Q; q++)
                top = at[q * columns] > at[top * columns] ? q : top;
            h->s[b * c->G + g] = (float)((double)at[top * columns] / temp);
            h->q[b * c->G + g] = (int32_t)top;
        }
}

static int similarities(const struct train_contrast *c, struct train *t, const struct half *h)
{
    struct nn nn = t->nn;
    nn.tape = NULL;
    nn.mem = &t->batch;
    struct tensor z = h->from_image ? c->z : c->z_all;
    struct nn_linear w = { .weight = h->from_image ? c->w_all : c->w };
    z = tensor_2d(z.data, DT_F32, z.dim[0] * c->Q, c->P);
    struct tensor dot = nn_linear(&nn, z, &w, NN_NONE); // (images Q, texts)
    if (nn_failed(&nn) < 0)
        return -1;
    best(c, h, dot, (double)*(float *)t->temp.data);
    return 0;
}

/* to += by x, both of P floats. */
static void add(float *to, const float *x, double by, int64_t P)
{
    for (int64_t p = 0; p < P; p++)
        to[p] += (float)by * x[p];
}

/* Probabilities of a row of similarities; gives its log-sum. */
static double softmax(double *p, const float *s, int64_t n)
{
    double top = -INFINITY, sum = 0;
    for (int64_t i = 0; i < n; i++)
        top = fmax(top, (double)s[i]);
    for (int64_t i = 0; i < n; i++)
        sum += p[i] = exp((double)s[i] - top);
    for (int64_t i = 0; i < n; i++)
        p[i] /= sum;
    return top + log(sum);
}

/* The gradient of one similarity goes to the row it was made from; attached: to both. */
static void spread(struct train_contrast *c, const struct train *t, const struct half *h,
                   int64_t b, int64_t g, double slope)
{
    int64_t query = h->q[b * c->G + g], own = c->first + b, P = c->P;
    int64_t image = h->from_image ? own : g, text = h->from_image ? g : own;
    const float *z = (const float *)c->z_all.data + (image * c->Q + query) * P;
    const float *w = (const float *)c->w_all.data + text * P;
    double by = slope / (double)*(float *)t->temp.data;
    if (h->from_image || t->o.attached)
        add(c->dz + (image * c->Q + query) * P, w, by, P);
    if (!h->from_image || t->o.attached)
        add(c->dw + text * P, z, by, P);
}

static int descend(struct train_contrast *c, struct train *t, const struct half *h,
                   double weight)
{
    double *p = arena_calloc(&t->batch, (size_t)c->G, sizeof *p), e = t->o.label_smoothing;
    double temp = (double)*(float *)t->temp.data, slope_temp = 0, G = (double)c->G;
    for (int64_t b = 0; p && b < c->B; b++) {
        const float *s = h->s + b * c->G;
        double lse = softmax(p, s, c->G), twins = 0;
        for (int64_t g = 0; g < c->G; g++)
            twins += same(c, b, g);
        for (int64_t g = 0; g < c->G; g++) {
            double want = (same(c, b, g) ? (1 - e) / twins : 0) + e / G;
            double slope = weight * (p[g] - want) / (2 * G);
            c->loss += want * (lse - (double)s[g]) / (2 * G);
            slope_temp -= slope * (double)s[g] / temp;
            spread(c, t, h, b, g, slope);
        }
    }
    float *grad = p ? tape_in(&t->nn, t->temp.data) : NULL;
    if (grad)
        *grad = (float)((double)*grad + slope_temp);
    return p ? 0 : -1;
}

/* An index by the softmax of s, what is the same left out; all alike if nothing else is. */
static int64_t draw(const struct train_contrast *c, double *p, const float *s, int64_t b,
                    double chance)
{
    double top = -INFINITY, sum = 0;
    for (int64_t g = 0; g < c->G; g++) {
        p[g] = same(c, b, g) ? MASKED : (double)s[g];
        top = fmax(top, p[g]);
    }
    for (int64_t g = 0; g < c->G; g++)
        sum += p[g] = exp(p[g] - top);
    double left = chance * sum;
    int64_t last = 0;
    for (int64_t g = 0; g < c->G; g++) {
        if (p[g] > 0)
            last = g;
        if ((left -= p[g]) < 0)
            return last;
    }
    return last;
}

static int negatives(struct train_contrast *c, struct train *t, const struct train_batch *b)
{
    double *p = arena_calloc(&t->batch, (size_t)c->G, sizeof *p);
    for (int64_t i = 0; p && i < c->B; i++) {
        uint64_t pair = (uint64_t)(c->first + i), stream = 2 * b->number;
        double image = train_uniform(t->o.seed, stream, pair);
        double text = train_uniform(t->o.seed, stream + 1, pair);
        c->neg_image[i] = b->neg_image ? b->neg_image[i]
                                       : draw(c, p, c->t2i + i * c->G, i, image);
        c->neg_text[i] = b->neg_text ? b->neg_text[i] : draw(c, p, c->i2t + i * c->G, i, text);
    }
    return p ? 0 : -1;
}

/* With the graph kept on both sides, other ranks have a part of ours. */
static int exchange(struct train_contrast *c, const struct train *t)
{
    const struct train_comm *comm = t->o.comm;
    if (!t->o.attached || comm->size == 1)
        return 0;
    if (comm->sum(comm->ctx, c->dz, (size_t)(c->G * c->Q * c->P)) < 0)
        return -1;
    return comm->sum(comm->ctx, c->dw, (size_t)(c->G * c->P));
}

static void *items(struct train *t, int64_t n, size_t size)
{
    return arena_calloc(&t->batch, (size_t)n, size);
}

static int make_room(struct train_contrast *c, struct train *t)
{
    int64_t n = c->B * c->G;
    c->i2t = items(t, n, sizeof *c->i2t);
    c->t2i = items(t, n, sizeof *c->t2i);
    c->i2t_q = items(t, n, sizeof *c->i2t_q);
    c->t2i_q = items(t, n, sizeof *c->t2i_q);
    c->dz = items(t, c->G * c->Q * c->P, sizeof *c->dz);
    c->dw = items(t, c->G * c->P, sizeof *c->dw);
    c->neg_image = items(t, c->B, sizeof *c->neg_image);
    c->neg_text = items(t, c->B, sizeof *c->neg_text);
    return c->i2t && c->t2i && c->i2t_q && c->t2i_q && c->dz && c->dw && c->neg_image &&
                   c->neg_text
               ? 0
               : -1;
}

int train_contrast(struct train_contrast *c, struct train *t, const struct train_batch *b)
{
    if (make_room(c, t) < 0)
        return -1;
    struct half rows = { c->i2t, c->i2t_q, true }, columns = { c->t2i, c->t2i_q, false };
    if (similarities(c, t, &rows) < 0 || similarities(c, t, &columns) < 0 ||
        negatives(c, t, b) < 0)
        return -1;
    if (!(t->o.losses & TRAIN_ITC))
        return 0;
    if (descend(c, t, &rows, b->weight) < 0 || descend(c, t, &columns, b->weight) < 0 ||
        exchange(c, t) < 0)
        return -1;
    c->dz += c->first * c->Q * c->P;
    c->dw += c->first * c->P;
    return 0;
}
