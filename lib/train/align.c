/* align.c - rows that stand for the caption's own tokens: each projected query is classified,
 * by its distance to the language model's token embeddings, as the caption's token at its
 * place, and drawn to it. For language models too small to read rows that are unlike their
 * words. */
#include "base/err.h"
#include "kern/kern.h"
#include "train/state.h"

#include <math.h>

/* A token whose embedding is nearer by the mean squared length of the caption's embeddings is
 * exp(SHARP / 2) times as likely; the distance itself counts DRAW. */
#define SHARP 12
#define DRAW  2

int train_open_align(struct train *t)
{
    struct tensor words = opt_words(t->opt); // (V, E)
    int64_t V = words.dim[0], E = words.dim[1];
    float *half = arena_calloc(&t->keep, (size_t)V, sizeof *half);
    float *row = arena_calloc(&t->keep, (size_t)E, sizeof *row);
    if (!half || !row)
        return -1;
    for (int64_t v = 0; v < V; v++) {
        double sum = 0;
        tensor_to_f32(row,
                      tensor_1d((char *)words.data + (size_t)(v * E) * dtype_size(words.dtype),
                                words.dtype, E));
        for (int64_t i = 0; i < E; i++)
            sum += (double)row[i] * (double)row[i];
        half[v] = (float)(-sum / 2);
    }
    t->near = (struct nn_linear){ .weight = words, .bias = tensor_1d(half, DT_F32, V) };
    return 0;
}

/* The token at place q of a text </s> ... newline, and padding behind it. */
static int64_t token_at(const int64_t *ids, int64_t length, int64_t q, int64_t pad)
{
    return q + 2 < length ? ids[q + 1] : pad;
}

static int64_t *targets(struct train *t, const struct train_batch *b, int64_t first, int64_t m)
{
    int64_t Q = qformer_queries(t->q), pad = opt_info(t->opt).pad;
    int64_t *target = arena_calloc(&t->mem, (size_t)(m * Q), sizeof *target);
    for (int64_t i = 0; target && i < m * Q; i++) {
        int64_t pair = first + i / Q;
        target[i] = token_at(b->ids + pair * b->T, b->length[pair], i % Q, pad);
    }
    return target;
}

/* Mean squared length of the rows of x (n, E). */
static double size_of(const float *x, int64_t n, int64_t E)
{
    double sum = 0;
    for (int64_t i = 0; i < n * E; i++)
        sum += (double)x[i] * (double)x[i];
    return sum / (double)n;
}

/* DRAW |x - aim|^2 / size, its mean over rows; the gradient goes to x. */
static void draw(double *sum, struct train *t, struct tensor x, const float *aim, int64_t n,
                 double scale)
{
    int64_t E = x.dim[x.ndim - 1];
    const float *p = x.data;
    float *grad = tape_in(&t->nn, x.data);
    for (int64_t i = 0; grad && i < n * E; i++) {
        double gap = (double)p[i] - (double)aim[i];
        *sum += scale * gap * gap;
        grad[i] += (float)(2 * scale * gap);
    }
}

static void multiply(struct tensor x, double by)
{
    float *p = x.data;
    for (int64_t i = 0, n = tensor_count(x); i < n; i++)
        p[i] *= (float)by;
}

int train_align(double *sum, struct train *t, const struct train_batch *b, struct tensor visual,
                int64_t first, int64_t m)
{
    int64_t n = m * qformer_queries(t->q), E = visual.dim[visual.ndim - 1];
    int64_t *target = targets(t, b, first, m);
    struct tensor aim, logits, x = tensor_2d(visual.data, DT_F32, n, E);
    if (!target || opt_embed(&aim, t->opt, &t->nn, target, n) < 0)
        return -1;
    double size = size_of(aim.data, n, E),
           share = b->weight * (double)m / (double)(b->B * t->o.comm->size);
    if (size <= 0)
        return err_set(ERR_CONFIG, "token embeddings of the language model are all zero");
    logits = nn_linear(&t->nn, x, &t->near, NN_NONE); // (n, V): x.v - |v|^2 / 2
    if (t->nn.failed)
        return nn_failed(&t->nn);
    multiply(logits, SHARP / size);
    if (train_cross_entropy(sum, t, logits, target, 0, share / (double)n) < 0)
        return -1;
    multiply(logits, SHARP / size); /* they are the gradient now */
    draw(sum, t, x, aim.data, n, DRAW * share / ((double)n * size));
    return 0;
}
