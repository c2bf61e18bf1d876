/* stage1.c - three games with three masks: see train.h. In the order of the paper: the queries
 * read the images, the texts are read alone (contrast over the whole batch); then queries and
 * texts together (matching); then the texts word by word behind the queries (generation).
 *
 * A batch that does not go through the model at once goes twice: first for the contrast, whose
 * gradient needs all of it, then, micro-batch by micro-batch, for everything. Dropout is the
 * same both times. Source of that: Gao et al. 2021, "Scaling Deep Contrastive Learning Batch
 * Size under Memory Limited Setup". */
#include "base/err.h"
#include "base/math.h"
#include "train/state.h"

#include <math.h>
#include <string.h>

#define SITES 4096 /* places where something is dropped, of one pass at most */
enum { PASS_QUERY, PASS_TEXT, PASS_MATCH, PASS_GENERATE };

struct step {
    struct train *t;
    const struct train_batch *b;
    struct train_contrast c;
    struct tensor all;           /* (G, S, E) features of all ranks */
    const int64_t *ids, *length; /* (G, T), (G) */
    int64_t targets;             /* of generation, of all ranks */
    double match, generate;      /* sums of losses, weighted */
    int64_t right;
};

/* Pairs [first, first + m) of the own ones. */
struct micro {
    struct step *s;
    int64_t first, m;
    int64_t *image; /* (images) global index of each: own ones, then other negatives */
    int64_t images;
    struct tensor look; /* (images, S, E) after ln_vision */
    struct qformer_kept kept;
    struct tensor z, w;
};

static int64_t global(const struct micro *u, int64_t i)
{
    return u->s->c.first + u->first + i;
}

/* ---- dropout's keys ---- */

/* n sequences, of numbers from(i): the queries' rows, then the words'. */
static uint64_t *make_keys(const struct micro *u, int64_t n, int64_t Q, const int64_t *words,
                           const int64_t *number)
{
    int64_t rows = n * Q, k = 0;
    for (int64_t i = 0; words && i < n; i++)
        rows += words[i];
    uint64_t *key = arena_calloc(&u->s->t->mem, (size_t)rows + 1, sizeof *key);
    for (int64_t i = 0; key && i < n; i++)
        for (int64_t q = 0; q < Q; q++)
            key[k++] = train_key(number[i], q);
    for (int64_t i = 0; key && words && i < n; i++)
        for (int64_t w = 0; w < words[i]; w++)
            key[k++] = train_key(number[i], Q + w);
    return key;
}

/* ---- texts ---- */

/* Texts by global index, one after the other; less: ids left out at the end of each. */
struct texts {
    int64_t *ids, *words, *number, n;
};

static int make_texts(struct texts *x, const struct micro *u, int64_t n)
{
    struct arena *mem = &u->s->t->mem;
    x->n = n;
    x->ids = arena_calloc(mem, (size_t)(n * u->s->b->T), sizeof *x->ids);
    x->words = arena_calloc(mem, (size_t)n, sizeof *x->words);
    x->number = arena_calloc(mem, (size_t)n, sizeof *x->number);
    return x->ids && x->words && x->number ? 0 : -1;
}

static int64_t *put_text(const struct step *s, int64_t *to, int64_t *words, int64_t text,
                         int64_t less)
{
    *words = s->length[text] - less;
    memcpy(to, s->ids + text * s->b->T, (size_t)*words * sizeof *to);
    return to + *words;
}

/* The micro-batch's own. */
static int own_texts(struct texts *x, const struct micro *u, int64_t less)
{
    if (make_texts(x, u, u->m) < 0)
        return -1;
    int64_t *to = x->ids;
    for (int64_t i = 0; i < u->m; i++) {
        x->number[i] = global(u, i);
        to = put_text(u->s, to, &x->words[i], global(u, i), less);
    }
    return 0;
}

static int read_rows(struct qformer_output *out, const struct micro *u, int pass,
                     struct qformer_input *in, const struct texts *x)
{
    struct train *t = u->s->t;
    int64_t Q = in->image.data ? qformer_queries(t->q) : 0;
    t->tape.site = (uint64_t)pass * SITES;
    in->key = make_keys(u, x->n, Q, in->words, x->number);
    return in->key ? qformer_read(out, t->q, &t->nn, in) : -1;
}

/* ---- passes ---- */

/* The images, with what their queries keep for the other passes. */
static int read_images(struct qformer_output *out, struct micro *u)
{
    struct texts none;
    struct train *t = u->s->t;
    bool extra = u->images > u->m || u->first + u->s->c.first > 0;
    u->look = train_look(t, u->s->all, extra ? u->image : NULL, u->images);
    if (make_texts(&none, u, u->m) < 0 || qformer_keep(&u->kept, t->q, &t->mem) < 0)
        return -1;
    for (int64_t i = 0; i < u->m; i++)
        none.number[i] = global(u, i);
    struct qformer_input in = { .B = u->m, .image = u->look, .kept = &u->kept };
    return read_rows(out, u, PASS_QUERY, &in, &none);
}

/* [CLS] of each text alone. */
static int read_texts(struct tensor *cls, const struct micro *u)
{
    struct texts x;
    struct qformer_output out;
    struct train *t = u->s->t;
    if (own_texts(&x, u, 0) < 0)
        return -1;
    struct qformer_input in = { .B = u->m, .ids = x.ids, .words = x.words };
    if (read_rows(&out, u, PASS_TEXT, &in, &x) < 0)
        return -1;
    int64_t *at = arena_calloc(&t->mem, (size_t)u->m, sizeof *at);
    for (int64_t i = 1; at && i < u->m; i++)
        at[i] = at[i - 1] + x.words[i - 1];
    if (!at)
        return -1;
    *cls = nn_pick(&t->nn, out.text, (struct tensor){ 0 }, at, u->m); // (m, D)
    return 0;
}

static int contrast_sides(struct micro *u)
{
    struct train *t = u->s->t;
    const struct retrieval_heads *h = retrieval_heads(t->retrieval);
    struct qformer_output out;
    struct tensor cls;
    if (read_images(&out, u) < 0)
        return -1;
    if (!(t->o.losses & (TRAIN_ITC | TRAIN_ITM)))
        return 0;
    u->z = nn_unit(&t->nn, nn_linear(&t->nn, out.query, &h->vision, NN_NONE)); // (m, Q, P)
    if (read_texts(&cls, u) < 0)
        return -1;
    u->w = nn_unit(&t->nn, nn_linear(&t->nn, cls, &h->text, NN_NONE)); // (m, P)
    return nn_failed(&t->nn);
}

/* Index of an image in the micro-batch. */
static int64_t image_at(const struct micro *u, int64_t image)
{
    for (int64_t i = 0; i < u->images; i++)
        if (u->image[i] == image)
            return i;
    return -1;
}

/* (text, image), (text, other image), (other text, image): 1, 0, 0. */
static int match(struct micro *u)
{
    struct step *s = u->s;
    struct train *t = s->t;
    struct texts x;
    struct qformer_output out;
    int64_t n = 3 * u->m;
    int64_t *image_of = arena_calloc(&t->mem, (size_t)(2 * n), sizeof *image_of);
    if (!image_of || make_texts(&x, u, n) < 0)
        return -1;
    int64_t *to = x.ids, *label = image_of + n;
    for (int64_t k = 0; k < n; k++) {
        int64_t i = k % u->m, kind = k / u->m, own = u->first + i;
        int64_t text = kind == 2 ? s->c.neg_text[own] : global(u, i);
        image_of[k] = kind == 1 ? image_at(u, s->c.neg_image[own]) : i;
        label[k] = kind == 0;
        x.number[k] = kind * s->c.G + global(u, i);
        to = put_text(s, to, &x.words[k], text, 0);
    }
    struct qformer_input in = { .B = n,
                                .image = u->look,
                                .image_of = image_of,
                                .ids = x.ids,
                                .words = x.words,
                                .kept = &u->kept };
    if (read_rows(&out, u, PASS_MATCH, &in, &x) < 0)
        return -1;
    struct tensor itm = nn_linear(&t->nn, out.query, &retrieval_heads(t->retrieval)->itm,
                                  NN_NONE); // (3m, Q, 2)
    train_matching(&s->match, &s->right, t, itm, label, s->b->weight / (double)(3 * s->c.G));
    return nn_failed(&t->nn);
}

/* [DEC] and the words before each, behind the queries; the last id only is predicted. */
static int generate(struct micro *u)
{
    struct step *s = u->s;
    struct train *t = s->t;
    struct texts x;
    struct qformer_output out;
    if (own_texts(&x, u, 1) < 0)
        return -1;
    int64_t rows = 0;
    int64_t *target = arena_calloc(&t->mem, (size_t)(u->m * s->b->T), sizeof *target);
    for (int64_t i = 0; target && i < u->m; i++) {
        const int64_t *ids = s->ids + global(u, i) * s->b->T;
        if (x.words[i])
            x.ids[rows] = t->o.dec;
        for (int64_t w = 0; w < x.words[i]; w++)
            target[rows++] = ids[w + 1];
    }
    struct qformer_input in = {
        .B = u->m, .ids = x.ids, .words = x.words, .causal = true, .kept = &u->kept
    };
    if (!target || read_rows(&out, u, PASS_GENERATE, &in, &x) < 0)
        return -1;
    struct tensor h = nn_linear(&t->nn, out.text, &t->words.dense, NN_GELU); // (rows, D)
    h = nn_layernorm(&t->nn, h, &t->words.norm, qformer_eps(t->q));
    struct tensor logits = nn_linear(&t->nn, h, &t->words.out, NN_NONE); // (rows, V)
    return train_cross_entropy(&s->generate, t, logits, target, t->o.label_smoothing,
                               s->b->weight / (double)s->targets);
}

/* ---- the batch ---- */

static int begin_micro(struct micro *u, struct step *s, int64_t first, bool negatives)
{
    int64_t m = math_min(train_micro(s->t, s->b), s->b->B - first);
    *u = (struct micro){ .s = s, .first = first, .m = m };
    u->image = arena_calloc(&s->t->mem, (size_t)(2 * m), sizeof *u->image);
    if (!u->image)
        return -1;
    for (; u->images < m; u->images++)
        u->image[u->images] = global(u, u->images);
    for (int64_t i = 0; negatives && i < m; i++) {
        int64_t image = s->c.neg_image[first + i];
        if (image_at(u, image) < 0)
            u->image[u->images++] = image;
    }
    return 0;
}

static void keep_sides(const struct step *s, const struct micro *u)
{
    size_t z = (size_t)(s->c.Q * s->c.P), w = (size_t)s->c.P;
    memcpy((float *)s->c.z.data + (size_t)u->first * z, u->z.data, tensor_bytes(u->z));
    memcpy((float *)s->c.w.data + (size_t)u->first * w, u->w.data, tensor_bytes(u->w));
}

static int gather(struct step *s, void *all, const void *own, size_t bytes)
{
    const struct train_comm *c = s->t->o.comm;
    return c->gather(c->ctx, all, own, bytes);
}

/* Contrast of all ranks, once the own sides are known. */
static int contrast(struct step *s)
{
    struct train_contrast *c = &s->c;
    if (gather(s, c->z_all.data, c->z.data, tensor_bytes(c->z)) < 0 ||
        gather(s, c->w_all.data, c->w.data, tensor_bytes(c->w)) < 0)
        return -1;
    return train_contrast(c, s->t, s->b);
}

/* The gradient of the contrast enters the tape where the sides left the model. */
static void seed(const struct step *s, const struct micro *u)
{
    int64_t z = s->c.Q * s->c.P, w = s->c.P;
    float *dz = tape_in(&s->t->nn, u->z.data), *dw = tape_in(&s->t->nn, u->w.data);
    if (!dz || !dw)
        return;
    memcpy(dz, s->c.dz + u->first * z, tensor_bytes(u->z));
    memcpy(dw, s->c.dw + u->first * w, tensor_bytes(u->w));
}

/* First time through: for the sides alone. */
static int collect(struct step *s)
{
    for (int64_t i = 0; i < s->b->B; i += train_micro(s->t, s->b)) {
        struct micro u;
        if (begin_micro(&u, s, i, false) < 0 || contrast_sides(&u) < 0)
            return -1;
        keep_sides(s, &u);
        tape_reset(&s->t->tape);
        arena_reset(&s->t->mem);
    }
    return contrast(s);
}

static int run_micro(struct step *s, int64_t first, bool known)
{
    struct micro u;
    int losses = s->t->o.losses;
    bool pairs = losses & (TRAIN_ITC | TRAIN_ITM);
    if (begin_micro(&u, s, first, known && (losses & TRAIN_ITM)) < 0 || contrast_sides(&u) < 0)
        return -1;
    if (!known && pairs) {
        keep_sides(s, &u);
        if (contrast(s) < 0)
            return -1;
    }
    if (losses & TRAIN_ITC)
        seed(s, &u);
    if ((losses & TRAIN_ITM) && match(&u) < 0)
        return -1;
    if ((losses & TRAIN_ITG) && generate(&u) < 0)
        return -1;
    return train_back(s->t);
}

/* Everything that is about all ranks' pairs. */
static int begin_step(struct step *s)
{
    struct train *t = s->t;
    const struct train_batch *b = s->b;
    struct train_contrast *c = &s->c;
    struct arena *mem = &t->batch;
    const struct train_comm *comm = t->o.comm;
    c->B = b->B;
    c->G = b->B * comm->size;
    c->first = b->B * comm->rank;
    c->Q = qformer_queries(t->q);
    c->P = retrieval_size(t->retrieval);
    size_t ids = (size_t)(b->B * b->T) * sizeof *b->ids, one = (size_t)b->B * sizeof *b->ids;
    size_t size = (size_t)comm->size;
    int64_t *all_ids = arena_alloc(mem, size * ids), *length = arena_alloc(mem, size * one);
    int64_t *image_id = arena_alloc(mem, size * one);
    s->all = b->features;
    s->all.dim[0] = c->G;
    if (size > 1)
        s->all.data = arena_alloc(mem, tensor_bytes(s->all));
    if (!all_ids || !length || !image_id || !s->all.data ||
        gather(s, all_ids, b->ids, ids) < 0 || gather(s, length, b->length, one) < 0)
        return -1;
    if (size > 1 && gather(s, s->all.data, b->features.data, tensor_bytes(b->features)) < 0)
        return -1;
    if (b->image_id && gather(s, image_id, b->image_id, one) < 0)
        return -1;
    c->image_id = b->image_id ? image_id : NULL;
    s->ids = all_ids;
    s->length = length;
    for (int64_t i = 0; i < c->G; i++)
        s->targets += length[i] - 1;
    return 0;
}

static int make_sides(struct train_contrast *c, struct arena *mem)
{
    size_t z = (size_t)(c->Q * c->P) * sizeof(float), w = (size_t)c->P * sizeof(float);
    c->z = tensor_3d(arena_alloc(mem, (size_t)c->B * z), DT_F32, c->B, c->Q, c->P);
    c->w = tensor_2d(arena_alloc(mem, (size_t)c->B * w), DT_F32, c->B, c->P);
    c->z_all = tensor_3d(arena_alloc(mem, (size_t)c->G * z), DT_F32, c->G, c->Q, c->P);
    c->w_all = tensor_2d(arena_alloc(mem, (size_t)c->G * w), DT_F32, c->G, c->P);
    return c->z.data && c->w.data && c->z_all.data && c->w_all.data ? 0 : -1;
}

/* Sums of all ranks; the weight was the gradients', not the losses'. */
static int report(struct train_losses *out, struct step *s)
{
    const struct train_comm *comm = s->t->o.comm;
    int losses = s->t->o.losses;
    double sum[4] = { s->c.loss, s->match / s->b->weight, s->generate / s->b->weight,
                      (double)s->right };
    if (comm->sum_double(comm->ctx, sum, 4) < 0)
        return -1;
    if (losses & TRAIN_ITC)
        out->sum += out->itc = sum[0];
    if (losses & TRAIN_ITM) {
        out->sum += out->itm = sum[1];
        out->itm_accuracy = sum[3] / (double)(3 * s->c.G);
    }
    if (losses & TRAIN_ITG) {
        out->sum += out->itg = sum[2];
        out->targets = s->targets;
    }
    return 0;
}

int train_stage1(struct train_losses *out, struct train *t, const struct train_batch *b)
{
    struct step s = { .t = t, .b = b };
    bool whole = train_micro(t, b) == b->B && t->o.comm->size == 1;
    bool pairs = t->o.losses & (TRAIN_ITC | TRAIN_ITM);
    if (begin_step(&s) < 0 || make_sides(&s.c, &t->batch) < 0 ||
        (pairs && !whole && collect(&s) < 0))
        return -1;
    for (int64_t i = 0; i < b->B; i += train_micro(t, b))
        if (run_micro(&s, i, !whole) < 0)
            return -1;
    return report(out, &s);
}
