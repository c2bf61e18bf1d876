/* qformer.c - learned queries that read an image: see qformer.h. Letters of shapes: B images,
 * Q queries, n word pieces, T = Q + n rows, S rows of image_embeds of width E, D width, F of
 * the feed-forwards, H width of the language model. */
#include "model/qformer.h"

#include "base/err.h"
#include "model/arch.h"

#include <math.h>
#include <stddef.h>

struct attention {
    struct nn_linear q, k, v, out;
    struct nn_norm norm;
};

struct ffn {
    struct nn_linear up, down;
    struct nn_norm norm;
};

struct layer {
    struct attention self, cross; /* cross: in every frequency-th layer only */
    struct ffn query, text;       /* text: in checkpoints that read text only */
};

struct qformer {
    int64_t D, F, layers, heads, frequency, E, Q, H, vocab, positions;
    double eps;
    int act;
    bool text, projection;
    struct tensor query_tokens;         /* (1, Q, D) f32 */
    struct tensor words, word_position; /* (V, D) as stored, (P, D) f32 */
    struct nn_norm norm;
    struct layer *layer;
    struct nn_linear project;
    qformer_watch *watch;
    void *watch_ctx;
};

/* ---- config.json ---- */

static const struct store_config config[] = {
    STORE_CONFIG_INT(struct qformer, D, "hidden_size", 768, 1, 16384),
    STORE_CONFIG_INT(struct qformer, F, "intermediate_size", 3072, 1, 65536),
    STORE_CONFIG_INT(struct qformer, layers, "num_hidden_layers", 12, 1, 1024),
    STORE_CONFIG_INT(struct qformer, heads, "num_attention_heads", 12, 1, 1024),
    STORE_CONFIG_INT(struct qformer, frequency, "cross_attention_frequency", 2, 1, 1024),
    STORE_CONFIG_INT(struct qformer, vocab, "vocab_size", 30522, 1, 1 << 24),
    STORE_CONFIG_INT(struct qformer, positions, "max_position_embeddings", 512, 1, 1 << 20),
    STORE_CONFIG_FLOAT(struct qformer, eps, "layer_norm_eps", 1e-12, 0, 1),
    STORE_CONFIG_WORD(struct qformer, act, "hidden_act", MODEL_ACT_GELU, model_acts),
    STORE_CONFIG_BOOL(struct qformer, text, "use_qformer_text_input|qformer_text_input", false),
    STORE_CONFIG_END,
};

static const struct store_config top_config[] = {
    STORE_CONFIG_INT(struct qformer, Q, "num_query_tokens", 32, 1, 4096),
    STORE_CONFIG_END,
};

/* As transformers does at load: whatever qformer_config.encoder_hidden_size says. */
static const struct store_config vision_config[] = {
    STORE_CONFIG_INT(struct qformer, E, "hidden_size", 1408, 1, 16384),
    STORE_CONFIG_END,
};

static const struct store_config language_config[] = {
    STORE_CONFIG_INT(struct qformer, H, "hidden_size|d_model", 768, 1, 65536),
    STORE_CONFIG_END,
};

/* ---- names and shapes ---- */

static const struct store_bind bind_top[] = {
    STORE_BIND_F32(struct qformer, query_tokens, "query_tokens", "1,Q,D"),
    STORE_BIND_F32(struct qformer, norm.weight, "qformer.layernorm.weight", "D"),
    STORE_BIND_F32(struct qformer, norm.bias, "qformer.layernorm.bias", "D"),
    STORE_BIND_END,
};

static const struct store_bind bind_words[] = {
    STORE_BIND(struct qformer, words, "embeddings.word_embeddings.weight", "V,D"),
    STORE_BIND_F32(struct qformer, word_position, "embeddings.position_embeddings.weight",
                   "P,D"),
    STORE_BIND_END,
};

static const struct store_bind bind_projection[] = {
    STORE_BIND(struct qformer, project.weight, "language_projection.weight", "H,D"),
    STORE_BIND_F32(struct qformer, project.bias, "language_projection.bias", "H"),
    STORE_BIND_END,
};

/* S: the width of keys' and values' source, D or E. */
static const struct store_bind bind_attention[] = {
    STORE_BIND(struct attention, q.weight, "attention.query.weight", "D,D"),
    STORE_BIND_F32(struct attention, q.bias, "attention.query.bias", "D"),
    STORE_BIND(struct attention, k.weight, "attention.key.weight", "D,S"),
    STORE_BIND_F32(struct attention, k.bias, "attention.key.bias", "D"),
    STORE_BIND(struct attention, v.weight, "attention.value.weight", "D,S"),
    STORE_BIND_F32(struct attention, v.bias, "attention.value.bias", "D"),
    STORE_BIND(struct attention, out.weight, "output.dense.weight", "D,D"),
    STORE_BIND_F32(struct attention, out.bias, "output.dense.bias", "D"),
    STORE_BIND_F32(struct attention, norm.weight, "output.LayerNorm.weight", "D"),
    STORE_BIND_F32(struct attention, norm.bias, "output.LayerNorm.bias", "D"),
    STORE_BIND_END,
};

static const struct store_bind bind_query_ffn[] = {
    STORE_BIND(struct ffn, up.weight, "intermediate_query.dense.weight", "F,D"),
    STORE_BIND_F32(struct ffn, up.bias, "intermediate_query.dense.bias", "F"),
    STORE_BIND(struct ffn, down.weight, "output_query.dense.weight", "D,F"),
    STORE_BIND_F32(struct ffn, down.bias, "output_query.dense.bias", "D"),
    STORE_BIND_F32(struct ffn, norm.weight, "output_query.LayerNorm.weight", "D"),
    STORE_BIND_F32(struct ffn, norm.bias, "output_query.LayerNorm.bias", "D"),
    STORE_BIND_END,
};

static const struct store_bind bind_text_ffn[] = {
    STORE_BIND(struct ffn, up.weight, "intermediate.dense.weight", "F,D"),
    STORE_BIND_F32(struct ffn, up.bias, "intermediate.dense.bias", "F"),
    STORE_BIND(struct ffn, down.weight, "output.dense.weight", "D,F"),
    STORE_BIND_F32(struct ffn, down.bias, "output.dense.bias", "D"),
    STORE_BIND_F32(struct ffn, norm.weight, "output.LayerNorm.weight", "D"),
    STORE_BIND_F32(struct ffn, norm.bias, "output.LayerNorm.bias", "D"),
    STORE_BIND_END,
};

#define LAYER "qformer.encoder.layer.%d."

static bool crosses(const struct qformer *q, int layer)
{
    return layer % q->frequency == 0;
}

static int bind_layer(struct qformer *q, struct store *st, int i, struct store_dims dims,
                      struct arena *mem)
{
    struct layer *l = &q->layer[i];
    struct store_dims self = dims;
    self.of['S' - 'A'] = q->D;
    dims.of['S' - 'A'] = q->E;
    if (store_bind(&l->self, st, LAYER "attention.", i, bind_attention, &self, mem) < 0)
        return -1;
    if (crosses(q, i) &&
        store_bind(&l->cross, st, LAYER "crossattention.", i, bind_attention, &dims, mem) < 0)
        return -1;
    if (store_bind(&l->query, st, LAYER, i, bind_query_ffn, &dims, mem) < 0)
        return -1;
    return q->text ? store_bind(&l->text, st, LAYER, i, bind_text_ffn, &dims, mem) : 0;
}

static struct store_dims dims_of(const struct qformer *q)
{
    struct store_dims d = { 0 };
    d.of['D' - 'A'] = q->D;
    d.of['F' - 'A'] = q->F;
    d.of['H' - 'A'] = q->H;
    d.of['P' - 'A'] = q->positions;
    d.of['Q' - 'A'] = q->Q;
    d.of['V' - 'A'] = q->vocab;
    return d;
}

static int bind(struct qformer *q, struct store *st, struct arena *mem)
{
    struct store_dims dims = dims_of(q);
    q->layer = arena_calloc(mem, (size_t)q->layers, sizeof *q->layer);
    if (!q->layer || store_bind(q, st, "", 0, bind_top, &dims, mem) < 0)
        return -1;
    if (q->text && store_bind(q, st, "", 0, bind_words, &dims, mem) < 0)
        return -1;
    if (q->projection && store_bind(q, st, "", 0, bind_projection, &dims, mem) < 0)
        return -1;
    for (int i = 0; i < q->layers; i++)
        if (bind_layer(q, st, i, dims, mem) < 0)
            return -1;
    return 0;
}

struct qformer *qformer_open(struct store *st, struct arena *mem)
{
    int arch = model_arch(st);
    struct qformer *q = arch < 0 ? NULL : arena_calloc(mem, 1, sizeof *q);
    if (!q)
        return NULL;
    if (arch != MODEL_BLIP2 && arch != MODEL_RETRIEVAL)
        return model_lacks(st, "Q-Former"), NULL;
    if (store_config(q, st, "qformer_config", config) < 0 ||
        store_config(q, st, "", top_config) < 0 ||
        store_config(q, st, "vision_config", vision_config) < 0 ||
        store_config(q, st, "text_config", language_config) < 0 ||
        model_check_heads("qformer_config", q->D, q->heads) < 0)
        return NULL;
    q->projection = arch == MODEL_BLIP2;
    return bind(q, st, mem) < 0 ? NULL : q;
}

int qformer_queries(const struct qformer *q)
{
    return (int)q->Q;
}

int qformer_hidden_size(const struct qformer *q)
{
    return (int)q->D;
}

int qformer_encoder_size(const struct qformer *q)
{
    return (int)q->E;
}

bool qformer_has_projection(const struct qformer *q)
{
    return q->projection;
}

bool qformer_reads_text(const struct qformer *q)
{
    return q->text;
}

void qformer_set_watch(struct qformer *q, qformer_watch *watch, void *ctx)
{
    q->watch = watch;
    q->watch_ctx = ctx;
}

/* ---- the forward pass ---- */

static void watch(const struct qformer *q, int layer, struct tensor hidden)
{
    if (q->watch)
        q->watch(q->watch_ctx, layer, hidden);
}

/* Post-norm: LN(out(attention(x, source)) + x). */
static struct tensor attend(const struct qformer *m, struct nn *nn, struct tensor x,
                            struct tensor source, const struct attention *w)
{
    int64_t hd = m->D / m->heads;
    struct nn_heads heads = { .H = (int)m->heads,
                              .hd = hd,
                              .scale = (float)(1 / sqrt((double)hd)),
                              .cross = source.data != x.data };
    struct tensor q = nn_linear(nn, x, &w->q, NN_NONE);      // (B, T, D)
    struct tensor k = nn_linear(nn, source, &w->k, NN_NONE); // (B, S, D)
    struct tensor v = nn_linear(nn, source, &w->v, NN_NONE); // (B, S, D)
    struct tensor h = nn_attention_batch(nn, heads, x.dim[0], nn_view(q), nn_view(k),
                                         nn_view(v));
    h = nn_add(nn, nn_linear(nn, h, &w->out, NN_NONE), x); // (B, T, D)
    return nn_layernorm(nn, h, &w->norm, m->eps);
}

static struct tensor feed_forward(const struct qformer *m, struct nn *nn, struct tensor x,
                                  const struct ffn *w)
{
    struct tensor h = nn_linear(nn, x, &w->up, model_act(m->act)); // (B, T, F)
    h = nn_add(nn, nn_linear(nn, h, &w->down, NN_NONE), x);        // (B, T, D)
    return nn_layernorm(nn, h, &w->norm, m->eps);
}

/* Queries and text attend to each other; queries alone read the image. */
static struct tensor layer(const struct qformer *m, struct nn *nn, struct tensor x,
                           struct tensor image, int i)
{
    const struct layer *w = &m->layer[i];
    int64_t T = x.dim[1], Q = image.data ? m->Q : 0;
    x = attend(m, nn, x, x, &w->self); // (B, T, D)
    if (Q == 0)
        return feed_forward(m, nn, x, &w->text);
    struct tensor query = Q == T ? x : nn_rows(nn, x, 0, Q); // (B, Q, D)
    if (crosses(m, i))
        query = attend(m, nn, query, image, &w->cross);
    query = feed_forward(m, nn, query, &w->query);
    if (Q == T)
        return query;
    struct tensor text = nn_rows(nn, x, Q, T - Q); // (B, n, D)
    return nn_concat(nn, query, feed_forward(m, nn, text, &w->text));
}

static struct tensor layers(const struct qformer *m, struct nn *nn, struct tensor x,
                            struct tensor image)
{
    watch(m, 0, x);
    for (int i = 0; i < m->layers; i++) {
        struct arena_mark mark = arena_mark(nn->mem);
        nn_replace(nn, x, layer(m, nn, x, image, i), mark);
        watch(m, i + 1, x);
    }
    return x;
}

static struct tensor embed_words(const struct qformer *m, struct nn *nn, const int64_t *ids,
                                 int64_t n)
{
    struct tensor x = nn_embed(nn, m->words, ids, n); // (n, D)
    return nn_add(nn, x, tensor_2d(m->word_position.data, DT_F32, n, m->D));
}

static int check_words(const struct qformer *m, const int64_t *ids, int64_t n)
{
    if (!m->text)
        return err_set(ERR_CONFIG, "this checkpoint's Q-Former reads no text");
    if (n > m->positions)
        return err_set(ERR_DATA, "input_ids: %lld word pieces, expected at most %lld",
                       (long long)n, (long long)m->positions);
    for (int64_t i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= m->vocab)
            return err_set(ERR_DATA, "input_ids: id %lld at %lld, expected 0 to %lld",
                           (long long)ids[i], (long long)i, (long long)m->vocab - 1);
    return 0;
}

static int check_image(const struct qformer *m, struct tensor t)
{
    char shape[TENSOR_SHAPE_MAX];
    if (t.dtype == DT_F32 && t.ndim == 3 && t.dim[1] > 0 && t.dim[2] == m->E)
        return 0;
    return err_set(ERR_DATA, "image_embeds: %s %s, expected f32 (B, S, %lld)",
                   dtype_name(t.dtype), tensor_shape_str(shape, t), (long long)m->E);
}

int qformer_forward(struct tensor *query_output, const struct qformer *m, struct nn *nn,
                    struct tensor image_embeds, const int64_t *ids, int64_t n)
{
    if (check_image(m, image_embeds) < 0 || (n > 0 && check_words(m, ids, n) < 0))
        return -1;
    struct tensor x = m->query_tokens; // (1, Q, D): queries have no position
    if (n > 0)
        x = nn_concat(nn, x, embed_words(m, nn, ids, n)); // (1, T, D)
    x = nn_layernorm(nn, x, &m->norm, m->eps);
    x = layers(m, nn, nn_repeat(nn, x, image_embeds.dim[0]), image_embeds); // (B, T, D)
    *query_output = nn_rows(nn, x, 0, m->Q);                                // (B, Q, D)
    return nn_failed(nn);
}

int qformer_project(struct tensor *language_model_inputs, const struct qformer *m,
                    struct nn *nn, struct tensor query_output)
{
    if (!m->projection)
        return err_set(ERR_CONFIG, "this checkpoint has no projection to a language model");
    *language_model_inputs = nn_linear(nn, query_output, &m->project, NN_NONE); // (B, Q, H)
    return nn_failed(nn);
}

int qformer_text(struct tensor *text_output, const struct qformer *m, struct nn *nn,
                 const int64_t *ids, int64_t n)
{
    if (check_words(m, ids, n) < 0)
        return -1;
    struct tensor x = nn_layernorm(nn, embed_words(m, nn, ids, n), &m->norm, m->eps);
    x = layers(m, nn, nn_repeat(nn, x, 1), (struct tensor){ 0 }); // (1, n, D)
    *text_output = tensor_2d(x.data, DT_F32, n, m->D);
    return nn_failed(nn);
}
