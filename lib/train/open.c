/* open.c - which tensors are trained, and where their first values come from. */
#include "base/err.h"
#include "model/arch.h"
#include "train/state.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

struct train_options train_defaults(int stage)
{
    return (struct train_options){ .stage = stage,
                                   .losses = stage == 1 ? TRAIN_ALL : TRAIN_LM,
                                   .dropout = 0.1,
                                   .lm_dropout = 0.1,
                                   .label_smoothing = 0.1,
                                   .beta1 = 0.9,
                                   .beta2 = 0.999,
                                   .eps = 1e-8,
                                   .weight_decay = 0.05,
                                   .temp_decays = true,
                                   .seed = 42,
                                   .dec = -1,
                                   .comm = &train_alone };
}

struct train_param *train_find(const struct train *t, const char *name)
{
    for (size_t i = 0; i < t->params; i++)
        if (!strcmp(t->param[i].name, name))
            return &t->param[i];
    return NULL;
}

/* ---- parameters ---- */

static bool ends(const char *name, const char *with)
{
    size_t n = strlen(name), m = strlen(with);
    return n >= m && !strcmp(name + n - m, with);
}

static int make_room(struct train *t)
{
    if (t->params < t->room)
        return 0;
    size_t room = t->room ? 2 * t->room : 256;
    struct train_param *p = arena_calloc(&t->keep, room, sizeof *p);
    bool *fresh = arena_calloc(&t->keep, room, sizeof *fresh);
    if (!p || !fresh)
        return -1;
    if (t->params) {
        memcpy(p, t->param, t->params * sizeof *p);
        memcpy(fresh, t->fresh, t->params * sizeof *fresh);
    }
    t->param = p;
    t->fresh = fresh;
    t->room = room;
    return 0;
}

static int add_param(struct train *t, const char *name, struct tensor value, bool fresh)
{
    size_t n = (size_t)tensor_count(value);
    if (make_room(t) < 0)
        return -1;
    struct train_param p = { .name = arena_strndup(&t->keep, name, strlen(name)),
                             .value = value,
                             .grad = arena_calloc(&t->keep, n, sizeof(float)),
                             .exp_avg = arena_calloc(&t->keep, n, sizeof(float)),
                             .exp_avg_sq = arena_calloc(&t->keep, n, sizeof(float)) };
    if (!p.name || !p.grad || !p.exp_avg || !p.exp_avg_sq)
        return -1;
    p.decay = value.ndim != 1 && !ends(name, ".bias") &&
              (t->o.temp_decays || strcmp(name, "temp"));
    t->fresh[t->params] = fresh;
    t->param[t->params++] = p;
    return 0;
}

/* Hugging Face's files have none of these. */
static bool may_lack(const struct train *t, const char *name)
{
    return t->o.init || !strcmp(name, "temp") || !strncmp(name, "cls.", 4);
}

/* What from has of it: 1, 0 nothing. */
static int find_first(struct tensor *first, const struct train *t, const char *name,
                      struct tensor shape)
{
    char got[TENSOR_SHAPE_MAX], expect[TENSOR_SHAPE_MAX];
    int found = t->from ? store_find(first, t->from, name) : 0;
    if (found > 0 && !tensor_same_shape(*first, shape))
        return err_set(ERR_CONFIG, "%s: %s: shape %s, expected %s", store_dir(t->from), name,
                       tensor_shape_str(got, *first), tensor_shape_str(expect, shape));
    return found;
}

/* A writable copy of each tensor that a table names, known as a parameter from now on. */
static int own(void *ctx, const char *name, struct tensor shape, const struct tensor *stored,
               struct tensor *out)
{
    struct train *t = ctx;
    struct tensor first;
    int found = find_first(&first, t, name, shape);
    if (found == 0 && stored) {
        first = *stored;
        found = 1;
    }
    if (found < 0 || (found == 0 && !may_lack(t, name)))
        return found;
    *out = shape;
    out->dtype = DT_F32;
    out->data = arena_alloc(&t->keep, (size_t)tensor_count(shape) * sizeof(float));
    if (!out->data)
        return -1;
    if (found)
        tensor_to_f32(out->data, first);
    else
        train_init_value(t, name, *out);
    return add_param(t, name, *out, !found) < 0 ? -1 : 1;
}

/* ---- parts that only a trainer knows ---- */

static const struct store_config vision_config[] = {
    STORE_CONFIG_FLOAT(struct train, ln_eps, "layer_norm_eps", 1e-6, 0, 1),
    STORE_CONFIG_END,
};

static const struct store_config qformer_config[] = {
    STORE_CONFIG_FLOAT(struct train, init_std, "initializer_range", 0.02, 0, 10),
    STORE_CONFIG_INT(struct train, width, "hidden_size", 768, 1, 16384),
    STORE_CONFIG_END,
};

static const struct store_bind bind_vision[] = {
    STORE_BIND_F32(struct train, ln_vision.weight, "post_layernorm.weight", "E"),
    STORE_BIND_F32(struct train, ln_vision.bias, "post_layernorm.bias", "E"),
    STORE_BIND_END,
};

static const struct store_bind bind_words[] = {
    STORE_BIND_F32(struct train, temp, "temp", ""),
    STORE_BIND_F32(struct train, words.dense.weight, "cls.predictions.transform.dense.weight",
                   "D,D"),
    STORE_BIND_F32(struct train, words.dense.bias, "cls.predictions.transform.dense.bias", "D"),
    STORE_BIND_F32(struct train, words.norm.weight,
                   "cls.predictions.transform.LayerNorm.weight", "D"),
    STORE_BIND_F32(struct train, words.norm.bias, "cls.predictions.transform.LayerNorm.bias",
                   "D"),
    STORE_BIND_F32(struct train, words.out.bias, "cls.predictions.bias", "V"),
    STORE_BIND_END,
};

static int open_stage1(struct train *t, struct store *st, struct store_dims *dims)
{
    t->retrieval = retrieval_open(st, &t->keep);
    struct train_param *words = train_find(t, "embeddings.word_embeddings.weight");
    if (!t->retrieval)
        return -1;
    t->q = retrieval_qformer(t->retrieval);
    if (!words)
        return err_set(ERR_CONFIG,
                       "%s/config.json: qformer_config.use_qformer_text_input is not "
                       "true: stage 1 reads text",
                       store_dir(st));
    t->words.out.weight = words->value;
    dims->of['V' - 'A'] = words->value.dim[0];
    if (t->o.dec < 0)
        t->o.dec = words->value.dim[0] - 1;
    if (t->o.dec >= words->value.dim[0])
        return err_set(ERR_CONFIG, "[DEC] %lld, expected an id below %lld", (long long)t->o.dec,
                       (long long)words->value.dim[0]);
    dims->of['D' - 'A'] = qformer_hidden_size(t->q);
    return store_bind(t, st, "", 0, bind_words, dims, &t->keep);
}

static int open_stage2(struct train *t, struct store *st)
{
    t->q = qformer_open(st, &t->keep);
    if (!t->q)
        return -1;
    return qformer_has_projection(t->q) ? 0 : model_lacks(st, "projection to a language model");
}

static int open_parts(struct train *t, struct store *st)
{
    struct store_dims dims = { 0 };
    if (store_config(t, st, "vision_config", vision_config) < 0 ||
        store_config(t, st, "qformer_config", qformer_config) < 0)
        return -1;
    store_on_bind(st, own, t);
    int rc = t->o.stage == 1 ? open_stage1(t, st, &dims) : open_stage2(t, st);
    if (rc == 0) {
        dims.of['E' - 'A'] = qformer_encoder_size(t->q);
        rc = store_bind(t, st, "vision_model.", 0, bind_vision, &dims, &t->keep);
    }
    store_on_bind(st, NULL, NULL);
    if (rc == 0 && t->o.stage == 2)
        rc = (t->opt = opt_open(st, &t->keep)) ? 0 : -1;
    if (rc == 0 && t->opt && t->o.losses & TRAIN_ALIGN)
        rc = train_open_align(t);
    return rc;
}

/* Scales tell, whatever config.json says: nothing here goes backwards through whole numbers. */
static int find_scale(void *ctx, const char *name, struct tensor value)
{
    (void)value;
    if (!ends(name, "_scale"))
        return 0;
    return err_set(ERR_CONFIG, "%s: %s: a quantised model, expected one of floats to train",
                   store_dir(ctx), name);
}

static int refuse_quantised(struct store *st)
{
    return st ? store_each(st, find_scale, st) : 0;
}

struct train *train_open(struct store *st, struct store *from, const struct train_options *o,
                         struct pool *pool, const char *cpu)
{
    struct train *t = calloc(1, sizeof *t);
    if (!t)
        return err_nomem("trainer"), NULL;
    t->o = *o;
    t->from = from;
    if (nn_init(&t->nn, &t->mem, pool, cpu) < 0 || refuse_quantised(st) < 0 ||
        refuse_quantised(from) < 0 || open_parts(t, st) < 0) {
        train_close(t);
        return NULL;
    }
    train_init_copies(t);
    tape_init(&t->tape, &t->notes);
    for (size_t i = 0; i < t->params; i++)
        if (tape_param(&t->tape, t->param[i].value, t->param[i].grad, &t->param[i].touched,
                       &t->keep) < 0) {
            train_close(t);
            return NULL;
        }
    return t;
}

void train_close(struct train *t)
{
    if (!t)
        return;
    arena_release(&t->keep);
    arena_release(&t->mem);
    arena_release(&t->notes);
    arena_release(&t->batch);
    free(t);
}

struct train_param *train_params(struct train *t, size_t *count)
{
    *count = t->params;
    return t->param;
}

const struct qformer *train_qformer(const struct train *t)
{
    return t->q;
}

const struct retrieval *train_retrieval(const struct train *t)
{
    return t->retrieval;
}

const struct opt_lm *train_opt(const struct train *t)
{
    return t->opt;
}

int train_image_embeds(struct tensor *image_embeds, const struct train *t, struct nn *nn,
                       struct tensor features)
{
    *image_embeds = nn_layernorm(nn, features, &t->ln_vision, t->ln_eps);
    return nn_failed(nn);
}
