/* queries.c - see queries.h. */
#include "front/queries.h"

#include "base/err.h"
#include "front/known.h"
#include "nn/maps.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the cache says of a record of the batch. */
struct queries_item {
    bool keyed, hit;
    struct cache_key key;
    struct tensor inputs; /* of a hit, in entry's memory */
    struct record entry;
};

/* ---- opening ---- */

static int load(struct queries *c)
{
    c->q = qformer_open(c->compute.store, &c->compute.weights);
    if (!c->q)
        return -1;
    if (!qformer_has_projection(c->q) && !c->args.features)
        return err_set(ERR_CONFIG, "%s: no language_projection; --features gives query_output",
                       store_dir(c->compute.store));
    if (qformer_reads_text(c->q) && !(c->words = wordpiece_open(store_dir(c->compute.store))))
        return -1;
    if (c->args.text && !c->words)
        return err_set(ERR_CONFIG, "%s: --text: this Q-Former does not read text",
                       store_dir(c->compute.store));
    if (c->args.hidden)
        qformer_set_watch(c->q, hidden_take, &c->hidden);
    return 0;
}

static int open_items(struct queries *c)
{
    int n = c->args.m.batch > 0 ? c->args.m.batch : 1;
    c->item = calloc((size_t)n, sizeof *c->item);
    if (!c->item)
        return err_nomem("a batch");
    for (c->items = 0; c->items < n; c->items++)
        record_init(&c->item[c->items].entry);
    return 0;
}

/* With a cache the weights wait for the first record that is not in it. */
int queries_open(void *ctx, struct stage_io *io, const char **model)
{
    struct queries *c = ctx;
    (void)io;
    if (open_items(c) < 0 || compute_open(&c->compute, &c->args.m) < 0)
        return -1;
    *model = store_fingerprint(c->compute.store);
    if (!*model || known_open(&c->cached, &c->args.cache, c->compute.store, *model) < 0)
        return -1;
    return c->cached.cache ? 0 : load(c);
}

void queries_close(struct queries *c)
{
    arena_release(&c->looks);
    hidden_release(&c->hidden);
    wordpiece_close(c->words);
    bpe_ids_release(&c->ids);
    compute_close(&c->compute);
    cached_close(&c->cached);
    while (c->items)
        record_release(&c->item[--c->items].entry);
    free(c->item);
}

/* ---- a record's input ---- */

/* The record's image_embeds, (S, E) of any float type. */
static int get_embeds(struct tensor *t, const struct queries *c, const struct record *rec)
{
    char shape[TENSOR_SHAPE_MAX];
    int E = qformer_encoder_size(c->q), got = record_get_tensor(t, rec, "image_embeds");
    if (got <= 0)
        return got < 0 ? -1 : err_set(ERR_DATA, "no image_embeds in the record");
    if (t->ndim != 2 || t->dim[0] < 1 || t->dim[1] != E)
        return err_set(ERR_DATA, "image_embeds: shape %s, expected (S, %d)",
                       tensor_shape_str(shape, *t), E);
    return tensor_check_finite(*t, "image_embeds");
}

/* What the rows of image_embeds look at themselves: the record's vision_rollout (S, S'), f32,
 * or nothing. */
static int get_base(struct tensor *t, const struct queries *c, const struct record *rec,
                    int64_t S)
{
    char shape[TENSOR_SHAPE_MAX];
    *t = (struct tensor){ 0 };
    int got = c->args.attention ? record_get_tensor(t, rec, "vision_rollout") : 0;
    if (got <= 0)
        return got;
    if (t->dtype != DT_F32 || t->ndim != 2 || t->dim[0] != S || t->dim[1] < 1)
        return err_set(ERR_DATA, "vision_rollout: %s %s, expected f32 (%lld, S)",
                       dtype_name(t->dtype), tensor_shape_str(shape, *t), (long long)S);
    return tensor_check_finite(*t, "vision_rollout");
}

/* Word pieces of --text or of the record's qformer_text; none for neither. */
static int get_text(struct queries *c, const struct record *rec)
{
    const char *s = c->args.text;
    size_t n = s ? strlen(s) : 0;
    int got = record_get_str(&s, &n, rec, "qformer_text");
    c->ids.n = 0;
    if (got < 0 || !s)
        return got < 0 ? -1 : 0;
    if (!c->words)
        return err_set(ERR_DATA, "qformer_text: this Q-Former does not read text");
    return wordpiece_encode(&c->ids, c->words, s, n, 0);
}

/* How many records from in[0] on can run together: not at hand, the same S, no text of their
 * own. 0 with err set: in[0] itself is at fault. */
static int group_length(struct queries *c, struct record **in, int n)
{
    struct tensor first, t, base;
    if (get_embeds(&first, c, in[0]) < 0 || get_text(c, in[0]) < 0 ||
        get_base(&base, c, in[0], first.dim[0]) < 0)
        return 0;
    int len = 1, at = (int)(in - c->in);
    while (len < n && !c->item[at + len].hit && !record_has(in[0], "qformer_text") &&
           !record_has(in[len], "qformer_text") && get_embeds(&t, c, in[len]) == 0 &&
           tensor_same_shape(first, t) && get_base(&base, c, in[len], t.dim[0]) == 0)
        len++;
    return len;
}

/* (B, S, E) f32 of n checked records. */
static int gather(struct tensor *x, struct queries *c, struct record **in, int n)
{
    struct tensor t;
    if (get_embeds(&t, c, in[0]) < 0)
        return -1;
    *x = tensor_3d(NULL, DT_F32, n, t.dim[0], t.dim[1]);
    int64_t each = tensor_count(t);
    float *f = arena_alloc(&c->compute.scratch, tensor_bytes(*x));
    if (!f)
        return -1;
    for (int i = 0; i < n; i++) {
        if (get_embeds(&t, c, in[i]) < 0)
            return -1;
        tensor_to_f32(f + i * each, t);
    }
    x->data = f;
    return 0;
}

static int put_row(struct record *rec, const char *key, struct tensor t, int i)
{
    float *row = (float *)t.data + i * t.dim[1] * t.dim[2];
    return t.data ? record_put_tensor(rec, key, tensor_2d(row, DT_F32, t.dim[1], t.dim[2])) : 0;
}

static void keep_row(struct queries *c, struct record **in, struct tensor inputs, int i)
{
    const struct queries_item *item = &c->item[in - c->in + i];
    if (!item->keyed || !inputs.data)
        return;
    float *row = (float *)inputs.data + i * inputs.dim[1] * inputs.dim[2];
    cache_put(c->cached.cache, &item->key, "language_model_inputs",
              tensor_2d(row, DT_F32, inputs.dim[1], inputs.dim[2]));
}

/* ---- where queries look ---- */

static int watch(struct nn_maps *maps, struct queries *c, struct record **in, int n, int64_t S)
{
    arena_reset(&c->looks);
    struct tensor *base = arena_calloc(&c->looks, (size_t)n, sizeof *base);
    if (!base)
        return -1;
    for (int i = 0; i < n; i++)
        if (get_base(&base[i], c, in[i], S) < 0)
            return -1;
    *maps =
        (struct nn_maps){ .crossing = true, .base = base, .cross_rows = qformer_queries(c->q) };
    return nn_maps_begin(maps, &c->compute.nn, n, &c->looks);
}

static int put_looks(struct queries *c, struct record *rec, const struct nn_maps *maps, int i)
{
    struct arena *mem = record_mem(rec);
    struct tensor cross, rollout;
    if (nn_maps_stack(&cross, maps, i, true, mem) < 0 ||
        nn_maps_rollout(&rollout, maps, i, mem) < 0)
        return -1;
    rollout.dim[0] = qformer_queries(c->q); /* those of words follow */
    if (!c->args.keep)
        record_drop(rec, "vision_rollout");
    if (record_put_tensor(rec, "cross_attentions", cross) < 0)
        return -1;
    return record_put_tensor(rec, "attention_rollout", rollout);
}

/* ---- a group ---- */

static int forward(struct tensor *query_output, struct queries *c, struct tensor x)
{
    return qformer_forward(query_output, c->q, &c->compute.nn, x, c->ids.n ? c->ids.v : NULL,
                           (int64_t)c->ids.n);
}

static int forward_watched(struct tensor *query_output, struct queries *c, struct tensor x,
                           struct nn_maps *maps, struct record **in)
{
    hidden_reset(&c->hidden);
    if (!c->args.attention)
        return forward(query_output, c, x);
    if (watch(maps, c, in, (int)x.dim[0], x.dim[1]) < 0)
        return -1;
    int rc = forward(query_output, c, x);
    return nn_maps_end(maps, &c->compute.nn) < 0 ? -1 : rc;
}

static int run_group(struct queries *c, struct stage_io *io, struct record **in, int n)
{
    struct tensor x, query_output, inputs = { 0 };
    struct nn *nn = &c->compute.nn;
    struct nn_maps maps;
    arena_reset(&c->compute.scratch);
    if (gather(&x, c, in, n) < 0 || forward_watched(&query_output, c, x, &maps, in) < 0)
        return -1;
    if (qformer_has_projection(c->q) && qformer_project(&inputs, c->q, nn, query_output) < 0)
        return -1;
    if (!c->args.features)
        query_output.data = NULL;
    for (int i = 0; i < n; i++) {
        if (put_row(in[i], "query_output", query_output, i) < 0 ||
            put_row(in[i], "language_model_inputs", inputs, i) < 0 ||
            (c->args.attention && put_looks(c, in[i], &maps, i) < 0))
            return -1;
        keep_row(c, in, inputs, i);
        if (!c->args.keep)
            record_drop(in[i], "image_embeds");
        bool put = hidden_put(in[i], &c->hidden, i, n) == 0;
        if ((put ? stage_emit(io, in[i]) : stage_fail(io, in[i])) < 0)
            return -1;
    }
    return 0;
}

/* ---- the batch ---- */

/* Looks a record's result up, and remembers its key. Of records that are read together with
 * text nothing is kept. */
static void look_up(struct queries *c, const struct record *rec, struct queries_item *item)
{
    struct tensor t;
    unsigned char digest[SHA256_BYTES];
    item->keyed = item->hit = false;
    if (!c->cached.cache || c->args.text || record_has(rec, "qformer_text") ||
        record_get_tensor(&t, rec, "image_embeds") <= 0)
        return;
    item->keyed = known_digest(digest, t) == 0 &&
                  known_key(&item->key, &c->cached, digest) == 0;
    item->hit = item->keyed && cache_get(&item->inputs, &item->entry, c->cached.cache,
                                         &item->key, "language_model_inputs");
}

/* A record whose language_model_inputs came from the cache already (img-encode --inputs). */
static bool is_done(const struct queries *c, const struct record *rec)
{
    return !c->args.features && !c->args.attention && !c->args.hidden && !c->args.text &&
           !record_has(rec, "qformer_text") && !record_has(rec, "image_embeds") &&
           record_has(rec, "language_model_inputs");
}

static int emit_hit(struct queries *c, struct stage_io *io, struct record *rec, int i)
{
    c->cached.hits++;
    if (record_put_tensor(rec, "language_model_inputs", c->item[i].inputs) < 0)
        return stage_fail(io, rec);
    if (!c->args.keep)
        record_drop(rec, "image_embeds");
    return stage_emit(io, rec);
}

/* From the i-th record on; gives how many were done through len. */
static int compute_some(int *len, struct queries *c, struct stage_io *io, int i, int n)
{
    if (!c->q && load(c) < 0)
        return -1;
    *len = group_length(c, c->in + i, n - i);
    int rc = *len ? run_group(c, io, c->in + i, *len) : stage_fail(io, c->in[i]);
    c->cached.misses += (uint64_t)*len;
    *len += *len == 0;
    return rc;
}

int queries_step(void *ctx, struct stage_io *io, struct record **in, int n)
{
    struct queries *c = ctx;
    c->in = in;
    for (int i = 0; i < n; i++)
        look_up(c, in[i], &c->item[i]);
    for (int i = 0, len = 1; i < n; i += len) {
        len = 1;
        if ((is_done(c, in[i]) ? stage_emit(io, in[i])
             : c->item[i].hit  ? emit_hit(c, io, in[i], i)
                               : compute_some(&len, c, io, i, n)) < 0)
            return -1;
    }
    return 0;
}
