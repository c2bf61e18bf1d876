/* train.h - how the Q-Former learns: losses, their gradients, and AdamW.
 *
 * Stage 1:  image-text contrast (ITC), matching (ITM) and image-grounded generation (ITG), over
 *           frozen image features. Stage 2: the words of a frozen OPT. What is trained is
 *           copied as f32 into memory of ours; all else stays mapped as it is.
 * Source:   Li et al. 2023 (BLIP-2) sections 3.2 and 3.3; LAVIS blip2_qformer.py, blip2_opt.py
 *           and optims.py, whose semantics are the defaults. "The paper" means what it does
 *           otherwise.
 * Bits:     the same for any number of threads; dropout and negatives are functions of the seed
 *           and the batch's number alone, so what is resumed goes on as if never stopped.
 * Letters:  B pairs, S rows of features of width E, T text positions.
 * Errors:   -1 or NULL with err set: ERR_CONFIG a checkpoint that lacks a part or is quantised,
 *           ERR_DATA a batch that does not fit the model, ERR_OS memory. */
#ifndef TRAIN_TRAIN_H
#define TRAIN_TRAIN_H

#include "base/pool.h"
#include "nn/nn.h"
#include "store/store.h"

#include <stdbool.h>
#include <stdint.h>

struct train;

/* TRAIN_ALIGN is ours: the projected queries are drawn to the embeddings of the caption's own
 * tokens (align.c), for language models too small to read rows unlike their words. */
enum {
    TRAIN_ITC = 1,
    TRAIN_ITG = 2,
    TRAIN_ITM = 4,
    TRAIN_ALL = 7, /* of stage 1 */
    TRAIN_LM = 8,
    TRAIN_ALIGN = 16,
};

/* Several processes, one batch: each brings B pairs. train_alone is one process. Collective:
 * all ranks call in the same order. 0, or -1 with err set. */
struct train_comm {
    int rank, size;
    int (*gather)(void *ctx, void *all, const void *own, size_t bytes); /* by rank */
    int (*sum)(void *ctx, float *x, size_t n);                          /* in place */
    int (*sum_double)(void *ctx, double *x, size_t n);
    void *ctx;
};
extern const struct train_comm train_alone;

struct train_options {
    int stage;         /* 1 or 2 */
    int losses;        /* TRAIN_ITC | ...; stage 2: TRAIN_LM */
    double dropout;    /* 0.1: of hidden states and attention; not in the frozen OPT */
    double lm_dropout; /* 0.1: of the frozen OPT's hidden states, which LAVIS leaves in train
                          mode with the rest; 0: evaluation mode */
    double label_smoothing;                 /* 0.1: of ITC and ITG */
    double beta1, beta2, eps, weight_decay; /* 0.9 0.999 1e-8 0.05; the paper: beta2 0.98 */
    double clip;                            /* largest norm of the gradient; 0: any (LAVIS) */
    bool attached;    /* ITC trains both sides of each half; false: LAVIS's detached gather */
    bool temp_decays; /* true (LAVIS): weight decay pulls the temperature too */
    double temp_min, temp_max; /* the temperature is kept within; 0 0: not at all (LAVIS) */
    uint64_t seed;
    int64_t micro; /* pairs that go through the model at once; 0: what 4 GiB hold, which is all
                      of a batch if the model is small */
    int64_t dec;   /* id of [DEC]; -1: the last of the vocabulary */
    bool init;     /* what the checkpoint lacks starts as LAVIS's does, from the seed */
    const struct train_comm *comm;
};
/* LAVIS's, for stage 1 or 2. */
struct train_options train_defaults(int stage);

/* st: a Blip2ForImageTextRetrieval (stage 1) or Blip2ForConditionalGeneration (stage 2), in
 * Hugging Face's names or LAVIS's. from: where trained tensors are taken from before st, or
 * NULL: the result of stage 1, for stage 2. Hugging Face's files have no temp and no language
 * model head (cls.predictions.*): they start as LAVIS's do, whatever init says. st must stay
 * open; pool may be NULL. cpu: as nn_init(). */
struct train *train_open(struct store *st, struct store *from, const struct train_options *o,
                         struct pool *pool, const char *cpu);
void train_close(struct train *t);

/* ---- parameters ---- */

/* What a checkpoint holds of each: value, and the optimiser's state. name is Hugging Face's;
 * what has none is called temp and cls.predictions.*. */
struct train_param {
    const char *name;
    struct tensor value;                /* f32, ours, writable */
    float *grad, *exp_avg, *exp_avg_sq; /* as many */
    int64_t steps;                      /* updates it has had */
    bool decay;                         /* weight decay applies */
    bool touched;                       /* has a gradient since the last update */
};
struct train_param *train_params(struct train *t, size_t *count);

/* ---- a step ---- */

struct train_batch {
    int64_t B, T;
    struct tensor features;  /* (B, S, E) f32, before the vision model's post_layernorm */
    const int64_t *ids;      /* (B, T): stage 1 [CLS] ... [SEP]; stage 2 </s> ... newline */
    const int64_t *length;   /* (B) ids that count; the rest of a row is padding */
    const int64_t *prompt;   /* (B) first ids that are no targets (stage 2), or NULL */
    const int64_t *image_id; /* (B) pairs of the same image, or NULL: all differ */
    const int64_t *neg_image, *neg_text; /* (B) fixed negatives, or NULL: drawn */
    uint64_t number; /* of the batch since the beginning: what chance depends on */
    double weight;   /* of its gradient: 1 / batches that make one step */
};

/* Means over the batch (of all ranks); NAN for a loss that is not asked for. */
struct train_losses {
    double itc, itm, itg; /* stage 1 */
    double lm, align;     /* stage 2 */
    double sum;           /* what is descended */
    double itm_accuracy;  /* of the 3B matching decisions */
    int64_t targets;      /* tokens predicted */
};

/* Adds the batch's gradients to those of the parameters. A loss that is not finite is reported
 * and leaves the gradients useless: train_clear() or stop. */
int train_gradients(struct train_losses *out, struct train *t, const struct train_batch *b);

/* L2 norm of the gradients, which are summed over the ranks by this or by train_update(). */
int train_grad_norm(double *norm, struct train *t);

/* One AdamW step with what has gathered, clipped if asked for; then clears it. */
int train_update(struct train *t, double rate);
void train_clear(struct train *t);

/* ---- the rate ---- */

struct train_schedule {
    double peak, min, start; /* 1e-4, 1e-5, 1e-6 */
    int64_t warmup;          /* steps */
    int64_t epochs;          /* of the whole run */
    int64_t epoch_steps;     /* in one of them */
    bool by_step; /* the paper's: cosine over all steps after the warm-up. false: LAVIS's, which
                     knows epochs only and warms up in the first of them */
};
double train_rate(const struct train_schedule *s, int64_t step);

/* ---- the model as it is now ---- */

/* features (B, S, E) through post_layernorm: image_embeds, in nn->mem. */
int train_image_embeds(struct tensor *image_embeds, const struct train *t, struct nn *nn,
                       struct tensor features);

struct qformer;
struct retrieval;
struct opt_lm;
const struct qformer *train_qformer(const struct train *t);
const struct retrieval *train_retrieval(const struct train *t); /* NULL in stage 2 */
const struct opt_lm *train_opt(const struct train *t);          /* NULL in stage 1 */

#endif
