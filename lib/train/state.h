/* state.h - a model being trained, for the files of this module only. */
#ifndef TRAIN_STATE_H
#define TRAIN_STATE_H

#include "model/opt.h"
#include "model/retrieval.h"
#include "nn/tape.h"
#include "train/train.h"

/* What turns text rows into scores of the next word; the last step is the word embeddings. */
struct train_words {
    struct nn_linear dense; /* (D, D) */
    struct nn_norm norm;
    struct nn_linear out; /* (V, D), tied; bias (V) */
};

struct train {
    struct train_options o;
    struct store *from;
    struct arena keep;  /* the model, parameters and their state */
    struct arena mem;   /* activations of one micro-batch */
    struct arena notes; /* the tape's */
    struct arena batch; /* what one batch's parts share */
    struct nn nn;
    struct tape tape;
    struct train_param *param;
    size_t params, room;
    bool *fresh; /* (room) parameters that the checkpoint did not have */
    double init_std;
    int64_t width; /* D, of which heads start */
    bool reduced;  /* gradients are summed over the ranks */

    const struct qformer *q;
    struct retrieval *retrieval; /* stage 1 */
    struct train_words words;
    struct tensor temp;    /* () */
    struct opt_lm *opt;    /* stage 2 */
    struct nn_linear near; /* x to x.v - |v|^2 / 2 for each token's embedding v; if asked for */
    struct nn_norm ln_vision;
    double ln_eps;
};

/* A parameter by name, NULL if there is none. */
struct train_param *train_find(const struct train *t, const char *name);

/* What chance gives: a function of its arguments, uniform in [0, 1), or normal. */
double train_uniform(uint64_t seed, uint64_t stream, uint64_t i);
double train_normal(uint64_t seed, uint64_t stream, uint64_t i);

/* Values of a parameter that the checkpoint lacks; then those that are copies of others. */
void train_init_value(const struct train *t, const char *name, struct tensor value);
void train_init_copies(struct train *t);

/* Mean cross entropy of rows of logits (n, V) against target[n], smoothed: adds to *sum
 * scale * loss of each, and makes logits their own gradient. */
int train_cross_entropy(double *sum, struct train *t, struct tensor logits,
                        const int64_t *target, double smoothing, double scale);

/* The same for matching: x (n, Q, 2), the logits being means over Q. right: how many agree. */
void train_matching(double *sum, int64_t *right, struct train *t, struct tensor x,
                    const int64_t *label, double scale);

/* Contrast of one batch. Own rows: z (B, Q, P) and w (B, P), of unit length; gathered: G =
 * size B. dz, dw: gradients of own rows. neg_*: global indices drawn for each own pair. */
struct train_contrast {
    int64_t B, G, Q, P, first; /* first: global index of the first own pair */
    struct tensor z, w, z_all, w_all;
    const int64_t *image_id; /* (G) or NULL */
    float *dz, *dw;
    float *i2t, *t2i;       /* (B, G) similarities over the temperature */
    int32_t *i2t_q, *t2i_q; /* the query that gave each */
    double loss;
    int64_t *neg_image, *neg_text; /* (B) */
};
int train_contrast(struct train_contrast *c, struct train *t, const struct train_batch *b);

int train_stage1(struct train_losses *out, struct train *t, const struct train_batch *b);
/* Prepares t->near; and the loss of pairs [first, first + m), whose queries say visual (m Q,
 * E): adds its part of the batch's mean to *sum, and its gradient. */
int train_open_align(struct train *t);
int train_align(double *sum, struct train *t, const struct train_batch *b, struct tensor visual,
                int64_t first, int64_t m);

int train_stage2(struct train_losses *out, struct train *t, const struct train_batch *b);

/* Pairs that go through the model at once, and what is common to both stages: features of some
 * images through ln_vision, (n, S, E). which: global indices in all, or NULL: the first n. */
int64_t train_micro(const struct train *t, const struct train_batch *b);
struct tensor train_look(struct train *t, struct tensor all, const int64_t *which, int64_t n);
void train_begin(struct train *t, const struct train_batch *b);
int train_back(struct train *t); /* backward, and everything of the micro-batch forgotten */

/* The key of row r of sequence i, for dropout. */
static inline uint64_t train_key(int64_t i, int64_t r)
{
    return (uint64_t)i << 13 | (uint64_t)r;
}

#endif
