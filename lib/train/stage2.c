/* stage2.c - the frozen language model's own words: queries, projected, come before the
 * caption, and each of its tokens is predicted. Source: Li et al. 2023, 3.3; LAVIS
 * blip2_opt.py. */
#include "base/err.h"
#include "base/math.h"
#include "train/state.h"

#include <math.h>

#define LM_SITES 4096 /* where dropout in the language model begins to count */

/* Rows of pairs [first, first + m): of each, Q queries and all its tokens but the last. */
struct rows {
    struct train *t;
    const struct train_batch *b;
    int64_t first, m, Q;
    int64_t n;                     /* rows in all */
    int64_t *ids, tokens;          /* of all texts */
    int64_t *order;                /* of each row, among all queries, then all tokens */
    struct opt_span *span;         /* (m) */
    int64_t *at, *target, targets; /* rows that predict, and what */
};

static int64_t prompt_of(const struct train_batch *b, int64_t i)
{
    return b->prompt ? b->prompt[i] : 0;
}

static int64_t targets_of(const struct train_batch *b, int64_t i)
{
    return math_max(b->length[i] - prompt_of(b, i), 0);
}

static void lay_pair(struct rows *r, int64_t i)
{
    const struct train_batch *b = r->b;
    int64_t pair = r->first + i, length = b->length[pair], start = r->n;
    const int64_t *ids = b->ids + pair * b->T;
    for (int64_t q = 0; q < r->Q; q++)
        r->order[r->n++] = i * r->Q + q;
    for (int64_t w = 0; w + 1 < length; w++) {
        r->order[r->n++] = r->m * r->Q + r->tokens;
        r->ids[r->tokens++] = ids[w];
    }
    for (int64_t w = prompt_of(b, pair); w < length; w++) {
        r->at[r->targets] = start + r->Q - 1 + w;
        r->target[r->targets++] = ids[w];
    }
    r->span[i].n = r->n - start;
}

static int lay_out(struct rows *r)
{
    struct arena *mem = &r->t->mem;
    size_t tokens = (size_t)(r->m * r->b->T), rows = tokens + (size_t)(r->m * r->Q);
    r->ids = arena_calloc(mem, tokens, sizeof *r->ids);
    r->order = arena_calloc(mem, rows, sizeof *r->order);
    r->span = arena_calloc(mem, (size_t)r->m, sizeof *r->span);
    r->at = arena_calloc(mem, tokens, sizeof *r->at);
    r->target = arena_calloc(mem, tokens, sizeof *r->target);
    if (!r->ids || !r->order || !r->span || !r->at || !r->target)
        return -1;
    for (int64_t i = 0; i < r->m; i++)
        lay_pair(r, i);
    return 0;
}

/* Keys of the language model's rows, or NULL where nothing is dropped of it. */
static int lm_keys(uint64_t **key, const struct rows *r)
{
    int64_t pair = r->b->B * r->t->o.comm->rank + r->first, n = 0;
    *key = NULL;
    if (r->t->o.lm_dropout <= 0)
        return 0;
    *key = arena_calloc(&r->t->mem, (size_t)r->n, sizeof **key);
    for (int64_t i = 0; *key && i < r->m; i++)
        for (int64_t w = 0; w < r->span[i].n; w++)
            (*key)[n++] = train_key(pair + i, w);
    return *key ? 0 : -1;
}

static uint64_t *make_keys(const struct rows *r)
{
    int64_t pair = r->b->B * r->t->o.comm->rank + r->first;
    uint64_t *key = arena_calloc(&r->t->mem, (size_t)(r->m * r->Q), sizeof *key);
    for (int64_t i = 0; key && i < r->m * r->Q; i++)
        key[i] = train_key(pair + i / r->Q, i % r->Q);
    return key;
}

/* What the queries say of the images: (m Q, H). */
static int look(struct tensor *visual, const struct rows *r)
{
    struct train *t = r->t;
    struct qformer_output out;
    struct tensor features = r->b->features;
    int64_t *which = arena_calloc(&t->mem, (size_t)r->m, sizeof *which);
    for (int64_t i = 0; which && i < r->m; i++)
        which[i] = r->first + i;
    struct qformer_input in = { .B = r->m, .key = make_keys(r) };
    if (!which || !in.key)
        return -1;
    t->tape.site = 0;
    in.image = train_look(t, features, r->m == r->b->B ? NULL : which, r->m);
    if (qformer_read(&out, t->q, &t->nn, &in) < 0)
        return -1;
    return qformer_project(visual, t->q, &t->nn, out.query);
}

/* The frozen model reads the queries and the texts, and is asked for each next token. */
static int speak(double *sum, struct rows *r, struct tensor visual, int64_t targets)
{
    struct train *t = r->t;
    struct tensor words, x, hidden, logits;
    uint64_t *key;
    if (opt_embed(&words, t->opt, &t->nn, r->ids, r->tokens) < 0)
        return -1;
    t->tape.dropout = t->o.lm_dropout;
    t->tape.site = LM_SITES;
    x = nn_pick(&t->nn, visual, words, r->order, r->n); // (rows, E)
    if (lm_keys(&key, r) < 0 ||
        opt_read(&hidden, t->opt, &t->nn, r->span, (int)r->m, x, key) < 0)
        return -1;
    hidden = nn_pick(&t->nn, hidden, (struct tensor){ 0 }, r->at, r->targets);
    if (opt_head(&logits, t->opt, &t->nn, hidden) < 0) // (targets, V)
        return -1;
    return train_cross_entropy(sum, t, logits, r->target, 0, r->b->weight / (double)targets);
}

static int run_micro(double *lm, double *align, struct rows *r, int64_t targets)
{
    struct train *t = r->t;
    struct tensor visual;
    t->tape.dropout = t->o.dropout;
    if (lay_out(r) < 0 || look(&visual, r) < 0)
        return -1;
    if (t->o.losses & TRAIN_ALIGN && train_align(align, t, r->b, visual, r->first, r->m) < 0)
        return -1;
    if (t->o.losses & TRAIN_LM && r->targets > 0 && speak(lm, r, visual, targets) < 0)
        return -1;
    return train_back(t);
}

/* Of all ranks, NAN where it was not asked for. */
static int total(double *loss, const struct train *t, int which, double sum, double weight)
{
    const struct train_comm *comm = t->o.comm;
    sum /= weight;
    if (comm->sum_double(comm->ctx, &sum, 1) < 0)
        return -1;
    *loss = t->o.losses & which ? sum : (double)NAN;
    return 0;
}

int train_stage2(struct train_losses *out, struct train *t, const struct train_batch *b)
{
    const struct train_comm *comm = t->o.comm;
    double lm = 0, align = 0, targets = 0;
    for (int64_t i = 0; i < b->B; i++)
        targets += (double)targets_of(b, i);
    if (comm->sum_double(comm->ctx, &targets, 1) < 0)
        return -1;
    if (targets == 0)
        return err_set(ERR_DATA, "no token of the batch is a target: prompts are as long as "
                                 "their texts");
    for (int64_t i = 0; i < b->B; i += train_micro(t, b)) {
        struct rows r = { .t = t,
                          .b = b,
                          .first = i,
                          .m = math_min(train_micro(t, b), b->B - i),
                          .Q = qformer_queries(t->q) };
        if (run_micro(&lm, &align, &r, (int64_t)targets) < 0)
            return -1;
    }
    if (total(&out->lm, t, TRAIN_LM, lm, b->weight) < 0 ||
        total(&out->align, t, TRAIN_ALIGN, align, b->weight) < 0)
        return -1;
    out->sum = (t->o.losses & TRAIN_LM ? out->lm : 0) +
               (t->o.losses & TRAIN_ALIGN ? out->align : 0);
    out->targets = (int64_t)targets;
    return 0;
}
