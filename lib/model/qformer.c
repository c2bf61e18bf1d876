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
    STORE_BIND_LINEAR(struct qformer, project, "language_projection.weight", "H,D"),
    STORE_BIND_F32(struct qformer, project.bias, "language_projection.bias", "H"),
    STORE_BIND_END,
};

/* S: the width of keys' and values' source, D or E. */
static const struct store_bind bind_attention[] = {
    STORE_BIND_LINEAR(struct attention, q, "attention.query.weight", "D,D"),
    STORE_BIND_F32(struct attention, q.bias, "attention.query.bias", "D"),
    STORE_BIND_LINEAR(struct attention, k, "attention.key.weight", "D,S"),
    STORE_BIND_F32(struct attention, k.bias, "attention.key.bias", "D"),
    STORE_BIND_LINEAR(struct attention, v, "attention.value.weight", "D,S"),
    STORE_BIND_F32(struct attention, v.bias, "attention.value.bias", "D"),
    STORE_BIND_LINEAR(struct attention, out, "output.dense.weight", "D,D"),
    STORE_BIND_F32(struct attention, out.bias, "output.dense.bias", "D"),
    STORE_BIND_F32(struct attention, norm.weight, "output.LayerNorm.weight", "D"),
    STORE_BIND_F32(struct attention, norm.bias, "output.LayerNorm.bias", "D"),
    STORE_BIND_END,
};

static const struct store_bind bind_query_ffn[] = {
    STORE_BIND_LINEAR(struct ffn, up, "intermediate_query.dense.weight", "F,D"),
    STORE_BIND_F32(struct ffn, up.bias, "intermediate_query.dense.bias", "F"),
    STORE_BIND_LINEAR(struct ffn, down, "output_query.dense.weight", "D,F"),
    STORE_BIND_F32(struct ffn, down.bias, "output_query.dense.bias", "D"),
    STORE_BIND_F32(struct ffn, norm.weight, "output_query.LayerNorm.weight", "D"),
    STORE_BIND_F32(struct ffn, norm.bias, "output_query.LayerNorm.bias", "D"),
    STORE_BIND_END,
};

static const struct store_bind bind_text_ffn[] = {
    STORE_BIND_LINEAR(struct ffn, up, "intermediate.dense.weight", "F,D"),
    STORE_BIND_F32(struct ffn, up.bias, "intermediate.dense.bias", "F"),
    STORE_BIND_LINEAR(struct ffn, down, "output.dense.weight", "D,F"),
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

int qformer_layers(const struct qformer *q)
{
    return (int)q->layers;
}

double qformer_eps(const struct qformer *q)
{
    return q->eps;
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

/* One reading. Its rows x (R, D) are sequence after sequence, the queries of each first. */
struct call {
    const struct qformer *m;
    struct nn *nn;
    const struct qformer_input *in;
    int64_t B, Q, R, S;  /* Q 0: text alone; R words in all; S rows of an image */
    int64_t *row;        /* (B + 1) first row of each sequence's keys */
    int64_t *order;      /* of each such row, its place among all queries, then all words */
    int64_t *place;      /* the other way round */
    bool mixed;          /* queries and words */
    const uint64_t *key; /* of the rows */
    struct nn_sequence *seq;
};

static int64_t words_of(const struct call *c, int64_t b)
{
    return c->in->words ? c->in->words[b] : 0;
}

/* LN(dropout(out(h)) + x): the end of each half of a layer. */
static struct tensor conclude(const struct call *c, struct tensor h, struct tensor x,
                              const struct nn_linear *out, const struct nn_norm *norm,
                              const uint64_t *key)
{
    h = nn_dropout(c->nn, nn_linear(c->nn, h, out, NN_NONE), key); // (R, D)
    return nn_layernorm(c->nn, nn_add(c->nn, h, x), norm, c->m->eps);
}

static struct tensor attend(const struct call *c, bool cross)
{
    int64_t hd = c->m->D / c->m->heads;
    struct nn_heads heads = { .H = (int)c->m->heads,
                              .hd = hd,
                              .scale = (float)(1 / sqrt((double)hd)),
                              .causal = c->in->causal,
                              .cross = cross };
    return nn_attention(c->nn, heads, c->seq, c->B);
}

/* The key of a row, counted as in->key does. */
static const uint64_t *key_of(const struct call *c, int64_t row)
{
    return c->in->key ? c->in->key + row : NULL;
}

/* Keys or values of all that a text sees: those of the queries as they were when these read the
 * image, and its own. */
static struct tensor behind(const struct call *c, struct tensor x, struct tensor kept)
{
    return c->in->causal ? nn_pick(c->nn, kept, x, c->order, c->row[c->B]) : x;
}

/* x (R, D): queries and text attend to each other. */
static struct tensor self_attention(const struct call *c, struct tensor x, int i)
{
    const struct attention *w = &c->m->layer[i].self;
    struct qformer_kept *kept = c->in->kept;
    struct tensor q = nn_linear(c->nn, x, &w->q, NN_NONE); // (R, D)
    struct tensor k = nn_linear(c->nn, x, &w->k, NN_NONE);
    struct tensor v = nn_linear(c->nn, x, &w->v, NN_NONE);
    if (kept && c->Q && !c->R) {
        kept->self_k[i] = k;
        kept->self_v[i] = v;
    }
    k = behind(c, k, kept ? kept->self_k[i] : x);
    v = behind(c, v, kept ? kept->self_v[i] : x);
    int64_t D = c->m->D, before = c->in->causal ? c->m->Q : 0, row = 0;
    for (int64_t b = 0; !c->nn->failed && b < c->B; b++) {
        int64_t S = c->row[b + 1] - c->row[b];
        c->seq[b] = (struct nn_sequence){ .q = (float *)q.data + row * D,
                                          .k = (float *)k.data + c->row[b] * D,
                                          .v = (float *)v.data + c->row[b] * D,
                                          .T = S - before,
                                          .S = S,
                                          .q_stride = D,
                                          .k_stride = D,
                                          .v_stride = D,
                                          .key = c->key ? c->key + row : NULL };
        row += S - before;
    }
    struct tensor h = attend(c, false); // (R, D)
    return conclude(c, h, x, &w->out, &w->norm, c->key);
}

/* The image's keys and values: those that are kept, or new ones. */
static void image_keys(struct tensor *k, struct tensor *v, const struct call *c, int i)
{
    const struct attention *w = &c->m->layer[i].cross;
    struct qformer_kept *kept = c->in->kept;
    if (kept && kept->cross_k[i].data) {
        *k = kept->cross_k[i];
        *v = kept->cross_v[i];
        return;
    }
    *k = nn_linear(c->nn, c->in->image, &w->k, NN_NONE); // (I, S, D)
    *v = nn_linear(c->nn, c->in->image, &w->v, NN_NONE);
    if (kept) {
        kept->cross_k[i] = *k;
        kept->cross_v[i] = *v;
    }
}

/* x (B Q, D): queries alone read the image. */
static struct tensor cross_attention(const struct call *c, struct tensor x, int i)
{
    const struct attention *w = &c->m->layer[i].cross;
    struct tensor k, v, q = nn_linear(c->nn, x, &w->q, NN_NONE); // (B Q, D)
    int64_t D = c->m->D, Q = c->Q, S = c->S;
    image_keys(&k, &v, c, i);
    for (int64_t b = 0; !c->nn->failed && b < c->B; b++) {
        int64_t image = c->in->image_of ? c->in->image_of[b] : b;
        c->seq[b] = (struct nn_sequence){ .q = (float *)q.data + b * Q * D,
                                          .k = (float *)k.data + image * S * D,
                                          .v = (float *)v.data + image * S * D,
                                          .T = Q,
                                          .S = S,
                                          .q_stride = D,
                                          .k_stride = D,
                                          .v_stride = D,
                                          .key = key_of(c, b * Q) };
    }
    struct tensor h = attend(c, true); // (B Q, D)
    return conclude(c, h, x, &w->out, &w->norm, key_of(c, 0));
}

static struct tensor feed_forward(const struct call *c, struct tensor x, const struct ffn *w,
                                  const uint64_t *key)
{
    struct tensor h = nn_linear(c->nn, x, &w->up, model_act(c->m->act)); // (R, F)
    return conclude(c, h, x, &w->down, &w->norm, key);
}

static struct tensor read_image(const struct call *c, struct tensor query, int i)
{
    if (crosses(c->m, i))
        query = cross_attention(c, query, i);
    return feed_forward(c, query, &c->m->layer[i].query, key_of(c, 0)); // (B Q, D)
}

/* Text never looks at the image itself. */
static struct tensor layer(const struct call *c, struct tensor x, int i)
{
    const struct ffn *text = &c->m->layer[i].text;
    int64_t rows = c->B * c->Q;
    x = self_attention(c, x, i); // (R, D)
    if (!c->Q)
        return feed_forward(c, x, text, c->key);
    if (!c->mixed)
        return read_image(c, x, i);
    struct tensor query = nn_pick(c->nn, x, (struct tensor){ 0 }, c->place, rows); // (B Q, D)
    struct tensor words = nn_pick(c->nn, x, (struct tensor){ 0 }, c->place + rows, c->R);
    query = read_image(c, query, i);
    words = feed_forward(c, words, text, key_of(c, rows));
    return nn_pick(c->nn, query, words, c->order, rows + c->R); // (R, D)
}

static struct tensor layers(const struct call *c, struct tensor x)
{
    watch(c->m, 0, x);
    for (int i = 0; i < c->m->layers; i++) {
        struct arena_mark mark = arena_mark(c->nn->mem);
        x = nn_replace(c->nn, x, layer(c, x, i), mark);
        watch(c->m, i + 1, x);
    }
    return x;
}

/* Words and their positions; queries have no position. */
static struct tensor embed(const struct call *c)
{
    const struct qformer *m = c->m;
    int64_t n = c->B * c->Q + c->R, rows = c->B * c->Q, i = 0;
    int64_t *idx = arena_calloc(c->nn->mem, (size_t)n, sizeof *idx), *position = idx;
    struct tensor text = { 0 };
    c->nn->failed |= !idx;
    for (int64_t b = 0; idx && c->R && b < c->B; b++)
        for (int64_t t = 0; t < words_of(c, b); t++)
            position[i++] = t;
    if (c->R)
        text = nn_add(c->nn, nn_embed(c->nn, m->words, c->in->ids, c->R),
                      nn_embed(c->nn, m->word_position, position, c->R)); // (R, D)
    if (!c->Q)
        return text;
    for (i = 0; idx && i < n; i++)
        idx[i] = c->order[i] < rows ? c->order[i] % c->Q : c->order[i] - rows + c->Q;
    return nn_pick(c->nn, m->query_tokens, text, idx, n); // (R, D)
}

static int order_keys(struct call *c, int64_t n)
{
    c->key = c->in->key;
    if (!c->mixed || !c->key)
        return 0;
    uint64_t *key = arena_calloc(c->nn->mem, (size_t)n, sizeof *key);
    for (int64_t i = 0; key && i < n; i++)
        key[i] = c->in->key[c->order[i]];
    c->key = key;
    return key ? 0 : -1;
}

/* Where each sequence's rows lie. */
static int lay_out(struct call *c)
{
    int64_t Q = c->in->causal ? c->m->Q : c->Q, n = 0, rows = c->B * Q, word = rows;
    struct arena *mem = c->nn->mem;
    c->row = arena_calloc(mem, (size_t)c->B + 1, sizeof *c->row);
    c->seq = arena_calloc(mem, (size_t)c->B, sizeof *c->seq);
    c->order = arena_calloc(mem, (size_t)(rows + c->R), sizeof *c->order);
    c->place = arena_calloc(mem, (size_t)(rows + c->R), sizeof *c->place);
    if (!c->row || !c->seq || !c->order || !c->place)
        return -1;
    for (int64_t b = 0; b < c->B; b++) {
        c->row[b] = n;
        for (int64_t q = 0; q < Q; q++)
            c->order[n++] = b * Q + q;
        for (int64_t t = 0; t < words_of(c, b); t++)
            c->order[n++] = word++;
    }
    c->row[c->B] = n;
    for (int64_t i = 0; i < n; i++)
        c->place[c->order[i]] = i;
    c->mixed = c->Q && c->R;
    return order_keys(c, n);
}

/* One text. */
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

static int check_texts(const struct qformer *m, const struct qformer_input *in, int64_t *R)
{
    *R = 0;
    for (int64_t b = 0; in->words && b < in->B; b++) {
        if (check_words(m, in->ids + *R, in->words[b]) < 0)
            return -1;
        *R += in->words[b];
    }
    return 0;
}

static int give(struct qformer_output *out, const struct call *c, struct tensor x)
{
    int64_t rows = c->B * c->Q;
    struct tensor none = { 0 }, query = x;
    *out = (struct qformer_output){ .text = x };
    if (c->mixed) {
        query = nn_pick(c->nn, x, none, c->place, rows);
        out->text = nn_pick(c->nn, x, none, c->place + rows, c->R); // (R, D)
    }
    if (c->Q)
        out->query = tensor_3d(query.data, DT_F32, c->B, c->Q, c->m->D); // (B, Q, D)
    return nn_failed(c->nn);
}

int qformer_read(struct qformer_output *out, const struct qformer *m, struct nn *nn,
                 const struct qformer_input *in)
{
    bool images = in->image.data;
    struct call c = { .m = m, .nn = nn, .in = in, .B = in->B };
    if ((images && check_image(m, in->image) < 0) || check_texts(m, in, &c.R) < 0)
        return -1;
    c.Q = images ? m->Q : 0;
    c.S = images ? in->image.dim[1] : 0;
    if (lay_out(&c) < 0)
        return -1;
    struct tensor x = nn_layernorm(nn, embed(&c), &m->norm, m->eps); // (R, D)
    x = layers(&c, nn_dropout(nn, x, c.key));
    return give(out, &c, x);
}

int qformer_keep(struct qformer_kept *kept, const struct qformer *m, struct arena *mem)
{
    struct tensor *t = arena_calloc(mem, (size_t)(4 * m->layers), sizeof *t);
    if (!t)
        return -1;
    kept->self_k = t;
    kept->self_v = t + m->layers;
    kept->cross_k = t + 2 * m->layers;
    kept->cross_v = t + 3 * m->layers;
    return 0;
}

/* The same n words for each of B images. */
static int repeat_words(struct qformer_input *in, struct nn *nn, const int64_t *ids, int64_t n)
{
    int64_t *all = arena_calloc(nn->mem, (size_t)(in->B * n), sizeof *all);
    int64_t *words = arena_calloc(nn->mem, (size_t)in->B, sizeof *words);
    if (!all || !words)
        return -1;
    for (int64_t i = 0; i < in->B * n; i++)
        all[i] = ids[i % n];
    for (int64_t b = 0; b < in->B; b++)
        words[b] = n;
    in->ids = all;
    in->words = words;
    return 0;
}

int qformer_forward(struct tensor *query_output, const struct qformer *m, struct nn *nn,
                    struct tensor image_embeds, const int64_t *ids, int64_t n)
{
    struct qformer_input in = { .B = image_embeds.dim[0], .image = image_embeds };
    struct qformer_output out;
    if (check_image(m, image_embeds) < 0 || (n > 0 && check_words(m, ids, n) < 0) ||
        (n > 0 && repeat_words(&in, nn, ids, n) < 0) || qformer_read(&out, m, nn, &in) < 0)
        return -1;
    *query_output = out.query;
    return 0;
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
    struct qformer_input in = { .B = 1, .ids = ids, .words = &n };
    struct qformer_output out;
    if (qformer_read(&out, m, nn, &in) < 0)
        return -1;
    *text_output = out.text;
    return 0;
}
