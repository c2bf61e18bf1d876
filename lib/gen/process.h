/* process.h - what is done to the scores of the next token before one is chosen, in
 * transformers' order: repetition penalty, n-grams, minimum length; then, to sample,
 * temperature, top-k, top-p, min-p, typical-p.
 *
 * Scores (V) f32 are logits, or log-probabilities in beam search. A token that must not come is
 * -INFINITY. No score is NaN or +INFINITY: gen_scores_copy() sees to it.
 * Source:  blip2.md 7.1; transformers logits_process.py. */
#ifndef GEN_PROCESS_H
#define GEN_PROCESS_H

#include "gen/gen.h"

/* Scratch of one run. */
struct gen_cand {
    float score;
    int32_t id;
};
struct gen_work {
    int64_t vocab;
    float *scores, *select; /* (V) each */
    struct gen_cand *cand;  /* (V) */
};
int gen_work_init(struct gen_work *w, int64_t vocab, struct arena *mem);

/* w->scores becomes logits. -1 (ERR_DATA) if one is NaN or +INFINITY, or all are -INFINITY. */
int gen_scores_copy(struct gen_work *w, const float *logits);

/* log of the sum of exp(score), in double. */
double gen_log_sum_exp(const float *scores, int64_t vocab);

void gen_log_softmax(float *scores, int64_t vocab);

/* ids: the n ids so far, history first; n_new of them are new. */
void gen_process(struct gen_work *w, const struct gen_params *p, const int64_t *ids, int64_t n,
                 int64_t n_new);

/* temperature and what follows; only under do_sample. */
void gen_warp(struct gen_work *w, const struct gen_params *p);

bool gen_is_eos(const struct gen_params *p, int64_t id);

#endif
