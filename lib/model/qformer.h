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

/* For tests: the (B, T, D) hidden state before layer 0 and after each layer. */
typedef void qformer_watch(void *ctx, int layer, struct tensor hidden);
void qformer_set_watch(struct qformer *q, qformer_watch *watch, void *ctx);

#endif
