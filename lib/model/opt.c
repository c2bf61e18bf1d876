/* opt.c - OPT, in the order of the paper: see opt.h. Letters of shapes: R new rows of all
 * sequences together, H width, E width of the embeddings, F of the feed-forward, V words. */
#include "model/opt.h"

#include "base/err.h"
#include "base/math.h"
#include "model/arch.h"
#include "model/opt-cache.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#define EPS       1e-5 /* of LayerNorm: torch's default, not in config.json */
#define FIRST_ROW 2    /* row of the position table for position 0 */

struct layer {
    struct nn_norm norm1, norm2;
    struct nn_linear q, k, v, out, fc1, fc2;
};

struct opt_lm {
    int64_t H, E, F, V, layers, heads, positions;
    int64_t queries, bos, eos, pad, image_token;
    bool pre_norm, no_final_norm, bias, affine, tied;
    int act;
    struct tensor words, position; /* (V, E) as stored, (positions + 2, H) */
    struct nn_linear project_in, project_out;
    struct nn_head head;
    struct nn_norm norm;
    struct layer *layer;
    opt_watch *watch;
    void *watch_ctx;
};

/* ---- config.json ---- */

static const struct store_config config[] = {
    STORE_CONFIG_INT(struct opt_lm, H, "hidden_size", 768, 1, 65536),
    STORE_CONFIG_INT(struct opt_lm, E, "word_embed_proj_dim", 0, 1, 65536),
    STORE_CONFIG_INT(struct opt_lm, F, "ffn_dim", 3072, 1, 1 << 20),
    STORE_CONFIG_INT(struct opt_lm, V, "vocab_size", 50272, 1, 1 << 24),
    STORE_CONFIG_INT(struct opt_lm, layers, "num_hidden_layers", 12, 1, 1024),
    STORE_CONFIG_INT(struct opt_lm, heads, "num_attention_heads", 12, 1, 1024),
    STORE_CONFIG_INT(struct opt_lm, positions, "max_position_embeddings", 2048, 1, 1 << 20),
    STORE_CONFIG_INT(struct opt_lm, bos, "bos_token_id", 2, 0, 1 << 24),
    STORE_CONFIG_INT(struct opt_lm, eos, "eos_token_id", 2, 0, 1 << 24),
    STORE_CONFIG_INT(struct opt_lm, pad, "pad_token_id", 1, 0, 1 << 24),
    STORE_CONFIG_BOOL(struct opt_lm, pre_norm, "do_layer_norm_before", true),
    STORE_CONFIG_BOOL(struct opt_lm, no_final_norm, "_remove_final_layer_norm", false),
    STORE_CONFIG_BOOL(struct opt_lm, bias, "enable_bias", true),
    STORE_CONFIG_BOOL(struct opt_lm, affine, "layer_norm_elementwise_affine", true),
    STORE_CONFIG_BOOL(struct opt_lm, tied, "tie_word_embeddings", true),
    STORE_CONFIG_WORD(struct opt_lm, act, "activation_function", MODEL_ACT_RELU, model_acts),
    STORE_CONFIG_END,
};

static const struct store_config blip2_config[] = {
    STORE_CONFIG_INT(struct opt_lm, queries, "num_query_tokens", 32, 1, 4096),
    STORE_CONFIG_INT(struct opt_lm, image_token, "image_token_index|image_token_id", -1, 0,
                     1 << 24),
    STORE_CONFIG_END,
};

static int check_config(struct opt_lm *m, const char *section)
{
    m->E = m->E ? m->E : m->H;
    if (!m->affine)
        return err_set(ERR_CONFIG, "config.json: layer_norm_elementwise_affine false is not "
                                   "supported");
    return model_check_heads(*section ? section : "OPT", m->H, m->heads);
}

/* A language model of another kind in a BLIP-2 (Flan-T5) is told by its name. */
static int read_config(struct opt_lm *m, struct store *st, int arch)
{
    const char *section = arch == MODEL_OPT ? "" : "text_config";
    const char *type = store_config_str(st, section, "model_type");
    m->image_token = -1;
    if (*type && strcmp(type, "opt"))
        return err_set(ERR_CONFIG, "config.json: %s.model_type '%s', expected 'opt'", section,
                       type);
    if (store_config(m, st, section, config) < 0 || check_config(m, section) < 0)
        return -1;
    return arch == MODEL_OPT ? 0 : store_config(m, st, "", blip2_config);
}

/* ---- names and shapes ---- */

static const struct store_bind bind_embeddings[] = {
    STORE_BIND(struct opt_lm, words, "embed_tokens.weight", "V,E"),
    STORE_BIND(struct opt_lm, position, "embed_positions.weight", "P,H"),
    STORE_BIND_END,
};

static const struct store_bind bind_projections[] = {
    STORE_BIND_LINEAR(struct opt_lm, project_in, "project_in.weight", "H,E"),
    STORE_BIND_LINEAR(struct opt_lm, project_out, "project_out.weight", "E,H"),
    STORE_BIND_END,
};

static const struct store_bind bind_norm[] = {
    STORE_BIND_F32(struct opt_lm, norm.weight, "final_layer_norm.weight", "H"),
    STORE_BIND_F32(struct opt_lm, norm.bias, "final_layer_norm.bias", "H"),
    STORE_BIND_END,
};

static const struct store_bind bind_tied_head[] = {
    STORE_BIND_HEAD(struct opt_lm, head, "embed_tokens.weight", "V,E"),
    STORE_BIND(struct opt_lm, head.rows, "embed_tokens.weight", "V,E"),
    STORE_BIND_END,
};

static const struct store_bind bind_head[] = {
    STORE_BIND_HEAD(struct opt_lm, head, "lm_head.weight", "V,E"),
    STORE_BIND(struct opt_lm, head.rows, "lm_head.weight", "V,E"),
    STORE_BIND_END,
};

static const struct store_bind bind_layer[] = {
    STORE_BIND_F32(struct layer, norm1.weight, "self_attn_layer_norm.weight", "H"),
    STORE_BIND_F32(struct layer, norm1.bias, "self_attn_layer_norm.bias", "H"),
    STORE_BIND_LINEAR(struct layer, q, "self_attn.q_proj.weight", "H,H"),
    STORE_BIND_LINEAR(struct layer, k, "self_attn.k_proj.weight", "H,H"),
    STORE_BIND_LINEAR(struct layer, v, "self_attn.v_proj.weight", "H,H"),
    STORE_BIND_LINEAR(struct layer, out, "self_attn.out_proj.weight", "H,H"),
    STORE_BIND_F32(struct layer, norm2.weight, "final_layer_norm.weight", "H"),
    STORE_BIND_F32(struct layer, norm2.bias, "final_layer_norm.bias", "H"),
    STORE_BIND_LINEAR(struct layer, fc1, "fc1.weight", "F,H"),
    STORE_BIND_END,
};

static const struct store_bind bind_fc2[] = {
    STORE_BIND_LINEAR(struct layer, fc2, "fc2.weight", "H,F"),
    STORE_BIND_END,
};

/* What a ReLU left is mostly 0, and what that alone is multiplied with need not be read. */
static const struct store_bind bind_fc2_of_relu[] = {
    STORE_BIND_BY_INPUT(struct layer, fc2, "fc2.weight", "H,F"),
    STORE_BIND_END,
};

static const struct store_bind bind_biases[] = {
    STORE_BIND_F32(struct layer, q.bias, "self_attn.q_proj.bias", "H"),
    STORE_BIND_F32(struct layer, k.bias, "self_attn.k_proj.bias", "H"),
    STORE_BIND_F32(struct layer, v.bias, "self_attn.v_proj.bias", "H"),
    STORE_BIND_F32(struct layer, out.bias, "self_attn.out_proj.bias", "H"),
    STORE_BIND_F32(struct layer, fc1.bias, "fc1.bias", "F"),
    STORE_BIND_F32(struct layer, fc2.bias, "fc2.bias", "H"),
    STORE_BIND_END,
};

/* Where the decoder's tensors and lm_head lie: three spellings are in use. */
struct names {
    const char *decoder, *layer, *head, *probe;
};
static const struct names spellings[] = {
    { "language_model.model.decoder.", "language_model.model.decoder.layers.%d.",
      "language_model.", "language_model.model.decoder.embed_tokens.weight" },
    { "model.decoder.", "model.decoder.layers.%d.", "", "model.decoder.embed_tokens.weight" },
    { "decoder.", "decoder.layers.%d.", "", "decoder.embed_tokens.weight" },
};

static int find_names(const struct names **out, struct store *st)
{
    struct tensor t;
    for (size_t i = 0; i < sizeof spellings / sizeof *spellings; i++) {
        *out = &spellings[i];
        int found = store_find(&t, st, spellings[i].probe);
        if (found)
            return found < 0 ? -1 : 0;
    }
    return model_lacks(st, "language model's tensors (model.decoder.embed_tokens.weight)");
}

static int bind_top(struct opt_lm *m, struct store *st, const struct names *n,
                    const struct store_dims *dims, struct arena *mem)
{
    if (store_bind(m, st, n->decoder, 0, bind_embeddings, dims, mem) < 0)
        return -1;
    if (m->E != m->H && store_bind(m, st, n->decoder, 0, bind_projections, dims, mem) < 0)
        return -1;
    if (m->pre_norm && !m->no_final_norm &&
        store_bind(m, st, n->decoder, 0, bind_norm, dims, mem) < 0)
        return -1;
    return m->tied ? store_bind(m, st, n->decoder, 0, bind_tied_head, dims, mem)
                   : store_bind(m, st, n->head, 0, bind_head, dims, mem);
}

static int bind(struct opt_lm *m, struct store *st, struct arena *mem)
{
    struct store_dims dims = { 0 };
    dims.of['H' - 'A'] = m->H;
    dims.of['E' - 'A'] = m->E;
    dims.of['F' - 'A'] = m->F;
    dims.of['V' - 'A'] = m->V;
    dims.of['P' - 'A'] = m->positions + FIRST_ROW;
    const struct names *n;
    m->layer = arena_calloc(mem, (size_t)m->layers, sizeof *m->layer);
    if (!m->layer || find_names(&n, st) < 0 || bind_top(m, st, n, &dims, mem) < 0)
        return -1;
    const struct store_bind *fc2 = model_act(m->act) == NN_RELU ? bind_fc2_of_relu : bind_fc2;
    for (int i = 0; i < m->layers; i++)
        if (store_bind(&m->layer[i], st, n->layer, i, bind_layer, &dims, mem) < 0 ||
            store_bind(&m->layer[i], st, n->layer, i, fc2, &dims, mem) < 0 ||
            (m->bias && store_bind(&m->layer[i], st, n->layer, i, bind_biases, &dims, mem) < 0))
            return -1;
    return 0;
}

struct opt_lm *opt_open(struct store *st, struct arena *mem)
{
    int arch = model_arch(st);
    struct opt_lm *m = arch < 0 ? NULL : arena_calloc(mem, 1, sizeof *m);
    if (!m)
        return NULL;
    if (arch != MODEL_BLIP2 && arch != MODEL_OPT)
        return model_lacks(st, "language model"), NULL;
    return read_config(m, st, arch) < 0 || bind(m, st, mem) < 0 ? NULL : m;
}

struct opt_info opt_info(const struct opt_lm *m)
{
    return (struct opt_info){
        .hidden_size = (int)m->H,
        .embed_size = (int)m->E,
        .vocab_size = (int)m->V,
        .layers = (int)m->layers,
        .heads = (int)m->heads,
        .max_positions = (int)m->positions,
        .num_query_tokens = (int)m->queries,
        .bos = m->bos,
        .eos = m->eos,
        .pad = m->pad,
        .image_token = m->image_token,
    };
}

static int64_t linear_bytes(const struct nn_linear *w)
{
    const struct tensor *all[] = { &w->weight, &w->bias, &w->scale };
    int64_t sum = 0;
    for (int i = 0; i < 3; i++)
        sum += all[i]->data ? (int64_t)tensor_bytes(*all[i]) : 0;
    return sum;
}

int64_t opt_step_bytes(const struct opt_lm *m)
{
    int64_t sum = linear_bytes(&m->head.linear) + linear_bytes(&m->project_in) +
                  linear_bytes(&m->project_out);
    for (int i = 0; i < m->layers; i++) {
        const struct layer *l = &m->layer[i];
        const struct nn_linear *all[] = { &l->q, &l->k, &l->v, &l->out, &l->fc1, &l->fc2 };
        for (size_t k = 0; k < sizeof all / sizeof *all; k++)
            sum += linear_bytes(all[k]);
    }
    return sum;
}

struct tensor opt_words(const struct opt_lm *m)
{
    return m->words;
}

void opt_set_watch(struct opt_lm *m, opt_watch *watch, void *ctx)
{
    m->watch = watch;
    m->watch_ctx = ctx;
}

struct opt_cache *opt_cache_new(const struct opt_lm *m, int sequences, int positions)
{
    return opt_cache_make(sequences, positions, (int)m->layers, m->H);
}

/* ---- the forward pass ---- */

int opt_embed(struct tensor *x, const struct opt_lm *m, struct nn *nn, const int64_t *ids,
              int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= m->V)
            return err_set(ERR_DATA, "input_ids: id %lld at %lld, expected 0 to %lld",
                           (long long)ids[i], (long long)i, (long long)m->V - 1);
    *x = nn_embed(nn, m->words, ids, n);
    return nn_failed(nn);
}

/* One call's work: which rows belong to which sequence. */
struct call {
    const struct opt_lm *m;
    struct nn *nn;
    struct opt_cache *cache;
    const struct opt_span *span;
    int spans;
    int64_t *position, *last; /* table row of each row; last row of each span */
    const uint64_t *key;      /* of each row, for nn_dropout(); NULL: none */
    struct nn_sequence *seq;
};

static void watch(const struct opt_lm *m, int64_t layer, struct tensor hidden)
{
    if (m->watch)
        m->watch(m->watch_ctx, (int)layer, hidden);
}

/* The new keys or values go behind those of their sequence. */
static void store_rows(const struct call *c, int layer, int kv, struct tensor x)
{
    const float *from = x.data;
    for (int i = 0; from && i < c->spans; i++) {
        const struct opt_span *s = &c->span[i];
        float *to = opt_cache_rows(c->cache, s->seq, layer, kv);
        to += c->cache->length[s->seq] * c->m->H;
        memcpy(to, from, (size_t)(s->n * c->m->H) * sizeof *to);
        from += s->n * c->m->H;
    }
}

/* A new span's queries at q; its keys and values are in the cache, or, if nothing is kept, as
 * many rows of k and v. */
static struct nn_sequence sequence(const struct call *c, const struct opt_span *s, int layer,
                                   const float *q, const float *k, const float *v)
{
    int64_t before = 0, H = c->m->H;
    if (c->cache) {
        k = opt_cache_rows(c->cache, s->seq, layer, 0);
        v = opt_cache_rows(c->cache, s->seq, layer, 1);
        before = c->cache->length[s->seq];
    }
    return (struct nn_sequence){ .q = q,
                                 .k = k,
                                 .v = v,
                                 .T = s->n,
                                 .S = before + s->n,
                                 .q_stride = H,
                                 .k_stride = H,
                                 .v_stride = H };
}

static struct tensor attention(const struct call *c, struct tensor x, int layer)
{
    const struct layer *w = &c->m->layer[layer];
    int64_t H = c->m->H, hd = H / c->m->heads;
    struct nn_heads heads = {
        .H = (int)c->m->heads, .hd = hd, .scale = (float)(1 / sqrt((double)hd)), .causal = true
    };
    struct tensor q = nn_linear(c->nn, x, &w->q, NN_NONE); // (R, H)
    struct tensor k = nn_linear(c->nn, x, &w->k, NN_NONE);
    if (c->cache)
        store_rows(c, layer, 0, k);
    struct tensor v = nn_linear(c->nn, x, &w->v, NN_NONE);
    if (c->cache)
        store_rows(c, layer, 1, v);
    int64_t row = 0;
    for (int i = 0; !c->nn->failed && i < c->spans; i++) {
        c->seq[i] = sequence(c, &c->span[i], layer, (float *)q.data + row,
                             (float *)k.data + row, (float *)v.data + row);
        row += c->span[i].n * H;
    }
    struct tensor a = nn_attention(c->nn, heads, c->seq, c->spans); // (R, H)
    return nn_linear(c->nn, a, &w->out, NN_NONE);
}

static struct tensor feed_forward(const struct call *c, struct tensor x, const struct layer *w)
{
    struct tensor h = nn_linear(c->nn, x, &w->fc1, model_act(c->m->act)); // (R, F)
    return nn_linear(c->nn, h, &w->fc2, NN_NONE);                         // (R, H)
}

/* Normalisation before each half (all sizes but 350m), or after it. */
static struct tensor layer(const struct call *c, struct tensor x, int i)
{
    const struct layer *w = &c->m->layer[i];
    struct nn *nn = c->nn;
    if (c->m->pre_norm) {
        struct tensor h = nn_layernorm(nn, x, &w->norm1, EPS); // (R, H)
        x = nn_add(nn, x, nn_dropout(nn, attention(c, h, i), c->key));
        h = nn_layernorm(nn, x, &w->norm2, EPS);
        return nn_add(nn, x, nn_dropout(nn, feed_forward(c, h, w), c->key));
    }
    x = nn_add(nn, x, nn_dropout(nn, attention(c, x, i), c->key)); // (R, H)
    x = nn_layernorm(nn, x, &w->norm1, EPS);
    x = nn_add(nn, x, nn_dropout(nn, feed_forward(c, x, w), c->key));
    return nn_layernorm(nn, x, &w->norm2, EPS);
}

/* x (R, E) to the last hidden state (R, E). */
static struct tensor hidden(const struct call *c, struct tensor x)
{
    const struct opt_lm *m = c->m;
    struct nn *nn = c->nn;
    int64_t R = x.dim[0];
    if (m->project_in.weight.data)
        x = nn_linear(nn, x, &m->project_in, NN_NONE);            // (R, H)
    x = nn_add(nn, x, nn_embed(nn, m->position, c->position, R)); // (R, H)
    watch(m, 0, x);
    for (int i = 0; i < m->layers; i++) {
        struct arena_mark mark = arena_mark(nn->mem);
        x = nn_replace(nn, x, layer(c, x, i), mark);
        watch(m, i + 1, x);
    }
    if (m->norm.weight.data)
        x = nn_layernorm(nn, x, &m->norm, EPS);
    if (m->project_out.weight.data)
        x = nn_linear(nn, x, &m->project_out, NN_NONE); // (R, E)
    watch(m, m->layers + 1, x);
    return x;
}

/* Positions that are cached before span i. */
static int64_t before(const struct call *c, int i)
{
    return c->cache ? c->cache->length[c->span[i].seq] : 0;
}

static int check_spans(const struct call *c, struct tensor x)
{
    int64_t rows = 0, room = c->m->positions;
    room = c->cache ? math_min(room, c->cache->positions) : room;
    char shape[TENSOR_SHAPE_MAX];
    for (int i = 0; i < c->spans; i++) {
        const struct opt_span *s = &c->span[i];
        BUG_ON(c->cache && (s->seq < 0 || s->seq >= c->cache->sequences));
        BUG_ON(s->n < 1);
        if (s->n > room - before(c, i))
            return err_set(ERR_DATA, "sequence of %lld positions, expected at most %lld",
                           (long long)(before(c, i) + s->n), (long long)room);
        rows += s->n;
    }
    if (x.dtype == DT_F32 && x.ndim == 2 && x.dim[0] == rows && x.dim[1] == c->m->E)
        return 0;
    return err_set(ERR_DATA, "embeddings: %s %s, expected f32 (%lld, %lld)",
                   dtype_name(x.dtype), tensor_shape_str(shape, x), (long long)rows,
                   (long long)c->m->E);
}

/* Rows of the position table, and each span's last row. */
static int lay_out(struct call *c, int64_t R)
{
    c->position = arena_calloc(c->nn->mem, (size_t)R, sizeof *c->position);
    c->last = arena_calloc(c->nn->mem, (size_t)c->spans, sizeof *c->last);
    c->seq = arena_calloc(c->nn->mem, (size_t)c->spans, sizeof *c->seq);
    if (!c->position || !c->last || !c->seq)
        return -1;
    int64_t row = 0;
    for (int i = 0; i < c->spans; i++) {
        for (int64_t t = 0; t < c->span[i].n; t++)
            c->position[row++] = before(c, i) + t + FIRST_ROW;
        c->last[i] = row - 1;
    }
    return 0;
}

int opt_forward(struct tensor *logits, const struct opt_lm *m, struct nn *nn,
                struct opt_cache *c, const struct opt_span *span, int spans, struct tensor x,
                bool all_rows)
{
    struct call call = { .m = m, .nn = nn, .cache = c, .span = span, .spans = spans };
    if (check_spans(&call, x) < 0 || lay_out(&call, x.dim[0]) < 0)
        return -1;
    x = hidden(&call, x); // (R, E)
    if (!all_rows && x.data)
        x = nn_embed(nn, x, call.last, spans); // (spans, E)
    *logits = nn_score(nn, x, &m->head);       // (spans or R, V)
    if (nn_failed(nn) < 0)
        return -1;
    for (int i = 0; i < spans; i++)
        c->length[span[i].seq] += (int)span[i].n;
    return 0;
}

int opt_read(struct tensor *out, const struct opt_lm *m, struct nn *nn,
             const struct opt_span *span, int spans, struct tensor x, const uint64_t *key)
{
    struct call call = { .m = m, .nn = nn, .span = span, .spans = spans, .key = key };
    if (check_spans(&call, x) < 0 || lay_out(&call, x.dim[0]) < 0)
        return -1;
    *out = hidden(&call, x);
    return nn_failed(nn);
}

int opt_head(struct tensor *logits, const struct opt_lm *m, struct nn *nn, struct tensor x)
{
    *logits = nn_score(nn, x, &m->head); // (n, V)
    return nn_failed(nn);
}
