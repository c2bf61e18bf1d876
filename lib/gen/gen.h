/* gen.h - how the next token is chosen: greedy, beam search, sampling, and when to stop.
 *
 * Owns:      decoding policies over "give me the next logits"; the model is a callback.
 * Knows nothing of: prompts as text or images, caches, records.
 * Lifetime:  answers live in the arena given to gen_run().
 * Threads:   none; a run's result depends on its prompts and parameters alone, never on which
 *            other prompts run beside them.
 * Errors:    -1 with err set: ERR_USAGE parameters, ERR_DATA logits that are not numbers.
 * Source:    blip2.md 7; transformers 5 generation/{utils,logits_process}.py. */
#ifndef GEN_GEN_H
#define GEN_GEN_H

#include "base/arena.h"

#include <stdbool.h>
#include <stdint.h>

#define GEN_EOS   8   /* ids that end a sequence */
#define GEN_BEAMS 256 /* most beams, or sequences of one prompt */

enum gen_early_stopping { GEN_EARLY_FALSE, GEN_EARLY_TRUE, GEN_EARLY_NEVER };

/* Names and meanings of transformers' GenerationConfig; gen_params_init() gives its defaults.
 */
struct gen_params {
    int max_new_tokens;        /* 20 */
    int min_new_tokens;        /* 0; eos is impossible before */
    double repetition_penalty; /* 1: none; of every id in the history and so far */
    int no_repeat_ngram_size;  /* 0: none */
    int num_beams;             /* 1: greedy or sampling */
    double length_penalty;     /* 1: score / length^penalty; above 0 favours longer */
    int early_stopping;        /* enum gen_early_stopping */
    bool do_sample;            /* what follows counts only then */
    double temperature;        /* 1 */
    int top_k;                 /* 50; 0: all */
    double top_p;              /* 1: all */
    double min_p;              /* 0: all */
    double typical_p;          /* 1: all */
    int num_return_sequences;  /* 1 */
    uint64_t seed;             /* 0 */
    int64_t eos[GEN_EOS];      /* the first eos_count */
    int eos_count;             /* 0: only the length ends a sequence */
};
void gen_params_init(struct gen_params *p);

/* -1 (ERR_USAGE) for what transformers refuses (several greedy answers, more answers than
 * beams, values out of range), and for parameters that do nothing without do_sample or
 * num_beams. */
int gen_params_check(const struct gen_params *p);

/* Model sequences one prompt occupies: beams, or sampled answers. */
int gen_rows(const struct gen_params *p);

/* The token that one model sequence reads next. */
struct gen_token {
    int row; /* prompt i has rows i * gen_rows() and following */
    int64_t id;
};

/* A language model that has read n prompts, each in all of its rows. */
struct gen_model {
    void *ctx;
    int64_t vocab; /* V */

    /* Reads n tokens, each in its own row; *logits becomes (n, V), valid until the next call.
     */
    int (*step)(void *ctx, const float **logits, const struct gen_token *next, int n);

    /* Row first + i becomes what first + parent[i] was, for 0 <= i < n. Needed for beams. */
    int (*reorder)(void *ctx, int first, const int *parent, int n);
};

struct gen_prompt {
    const int64_t *history; /* ids that the penalties see from the start */
    int64_t n_history;
    const float *logits; /* (V) after the last position of the prompt */
    int room;            /* tokens that fit after it: max_new_tokens at most, at least 1 */
    uint64_t stream;     /* which of the seed's random streams: the record's number */
};

/* ids: new tokens only, up to and including eos. score: with beams, transformers'
 * sequences_scores: sum of log p / n^length_penalty; without, the sum of log p of the tokens
 * under the distribution they were chosen from. */
struct gen_answer {
    int64_t *ids;
    int n;
    double score;
    bool eos; /* it ended by itself, not by the length */
};

/* A way to go on that was taken: row `row` of the prompt is now what row `parent` was and then
 * id. With beams also an answer that is finished, whose row is -1. */
struct gen_choice {
    int row, parent;
    int64_t id;
    double own;   /* id's score among those told before: a logit, or with beams log p */
    double score; /* of the whole row, as gen_answer's; with beams not yet by its length */
    bool eos;
};

/* Told what happens; every function may be NULL. Rows are answers, or running beams, the best
 * first; a row's scores come before the choices made by them, with beams those of all rows. */
struct gen_watch {
    void *ctx;

    /* Greedy search and sampling: answer `sequence` of a prompt is ids[0..n) so far. */
    int (*token)(void *ctx, int prompt, int sequence, const int64_t *ids, int n);

    /* (V), processed, as transformers' output_scores; valid until the function returns. */
    int (*scores)(void *ctx, int prompt, int row, const float *scores, int64_t vocab);
    int (*choice)(void *ctx, int prompt, const struct gen_choice *c);
};

/* out: (n, num_return_sequences), best first with beams. watch: NULL for none. */
int gen_run(struct gen_answer *out, const struct gen_params *p, const struct gen_model *m,
            const struct gen_prompt *prompts, int n, const struct gen_watch *watch,
            struct arena *mem);

#endif
