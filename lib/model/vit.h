/* vit.h - the frozen image encoder: BLIP-2's ViT (EVA-CLIP ViT-g without its last block) as
 * Hugging Face's Blip2VisionModel, and CLIP's as CLIPVisionModel, for other encoders in its
 * place.
 *
 * Lifetime:  weights are views of the store; small tables lie in the arena given to vit_open().
 * Source:    transformers modeling_blip_2.py Blip2VisionModel; modeling_clip.py. Tensors and
 *            shapes: blip2-model(7). */
#ifndef MODEL_VIT_H
#define MODEL_VIT_H

#include "nn/nn.h"
#include "store/store.h"

struct vit;

/* NULL with err set: ERR_CONFIG for an architecture or activation that is not known. */
struct vit *vit_open(struct store *st, struct arena *mem);

int vit_image_size(const struct vit *v); /* pixels, of the position embeddings */
int vit_patch_size(const struct vit *v);
int vit_hidden_size(const struct vit *v); /* D */

/* pixel_values (B, 3, H, W) f32 to image_embeds (B, 1 + (H/P)(W/P), D), in nn->mem. H and W
 * other than image_size need interpolate (position embeddings resized bicubically, as
 * transformers does with interpolate_pos_encoding=True); otherwise -1 (ERR_DATA). */
int vit_forward(struct tensor *image_embeds, const struct vit *v, struct nn *nn,
                struct tensor pixel_values, bool interpolate);

/* How many images of that size are worth a pass together: more rows of hidden values than a
 * cache holds take longer an image, not less. At least 1. */
int vit_together(const struct vit *v, int64_t height, int64_t width);

/* From now on image_embeds come before the post_layernorm: what a trainer needs that trains
 * this norm with the Q-Former (LAVIS's ln_vision). */
void vit_skip_post_layernorm(struct vit *v);

/* For tests and progress: called with the (B, T, D) hidden state before layer 0 and after each
 * layer. */
typedef void vit_watch(void *ctx, int layer, struct tensor hidden);
void vit_set_watch(struct vit *v, vit_watch *watch, void *ctx);

#endif
