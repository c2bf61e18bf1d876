/* arch.h - which of the known architectures a checkpoint is, and words that several models'
 * configurations share. */
#ifndef MODEL_ARCH_H
#define MODEL_ARCH_H

#include "nn/nn.h"
#include "store/store.h"

enum model_arch {
    MODEL_BLIP2,     /* Blip2ForConditionalGeneration, Blip2Model */
    MODEL_RETRIEVAL, /* Blip2ForImageTextRetrieval */
    MODEL_OPT,       /* OPTForCausalLM */
    MODEL_CLIP,      /* CLIPModel: its vision part */
    MODEL_CLIP_VISION,
};

/* By config.json's architectures, else its model_type: -1 (ERR_CONFIG) if neither is known. */
int model_arch(const struct store *st);

/* -1 (ERR_CONFIG): "DIR: OPTForCausalLM has no vision model". */
int model_lacks(const struct store *st, const char *part);

/* Hugging Face's names of activations: an index of these, by model_act() the function. */
extern const char *const model_acts[];
enum { MODEL_ACT_RELU, MODEL_ACT_GELU, MODEL_ACT_QUICK_GELU };
enum nn_act model_act(int index);

/* -1 (ERR_CONFIG) unless heads divide the width. */
int model_check_heads(const char *section, int64_t width, int64_t heads);

#endif
