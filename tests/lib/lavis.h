/* lavis.h - what LAVIS makes of a tiny Q-Former: shared/fixtures/train, whose README says what
 * is in the files. Checkpoints are made of them in a directory of their own. */
#ifndef LIB_LAVIS_H
#define LIB_LAVIS_H

#include "base/arena.h"
#include "lib/tap.h"
#include "store/lavis.h"
#include "store/safetensors.h"
#include "store/store.h"
#include "train/train.h"

#include <unistd.h>

static struct arena mem; /* of what a test reads */

__attribute__((unused)) static struct safetensors open_file(const char *name)
{
    struct safetensors f = { 0 };
    char path[256];
    snprintf(path, sizeof path, "train/%s.safetensors", name);
    const char *found = tap_fixture(path);
    if (!found || safetensors_open(&f, arena_strndup(&mem, found, strlen(found)), &mem) < 0)
        ok(0, "%s opens (%s)", path, err_msg());
    return f;
}

__attribute__((unused)) static struct tensor get(const struct safetensors *f, const char *name)
{
    for (size_t i = 0; i < f->count; i++) {
        struct tensor t = f->entries[i].tensor;
        if (strcmp(f->entries[i].name, name))
            continue;
        t.data = arena_memdup(&mem, t.data, tensor_bytes(t));
        return t;
    }
    return (struct tensor){ 0 };
}

/* By Hugging Face's name, in a file that has LAVIS's after a prefix. */
__attribute__((unused)) static struct tensor get_hf(const struct safetensors *f,
                                                    const char *prefix, const char *name)
{
    char other[256], full[320];
    snprintf(full, sizeof full, "%s%s", prefix,
             lavis_name(other, sizeof other, name) ? other : name);
    return get(f, full);
}

/* ---- checkpoints ---- */

#define QFORMER                                                                                \
    "\"num_query_tokens\":8,\"image_text_hidden_size\":32,\"vision_config\":{\"hidden_size\":" \
    "40,\"layer_norm_eps\":1e-5},\"qformer_config\":{\"hidden_size\":48,"                      \
    "\"num_hidden_layers\":4,\"num_attention_heads\":4,\"intermediate_size\":96,"              \
    "\"cross_attention_frequency\":2,\"vocab_size\":1001,\"max_position_embeddings\":64,"      \
    "\"initializer_range\":0.12,\"use_qformer_text_input\":%s}"
#define STAGE1 "{\"architectures\":[\"Blip2ForImageTextRetrieval\"]," QFORMER "}"

/* The fixture `weights` as PATH/name. */
static bool link_weights(const char *path, const char *name, const char *weights)
{
    char from[256], to[600], real[4096];
    snprintf(from, sizeof from, "train/%s.safetensors", weights);
    snprintf(to, sizeof to, "%s/%s", path, name);
    unlink(to);
    const char *found = tap_fixture(from);
    return found && realpath(found, real) && symlink(real, to) == 0;
}

/* DIR/name with a config.json and, unless it is NULL, that fixture for weights; NULL if it
 * cannot be made. */
static const char *make_model(const char *dir, const char *name, const char *config,
                              const char *weights)
{
    char *path = arena_alloc(&mem, 512), to[600];
    snprintf(path, 512, "%s/%s", dir, name);
    snprintf(to, sizeof to, "mkdir -p %s", path);
    if (system(to) != 0)
        return NULL;
    snprintf(to, sizeof to, "%s/config.json", path);
    FILE *f = fopen(to, "w");
    if (!f || fputs(config, f) < 0 || fclose(f))
        return NULL;
    return weights && !link_weights(path, "model.safetensors", weights) ? NULL : path;
}

/* Of the weights of stage 1 in a fixture. */
__attribute__((unused)) static const char *make_stage1(const char *dir, const char *weights)
{
    char config[1024];
    snprintf(config, sizeof config, STAGE1, "true");
    char *name = arena_strndup(&mem, weights, strlen(weights));
    for (char *p = name; *p; p++)
        *p = *p == '/' ? '-' : *p;
    return make_model(dir, name, config, weights);
}

static void put_map(FILE *to, const char *weights, const char *shard, const char *end)
{
    struct safetensors f = open_file(weights);
    for (size_t i = 0; i < f.count; i++)
        fprintf(to, "\"%s\":\"%s\"%s", f.entries[i].name, shard, i + 1 < f.count ? "," : end);
    safetensors_close(&f);
}

/* Two shards: what is trained, and the frozen language model. */
__attribute__((unused)) static const char *make_stage2(const char *dir)
{
    char config[2048], to[600];
    snprintf(config, sizeof config,
             "{\"architectures\":[\"Blip2ForConditionalGeneration\"],\"text_config\":{"
             "\"model_type\":\"opt\",\"hidden_size\":64,\"word_embed_proj_dim\":64,\"ffn_dim\":"
             "160,\"num_hidden_layers\":2,\"num_attention_heads\":4,\"vocab_size\":600,"
             "\"max_position_embeddings\":96}," QFORMER "}",
             "false");
    const char *path = make_model(dir, "stage2", config, NULL);
    if (!path || !link_weights(path, "a.safetensors", "stage2/tiny-qformer-stage2-init") ||
        !link_weights(path, "b.safetensors", "stage2/tiny-opt"))
        return NULL;
    snprintf(to, sizeof to, "%s/model.safetensors.index.json", path);
    FILE *f = fopen(to, "w");
    if (!f)
        return NULL;
    fputs("{\"weight_map\":{", f);
    put_map(f, "stage2/tiny-qformer-stage2-init", "a.safetensors", ",");
    put_map(f, "stage2/tiny-opt", "b.safetensors", "}}");
    return fclose(f) ? NULL : path;
}

/* ---- batches ---- */

__attribute__((unused)) static int64_t *lengths(struct tensor mask)
{
    int64_t *n = arena_calloc(&mem, (size_t)mask.dim[0], sizeof *n);
    for (int64_t i = 0; i < tensor_count(mask); i++)
        n[i / mask.dim[1]] += ((int64_t *)mask.data)[i];
    return n;
}

/* Pairs [first, first + B) of the six; negatives are indices among all. */
__attribute__((unused)) static struct train_batch stage1_batch(int64_t first, int64_t B)
{
    struct safetensors f = open_file("stage1/batch");
    struct tensor ids = get(&f, "input_ids"), x = get(&f, "image_feats");
    int64_t T = ids.dim[1], S = x.dim[1], E = x.dim[2];
    return (struct train_batch){ .B = B,
                                 .T = T,
                                 .features = tensor_3d((float *)x.data + first * S * E, DT_F32,
                                                       B, S, E),
                                 .ids = (int64_t *)ids.data + first * T,
                                 .length = lengths(get(&f, "attention_mask")) + first,
                                 .neg_image = (int64_t *)get(&f, "neg_image_idx").data + first,
                                 .neg_text = (int64_t *)get(&f, "neg_text_idx").data + first,
                                 .weight = 1 };
}

/* kind: "caption" or "prompt"; the first `prompt` ids are no targets. */
__attribute__((unused)) static struct train_batch stage2_batch(const char *kind, int64_t prompt)
{
    char name[64];
    struct safetensors feats = open_file("stage2/image-feats");
    snprintf(name, sizeof name, "stage2/%s", kind);
    struct safetensors f = open_file(name);
    struct tensor ids = get(&f, "input_ids");
    int64_t *prompts = arena_calloc(&mem, (size_t)ids.dim[0], sizeof *prompts);
    for (int64_t i = 0; i < ids.dim[0]; i++)
        prompts[i] = prompt;
    return (struct train_batch){ .B = ids.dim[0],
                                 .T = ids.dim[1],
                                 .features = get(&feats, "image_feats"),
                                 .ids = ids.data,
                                 .length = lengths(get(&f, "text_attention_mask")),
                                 .prompt = prompts,
                                 .weight = 1 };
}

/* As the fixtures are: nothing dropped. */
__attribute__((unused)) static struct train_options options(int stage, int losses)
{
    struct train_options o = train_defaults(stage);
    o.dropout = o.lm_dropout = 0;
    o.losses = losses;
    o.dec = 1000;
    return o;
}

/* ---- comparisons ---- */

/* Largest difference by largest value, and of the lengths; key biases have no gradient but
 * rounding. */
struct worst {
    double max, l2;
    char name[256];
    int compared;
};

static void compare(struct worst *w, const char *name, const float *got, struct tensor want,
                    const float *from)
{
    double top = 0, worst = 0, dd = 0, ww = 0;
    for (int64_t i = 0; i < tensor_count(want); i++) {
        double start = from ? (double)from[i] : 0;
        double to = tensor_at(want, i) - start, d = (double)got[i] - start - to;
        worst = fmax(worst, isfinite(d) ? fabs(d) : INFINITY);
        top = fmax(top, fabs(to));
        dd += d * d;
        ww += to * to;
    }
    w->compared++;
    double rel = top > 0 ? worst / top : worst;
    w->l2 = fmax(w->l2, ww > 0 ? sqrt(dd / ww) : sqrt(dd));
    if (rel > w->max) {
        w->max = rel;
        snprintf(w->name, sizeof w->name, "%s", name);
    }
}

static bool is_key_bias(const char *name)
{
    const char *end = "attention.key.bias";
    size_t n = strlen(name), m = strlen(end);
    return n > m && !strcmp(name + n - m, end);
}

__attribute__((unused)) static void compare_grads(struct train *t, const char *file,
                                                  double tolerance)
{
    struct safetensors f = open_file(file);
    struct worst w = { 0 };
    size_t n;
    int presence = 0;
    struct train_param *p = train_params(t, &n);
    for (size_t i = 0; i < n; i++) {
        struct tensor want = get_hf(&f, "", p[i].name);
        if (p[i].touched != (want.data != NULL)) {
            presence++;
            printf("# %s: gradient %d, expected %d\n", p[i].name, p[i].touched,
                   want.data != NULL);
        }
        if (want.data && !is_key_bias(p[i].name))
            compare(&w, p[i].name, p[i].grad, want, NULL);
    }
    ok(presence == 0, "%s: the tensors that take part have a gradient", file);
    ok(w.compared > 10 && w.max <= tolerance, "%s: %d gradients, worst %.1e <= %.0e (%s)", file,
       w.compared, w.max, tolerance, w.name);
    safetensors_close(&f);
}

#endif
