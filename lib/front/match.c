/* match.c - see match.h. */
#include "front/match.h"

#include "base/err.h"

#include <math.h>
#include <string.h>

/* An image of the batch: what it was read from, or its projection, which came along. */
struct image {
    struct tensor embeds; /* (1, S, E) f32, or data NULL */
    struct tensor proj;   /* (Q, P) f32, or data NULL: not needed */
};

int match_open(void *ctx, struct stage_io *io, const char **model)
{
    struct match *m = ctx;
    (void)io;
    record_init(&m->out);
    if (compute_open(&m->compute, &m->args.m) < 0)
        return -1;
    m->model = retrieval_open(m->compute.store, &m->compute.weights);
    if (!m->model)
        return -1;
    if (!qformer_reads_text(retrieval_qformer(m->model)))
        return err_set(ERR_CONFIG, "%s: use_qformer_text_input is false, expected true",
                       store_dir(m->compute.store));
    m->words = wordpiece_open(store_dir(m->compute.store));
    m->vector = arena_calloc(&m->compute.weights, (size_t)m->args.texts.n, sizeof *m->vector);
    *model = store_fingerprint(m->compute.store);
    return m->words && m->vector && *model ? 0 : -1;
}

void match_close(struct match *m)
{
    wordpiece_close(m->words);
    bpe_ids_release(&m->ids);
    record_release(&m->out);
    compute_close(&m->compute);
}

/* ---- a record's input ---- */

static bool wants(const struct match *m, enum match_head head)
{
    return m->args.head == MATCH_BOTH || m->args.head == (int)head;
}

/* A tensor of f32 in the batch's memory: the field, which has to be (rows, width); rows 0: any
 * number. 0: absent. */
static int get_rows(struct tensor *t, struct match *m, const struct record *rec,
                    const char *field, int rows, int width)
{
    char shape[TENSOR_SHAPE_MAX];
    int got = record_get_tensor(t, rec, field);
    if (got <= 0)
        return got;
    if (t->ndim != 2 || t->dim[0] < 1 || (rows && t->dim[0] != rows) || t->dim[1] != width)
        return rows ? err_set(ERR_DATA, "%s: shape %s, expected (%d, %d)", field,
                              tensor_shape_str(shape, *t), rows, width)
                    : err_set(ERR_DATA, "%s: shape %s, expected (S, %d)", field,
                              tensor_shape_str(shape, *t), width);
    if (tensor_check_finite(*t, field) < 0)
        return -1;
    float *f = arena_alloc(&m->compute.scratch, (size_t)tensor_count(*t) * sizeof *f);
    if (!f)
        return -1;
    tensor_to_f32(f, *t);
    *t = tensor_2d(f, DT_F32, t->dim[0], t->dim[1]);
    return 1;
}

/* What the heads in use need of the picture. */
static int get_image(struct image *im, struct match *m, const struct record *rec)
{
    const struct qformer *q = retrieval_qformer(m->model);
    struct tensor t;
    *im = (struct image){ 0 };
    int got = get_rows(&t, m, rec, "image_embeds", 0, qformer_encoder_size(q));
    if (got < 0)
        return -1;
    if (got)
        im->embeds = tensor_3d(t.data, DT_F32, 1, t.dim[0], t.dim[1]);
    if (!got && m->args.head != MATCH_ITC)
        return err_set(ERR_DATA, "no image_embeds in the record");
    got = get_rows(&im->proj, m, rec, "image_embeds_proj", qformer_queries(q),
                   retrieval_size(m->model));
    if (got < 0)
        return -1;
    if (!got && !im->embeds.data)
        return err_set(ERR_DATA, "no image_embeds or image_embeds_proj in the record");
    if (got || (m->args.head == MATCH_ITM && !m->args.features))
        return 0;
    if (retrieval_image(&t, m->model, &m->compute.nn, im->embeds) < 0)
        return -1;
    im->proj = tensor_2d(t.data, DT_F32, t.dim[1], t.dim[2]);
    return 0;
}

/* input_ids without what attention_mask leaves out, as BERT's tokenizer pads. */
static int get_ids(struct match *m, const struct record *rec)
{
    struct tensor ids, mask;
    int got = record_get_tensor(&ids, rec, "input_ids"), masked;
    if (got <= 0)
        return got;
    masked = record_get_tensor(&mask, rec, "attention_mask");
    if (masked < 0)
        return -1;
    if (ids.dtype != DT_I64 || ids.ndim != 1 ||
        (masked && (mask.dtype != DT_I64 || !tensor_same_shape(ids, mask))))
        return err_set(ERR_DATA, "input_ids, attention_mask: expected i64 (T)");
    for (int64_t i = 0; i < ids.dim[0]; i++)
        if ((!masked || ((const int64_t *)mask.data)[i]) &&
            bpe_ids_push(&m->ids, ((const int64_t *)ids.data)[i]) < 0)
            return -1;
    return m->ids.n ? 1 : err_set(ERR_DATA, "input_ids: empty");
}

/* Word pieces of `text`, or of the record's own: its text, its prompt, or input_ids. 0: it has
 * none. */
static int get_text(struct match *m, const struct record *rec, const char *text)
{
    const char *s = text;
    size_t n = s ? strlen(s) : 0;
    int got = s ? 1 : record_get_str(&s, &n, rec, "text");
    m->ids.n = 0;
    if (got == 0)
        got = record_get_str(&s, &n, rec, "prompt");
    if (got < 0)
        return -1;
    if (got > 0)
        return wordpiece_encode(&m->ids, m->words, s, n, 0) < 0 ? -1 : 1;
    return get_ids(m, rec);
}

/* ---- a record's scores ---- */

/* softmax(logits)[1] */
static double probability(struct tensor logits)
{
    const float *l = logits.data;
    return 1 / (1 + exp((double)l[0] - l[1]));
}

/* The text's vector; that of a --text, whose place is `kept`, is computed once. */
static int get_vector(struct tensor *t, struct match *m, float **kept)
{
    if (kept && *kept) {
        *t = tensor_1d(*kept, DT_F32, retrieval_size(m->model));
        return 0;
    }
    if (retrieval_text(t, m->model, &m->compute.nn, m->ids.v, (int64_t)m->ids.n) < 0)
        return -1;
    if (kept && !(*kept = arena_memdup(&m->compute.weights, t->data, tensor_bytes(*t))))
        return -1;
    return 0;
}

static int put_scores(struct record *out, struct match *m, const struct image *im, float **kept)
{
    struct nn *nn = &m->compute.nn;
    struct tensor t;
    int64_t n = (int64_t)m->ids.n;
    if (wants(m, MATCH_ITM)) {
        if (retrieval_match(&t, m->model, nn, im->embeds, m->ids.v, n) < 0 ||
            record_put_float(out, "itm_score", probability(t)) < 0)
            return -1;
    }
    if (!wants(m, MATCH_ITC))
        return 0;
    if (get_vector(&t, m, kept) < 0)
        return -1;
    return record_put_float(out, "itc_score", retrieval_similarity(im->proj, t));
}

/* A record as it goes out: the text's scores, and the projection on request. i: which --text,
 * negative for the record's own. */
static int fill(struct record *out, struct match *m, const struct image *im, int i)
{
    const char *text = i < 0 ? NULL : m->args.texts.v[i];
    int got = get_text(m, out, text);
    if (got < 0)
        return -1;
    if (got == 0 && !m->args.features)
        return err_set(ERR_DATA, "no text: expected --text, or text, prompt or input_ids in "
                                 "the record");
    if (text && record_put_str(out, "text", text, strlen(text)) < 0)
        return -1;
    if (got && put_scores(out, m, im, i < 0 ? NULL : &m->vector[i]) < 0)
        return -1;
    if (m->args.features && record_put_tensor(out, "image_embeds_proj", im->proj) < 0)
        return -1;
    if (!m->args.features)
        record_drop(out, "image_embeds_proj");
    if (!m->args.keep)
        record_drop(out, "image_embeds");
    return 0;
}

static int one(struct match *m, struct stage_io *io, struct record *rec)
{
    struct image im;
    arena_reset(&m->compute.scratch);
    if (get_image(&im, m, rec) < 0)
        return stage_fail(io, rec);
    int texts = m->args.texts.n;
    for (int i = 0; i < (texts ? texts : 1); i++) {
        struct arena_mark mark = arena_mark(&m->compute.scratch);
        record_view(&m->out, rec);
        int rc = fill(&m->out, m, &im, texts ? i : -1);
        if ((rc < 0 ? stage_fail(io, &m->out) : stage_emit(io, &m->out)) < 0)
            return -1;
        arena_rewind(&m->compute.scratch, mark);
    }
    return 0;
}

int match_step(void *ctx, struct stage_io *io, struct record **in, int n)
{
    for (int i = 0; i < n; i++)
        if (one(ctx, io, in[i]) < 0)
            return -1;
    return 0;
}
