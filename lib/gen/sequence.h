/* sequence.h - one answer of greedy search or sampling, token by token. */
#ifndef GEN_SEQUENCE_H
#define GEN_SEQUENCE_H

#include "gen/process.h"
#include "gen/sample.h"

struct gen_seq {
    int64_t *ids; /* history, then the answer */
    int64_t n_history, n;
    int64_t limit; /* n at most */
    double score;
    bool done, eos;
    struct gen_rng rng;
};
int gen_seq_init(struct gen_seq *s, const struct gen_params *p, const struct gen_prompt *prompt,
                 int sequence, struct arena *mem);

/* Chooses the token that follows, by logits (V). */
int gen_seq_advance(struct gen_seq *s, struct gen_work *w, const struct gen_params *p,
                    const float *logits);

/* History and room for `room` more ids, in mem; NULL for lack of memory. */
int64_t *gen_ids_new(const struct gen_prompt *prompt, int room, struct arena *mem);

/* New tokens at most: max_new_tokens, or what there is room for. */
int gen_limit(const struct gen_params *p, const struct gen_prompt *prompt);

#endif
