/* opt.h - the frozen language model: OPT, as transformers' OPTForCausalLM and as the
 * language_model of Blip2ForConditionalGeneration. Pre-norm and post-norm (opt-350m) layouts,
 * embedding projections, tied or separate lm_head.
 *
 * Sequences of different lengths run together without padding: linear layers see all new rows
 * of all sequences at once, attention each sequence alone, so a sequence's bits do not depend
 * on its neighbours.
 *
 * Source:  Zhang et al. 2022 (OPT); transformers modeling_opt.py. Tensors: blip2-model(7). */
#ifndef MODEL_OPT_H
#define MODEL_OPT_H

#include "nn/nn.h"
#include "store/store.h"

struct opt_lm;

struct opt_lm *opt_open(struct store *st, struct arena *mem);

struct opt_info {
    int hidden_size, embed_size, vocab_size, layers, heads;
    int max_positions;     /* of a whole sequence, image rows included */
    int num_query_tokens;  /* 0 for a text-only checkpoint */
    int64_t bos, eos, pad; /* from text_config */
    int64_t image_token;   /* -1 if the checkpoint has none */
};
struct opt_info opt_info(const struct opt_lm *m);

/* The table of token embeddings (V, E) as stored. */
struct tensor opt_words(const struct opt_lm *m);

/* Token embeddings (n, E), before positions. -1 (ERR_DATA) if an id is outside the table. */
int opt_embed(struct tensor *x, const struct opt_lm *m, struct nn *nn, const int64_t *ids,
              int64_t n);

/* Bytes of weights that reading one position touches: all layers and the head. */
int64_t opt_step_bytes(const struct opt_lm *m);

/* ---- keys and values of what was read ---- */

/* Room for `sequences` sequences of at most `positions` each, allocated once. */
struct opt_cache;
struct opt_cache *opt_cache_new(const struct opt_lm *m, int sequences, int positions);
void opt_cache_free(struct opt_cache *c);

/* c with room for more positions, what was read kept; frees c. NULL for lack of memory: c is as
 * before. */
struct opt_cache *opt_cache_grow(struct opt_cache *c, int positions);
int opt_cache_length(const struct opt_cache *c, int seq);
void opt_cache_truncate(struct opt_cache *c, int seq, int length);

/* dst becomes a copy of src's first `length` positions. */
void opt_cache_copy(struct opt_cache *c, int dst, int src, int length);

/* Sequence first + i becomes what first + parent[i] was, for 0 <= i < n (beams). */
int opt_cache_reorder(struct opt_cache *c, int first, const int *parent, int n);

/* n new positions of one sequence; their rows follow each other in x. */
struct opt_span {
    int seq;
    int64_t n;
};

/* Reads x (sum of n, E) at the positions that follow what the cache holds, and adds them to it.
 * logits: (spans, V) f32 in nn->mem, of each span's last row; all_rows: (sum of n, V). -1 with
 * err set: ERR_DATA beyond max_positions. The same sequence may appear once in a call. */
int opt_forward(struct tensor *logits, const struct opt_lm *m, struct nn *nn,
                struct opt_cache *c, const struct opt_span *span, int spans, struct tensor x,
                bool all_rows);

/* Whole sequences of which nothing is kept, as a trainer reads them: x (sum of n, E), of each
 * span its n rows, gives the last hidden states (sum of n, E), from which opt_head() makes
 * logits (rows, V). seq of a span does not count. key: of each row, for nn_dropout(), or NULL.
 */
int opt_read(struct tensor *hidden, const struct opt_lm *m, struct nn *nn,
             const struct opt_span *span, int spans, struct tensor x, const uint64_t *key);
int opt_head(struct tensor *logits, const struct opt_lm *m, struct nn *nn, struct tensor x);

/* For --hidden-states, tests, progress: (rows, H) before layer 0, after each layer, after
 * the final norm. */
typedef void opt_watch(void *ctx, int layer, struct tensor hidden);
void opt_set_watch(struct opt_lm *m, opt_watch *watch, void *ctx);

#endif
