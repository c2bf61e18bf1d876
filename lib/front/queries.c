/* queries.c - see queries.h. */
#include "front/queries.h"

#include "base/err.h"

#include <string.h>

int queries_open(void *ctx, struct stage_io *io, const char **model)
{
    struct queries *c = ctx;
    (void)io;
    if (compute_open(&c->compute, &c->args.m) < 0)
        return -1;
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
    *model = store_fingerprint(c->compute.store);
    return *model ? 0 : -1;
}

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

/* How many records from in[0] on can run together: the same S and no text of their
 * own. 0 with
 * err set: in[0] itself is at fault. */
static int group_length(struct queries *c, struct record **in, int n)
{
    struct tensor first, t;
    if (get_embeds(&first, c, in[0]) < 0 || get_text(c, in[0]) < 0)
        return 0;
    int len = 1;
    while (len < n && !record_has(in[0], "qformer_text") &&
           !record_has(in[len], "qformer_text") && get_embeds(&t, c, in[len]) == 0 &&
           tensor_same_shape(first, t))
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

static int run_group(struct queries *c, struct stage_io *io, struct record **in, int n)
{
    struct tensor x, query_output, inputs = { 0 };
    struct nn *nn = &c->compute.nn;
    arena_reset(&c->compute.scratch);
    if (gather(&x, c, in, n) < 0 ||
        qformer_forward(&query_output, c->q, nn, x, c->ids.n ? c->ids.v : NULL,
                        (int64_t)c->ids.n) < 0)
        return -1;
    if (qformer_has_projection(c->q) && qformer_project(&inputs, c->q, nn, query_output) < 0)
        return -1;
    if (!c->args.features)
        query_output.data = NULL;
    for (int i = 0; i < n; i++) {
        if (put_row(in[i], "query_output", query_output, i) < 0 ||
            put_row(in[i], "language_model_inputs", inputs, i) < 0)
            return -1;
        if (!c->args.keep)
            record_drop(in[i], "image_embeds");
        if (stage_emit(io, in[i]) < 0)
            return -1;
    }
    return 0;
}

int queries_step(void *ctx, struct stage_io *io, struct record **in, int n)
{
    struct queries *c = ctx;
    for (int i = 0, len; i < n; i += len ? len : 1) {
        len = group_length(c, in + i, n - i);
        if ((len ? run_group(c, io, in + i, len) : stage_fail(io, in[i])) < 0)
            return -1;
    }
    return 0;
}

void queries_close(struct queries *c)
{
    wordpiece_close(c->words);
    bpe_ids_release(&c->ids);
    compute_close(&c->compute);
}
