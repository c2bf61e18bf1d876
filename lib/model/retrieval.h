/* retrieval.h - the Q-Former with the heads that compare a picture with a sentence: contrastive
 * (two vectors and their product) and matching (one look at both).
 *
 * Source:  Li et al. 2023 (BLIP-2) section 3.2; transformers Blip2ForImageTextRetrieval, whose
 *          similarity has no temperature. Tensors and shapes: blip2-model(7).
 * Letters: B images, Q queries, n word pieces, P width of the projections (256).
 * Errors:  as model/qformer.h. */
#ifndef MODEL_RETRIEVAL_H
#define MODEL_RETRIEVAL_H

#include "model/qformer.h"

struct retrieval;

/* ERR_CONFIG: a checkpoint without these heads. */
struct retrieval *retrieval_open(struct store *st, struct arena *mem);

const struct qformer *retrieval_qformer(const struct retrieval *r);
int retrieval_size(const struct retrieval *r); /* P */

/* For a trainer, which goes its own ways to them. */
struct retrieval_heads {
    struct nn_linear vision, text; /* (P, D) */
    struct nn_linear itm;          /* (2, D) */
};
const struct retrieval_heads *retrieval_heads(const struct retrieval *r);

/* image_embeds (B, S, E) to image_embeds_proj (B, Q, P), rows of unit length. */
int retrieval_image(struct tensor *image_embeds_proj, const struct retrieval *r, struct nn *nn,
                    struct tensor image_embeds);

/* n word pieces, [CLS] first, to text_embeds_proj (P), of unit length. */
int retrieval_text(struct tensor *text_embeds_proj, const struct retrieval *r, struct nn *nn,
                   const int64_t *ids, int64_t n);

/* Contrastive similarity of one image (Q, P) and one text (P): the largest cosine of a query's
 * row with the text, within [-1, 1]. */
double retrieval_similarity(struct tensor image_embeds_proj, struct tensor text_embeds_proj);

/* Matching logits (B, 2): [no match, match], of each image with the text. */
int retrieval_match(struct tensor *itm_logits, const struct retrieval *r, struct nn *nn,
                    struct tensor image_embeds, const int64_t *ids, int64_t n);

#endif
