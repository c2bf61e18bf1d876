/* answer.h - a language model that answers questions about pictures: it reads visual rows and
 * token ids, remembers what it read last, and writes on.
 *
 * Owns:      the layout of a prompt, the cache of keys and values and which prefix is in it.
 * Knows nothing of: records, text, how a token is chosen (gen/gen.h) or computed (model/opt.h).
 * Lifetime:  prompts and answers until the next answer_begin().
 * Threads:   one caller; the model's operations run on nn's pool. Answers have the same bits
 *            for any batch, whatever was read before.
 * Errors:    -1 or NULL with err set: ERR_DATA for a question that cannot be asked. */
#ifndef ANSWER_ANSWER_H
#define ANSWER_ANSWER_H

#include "gen/gen.h"
#include "model/opt.h"

struct answer;

/* batch: most prompts of one answer_run(). p's eos: the model's own if eos_count is 0. m and nn
 * stay the caller's; nn->mem is reset with every step. */
struct answer *answer_open(const struct opt_lm *m, struct nn *nn, const struct gen_params *p,
                           int batch);
void answer_close(struct answer *a);

/* What is asked. Only positions whose mask is not 0 count: padding anywhere is dropped. */
struct answer_question {
    const int64_t *ids;   /* (T), or NULL: none; the model's bos is then the prompt */
    const int64_t *mask;  /* (T), or NULL: all */
    int64_t n;            /* T */
    struct tensor visual; /* language_model_inputs (Q, E), or data NULL: text alone */
    uint64_t number;      /* random stream of its samples */
};

/* A question laid out: one entry a position, in the order the model reads them. */
struct answer_prompt {
    int64_t *at; /* (n): a token's id, or ANSWER_VISUAL: the next of the visual rows */
    int64_t n;
    const float *visual; /* (rows, E) */
    int64_t rows;
    const int64_t *history; /* what the penalties see: all ids, or (rows in front) none */
    int64_t n_history;
    uint64_t number;
    int64_t reused; /* positions that answer_run() did not have to compute */
};
#define ANSWER_VISUAL (-1)

/* Forgets the prompts and answers of the batch before. */
void answer_begin(struct answer *a);

/* Visual rows take the places of the checkpoint's image token, which there must be exactly as
 * many of as rows; where a checkpoint has no image token they go in front (transformers up to
 * 4.46). Without ids: the visual rows, then bos. ERR_DATA: shapes, NaN, ids outside the
 * vocabulary, a prompt that leaves no room in the context. */
int answer_layout(struct answer_prompt *p, struct answer *a, const struct answer_question *q);

/* Answers n prompts together: *out becomes (n, num_return_sequences). An answer ends where the
 * context does, if max_new_tokens would go beyond. watch: NULL for none. */
int answer_run(struct gen_answer **out, struct answer *a, struct answer_prompt *p, int n,
               const struct gen_watch *watch);

/* Where an answer of answer_run() looks: out (answer->n, p->rows) f32 in mem, for each token
 * the attention to each visual row, from the position that the token was chosen at, mean over
 * layers and heads. p is the i-th prompt; its answer is read once more, so this is not for
 * free. Before the next answer_begin(). */
int answer_look(struct tensor *out, struct answer *a, const struct answer_prompt *p, int i,
                const struct gen_answer *answer, struct arena *mem);

/* Reads p, the i-th prompt of answer_run(), once more from its beginning, for a watch of the
 * model (opt_set_watch()). Before the next answer_begin(). */
int answer_read(struct answer *a, const struct answer_prompt *p, int i);

/* Bytes of weights that one step reads, whatever the number of rows in it. */
int64_t answer_step_bytes(const struct answer *a);

#endif
