/* qformer.h - the Q-Former: learned queries that read an image, and its projection into the
 * language model's space.
 *
 * Source:  Li et al. 2023 (BLIP-2) section 3.1; transformers Blip2QFormerModel. Tensors and
 * shapes: blip2-model(7). */
#ifndef MODEL_QFORMER_H
#define MODEL_QFORMER_H

#include "nn/nn.h"
#include "store/store.h"

struct qformer;

struct qformer *qformer_open(struct store *st, struct arena *mem);

int qformer_queries(const struct qformer *q);         /* Q, 32 */
int qformer_hidden_size(const struct qformer *q);     /* D, 768 */
int qformer_layers(const struct qformer *q);          /* 12 */
double qformer_eps(const struct qformer *q);          /* of its layer normalisations */
int qformer_encoder_size(const struct qformer *q);    /* width of image_embeds, 1408 */
bool qformer_has_projection(const struct qformer *q); /* to a language model */
bool qformer_reads_text(const struct qformer *q); /* the text feed-forwards and embeddings */

/* image_embeds (B, S, E) f32 to query_output (B, Q, D). ids: n word pieces that every image is
 * read together with (checkpoints that read text), or NULL. */
int qformer_forward(struct tensor *query_output, const struct qformer *q, struct nn *nn,
                    struct tensor image_embeds, const int64_t *ids, int64_t n);

/* query_output (B, Q, D) to language_model_inputs (B, Q, E_text). */
int qformer_project(struct tensor *language_model_inputs, const struct qformer *q,
                    struct nn *nn, struct tensor query_output);

/* Text alone (no queries, no image): (n, D). */
int qformer_text(struct tensor *text_output, const struct qformer *q, struct nn *nn,
                 const int64_t *ids, int64_t n);

/* ---- several sequences at once, as training needs them ---- */

/* Keys and values (rows, D) of each layer. A reading of queries alone fills all four; one of
 * queries and text takes the images' from here; a causal one the queries' own. */
struct qformer_kept {
    struct tensor *self_k, *self_v, *cross_k, *cross_v;
};
int qformer_keep(struct qformer_kept *kept, const struct qformer *q, struct arena *mem);

/* B sequences. With images each begins with the queries; text follows, of another length in
 * each, and is attended to by its own sequence only. */
struct qformer_input {
    int64_t B;
    struct tensor image;       /* (I, S, E) f32; data NULL: text alone */
    const int64_t *image_of;   /* (B) the image of each sequence; NULL: its own, I = B */
    const int64_t *ids;        /* word pieces, text after text */
    const int64_t *words;      /* (B) how many of each; NULL: no text */
    bool causal;               /* text alone, that sees the kept queries and itself up to t */
    struct qformer_kept *kept; /* or NULL */
    const uint64_t *key;       /* of each row, queries first, for nn_dropout(); NULL: none */
};
struct qformer_output {
    struct tensor query; /* (B, Q, D) */
    struct tensor text;  /* (sum of words, D) */
};
int qformer_read(struct qformer_output *out, const struct qformer *q, struct nn *nn,
                 const struct qformer_input *in);

/* For --hidden-states and tests: the state before layer 0 and after each layer: (rows, D),
 * sequence after sequence, the queries of each first. */
typedef void qformer_watch(void *ctx, int layer, struct tensor hidden);
void qformer_set_watch(struct qformer *q, qformer_watch *watch, void *ctx);

#endif
