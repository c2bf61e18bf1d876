/* session.h - inside lib/answer: the state behind answer.h, and the reuse of prefixes.
 *
 * Cache sequences: row k of prompt i is i * rows + k; the last one, `keep`, holds the prefix
 * that stays from one batch to the next. Keys and values do not depend on how many positions
 * are computed together, so a copied prefix has the bits that reading it again would give. */
#ifndef ANSWER_SESSION_H
#define ANSWER_SESSION_H

#include "answer/answer.h"

/* What the cache's `keep` sequence has read; owns its arrays. */
struct answer_kept {
    struct answer_prompt p; /* at, n, visual, rows */
    int64_t *at;
    float *visual;
    size_t at_size, visual_size; /* bytes */
};

struct answer {
    const struct opt_lm *m;
    struct nn *nn;
    struct opt_info info;
    struct gen_params params;
    int batch, rows; /* rows: cache sequences of one prompt */
    struct opt_cache *cache;
    int positions; /* of the cache */
    int keep;
    struct answer_kept kept;
    struct arena mem; /* prompts and answers of the present batch */
};

/* Leading positions that a and b have in common: the same ids, the same visual rows. */
int64_t answer_common(const struct answer_prompt *a, const struct answer_prompt *b, int64_t E);

/* Where a prompt's prefix comes from. */
struct answer_source {
    int from;       /* cache sequence */
    int64_t length; /* positions, at most n - 1: the last one gives the logits; 0: nothing */
    int wave;       /* 0: known before this batch; 1: read by another prompt of this batch */
};
void answer_plan(struct answer_source *plan, const struct answer *a,
                 const struct answer_prompt *p, int n);

/* Remembers that `keep` now holds p's positions followed by n_more ids. */
int answer_keep(struct answer_kept *k, const struct answer_prompt *p, const int64_t *more,
                int n_more, int64_t E);
void answer_kept_release(struct answer_kept *k);

#endif
