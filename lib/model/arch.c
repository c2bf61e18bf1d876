/* arch.c - see arch.h. */
#include "model/arch.h"

#include "base/err.h"

#include <string.h>

static const struct {
    const char *name;
    enum model_arch arch;
} known[] = {
    { "Blip2ForConditionalGeneration", MODEL_BLIP2 },
    { "Blip2Model", MODEL_BLIP2 },
    { "blip-2", MODEL_BLIP2 },
    { "Blip2ForImageTextRetrieval", MODEL_RETRIEVAL },
    { "OPTForCausalLM", MODEL_OPT },
    { "opt", MODEL_OPT },
    { "CLIPModel", MODEL_CLIP },
    { "clip", MODEL_CLIP },
    { "CLIPVisionModel", MODEL_CLIP_VISION },
    { "clip_vision_model", MODEL_CLIP_VISION },
};

static const char *arch_name(const struct store *st)
{
    const char *name = store_config_str(st, "", "architectures");
    return *name ? name : store_config_str(st, "", "model_type");
}

int model_arch(const struct store *st)
{
    const char *name = arch_name(st);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(name, known[i].name))
            return (int)known[i].arch;
    return err_set(ERR_CONFIG,
                   "%s/config.json: unknown architecture '%s', expected "
                   "Blip2ForConditionalGeneration, Blip2ForImageTextRetrieval, "
                   "OPTForCausalLM or CLIPVisionModel",
                   store_dir(st), name);
}

int model_lacks(const struct store *st, const char *part)
{
    return err_set(ERR_CONFIG, "%s: %s has no %s", store_dir(st), arch_name(st), part);
}

const char *const model_acts[] = { "relu", "gelu", "quick_gelu", NULL };

enum nn_act model_act(int index)
{
    static const enum nn_act acts[] = { NN_RELU, NN_GELU, NN_QUICK_GELU };
    return acts[index];
}

int model_check_heads(const char *section, int64_t width, int64_t heads)
{
    if (width % heads == 0)
        return 0;
    return err_set(ERR_CONFIG,
                   "config.json: %s: hidden_size %lld is not a multiple of "
                   "num_attention_heads %lld",
                   section, (long long)width, (long long)heads);
}
