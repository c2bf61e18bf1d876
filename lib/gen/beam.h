/* beam.h - beam search over one prompt, exactly as transformers 5 does it, beam sampling too.
 *
 * Source:  blip2.md 7.3; transformers generation/utils.py GenerationMixin._beam_search. */
#ifndef GEN_BEAM_H
#define GEN_BEAM_H

#include "gen/process.h"
#include "gen/sample.h"

/* One hypothesis: history, then new tokens. */
struct gen_hyp {
    int64_t *ids;
    int64_t n;
    double score;
    bool finished, eos;
};

/* One way to go on: a running beam and its next token. */
struct gen_step {
    double key, score; /* key orders: the score, or with sampling score + Gumbel */
    int beam;
    int64_t id;
    bool stop, eos;
};

struct gen_beams {
    int beams, kept; /* kept: candidates a step, max(2, 1 + eos ids) * beams */
    int64_t n_history, n, limit;
    struct gen_hyp *running, *next; /* (beams), best first */
    struct gen_hyp *finished;       /* (beams), best first */
    struct gen_step *step;          /* (kept) */
    int *parent; /* (beams): the row each running beam came from in the last advance */
    bool improvable, done;
    struct gen_rng rng;
    const struct gen_watch *watch; /* or NULL */
    int prompt;                    /* what it calls this one */
};

int gen_beams_init(struct gen_beams *b, const struct gen_params *p,
                   const struct gen_prompt *prompt, struct arena *mem);

/* One step: logits[i] (V) are those of running beam i. Afterwards row i must become what row
 * parent[i] was, and then read the last of running[i]'s ids. */
int gen_beams_advance(struct gen_beams *b, struct gen_work *w, const struct gen_params *p,
                      const float *const *logits);

#endif
