/* back_attention.c - o = P v with P = softmax(c q k^T), a head of a sequence at a time, whose
 * probabilities are computed once more:
 *
 *   dv += P^T do    dP = do v^T    dS = c P (dP - sum over s of dP P)
 *   dq += dS k      dk += dS^T q
 *
 * and with dropout P M in place of P, and dP M in place of dP, where M is what was drawn.
 * Sequences that share keys are one piece of work, so that their sums have an order. */
#include "base/err.h"
#include "base/math.h"
#include "kern/kern.h"
#include "nn/back.h"

#include <string.h>

struct note {
    struct tensor y;
    struct nn_heads heads;
    const struct nn_sequence *seq;
    int64_t n;
    uint64_t site;
    double p; /* dropout of probabilities */
};

struct part { /* of one sequence */
    const float *dy;
    float *dq, *dk, *dv;
    int64_t next; /* that shares its keys, -1: none */
};

struct attention {
    const struct note *a;
    const struct kern *kern;
    struct part *part;
    const int64_t *group; /* first sequence of each */
    float *scratch;
    int64_t room, square, tall; /* floats: of a worker, of (T, S), of (max(T, S), hd) */
    uint64_t seed;
    double p;
};

/* What one head of one sequence works with: all (T, S) but flip (S, T) and sum. */
struct head {
    const struct attention *b;
    const struct nn_sequence *s;
    const struct part *part;
    int64_t h, hd, T, S;
    float *P, *dP, *flip, *sum;
};

static void scores(const struct head *h, float *out, const float *x, int64_t ldx,
                   const float *w, int64_t ldw)
{
    struct kern_gemm g = { .M = (size_t)h->T,
                           .N = (size_t)h->S,
                           .K = (size_t)h->hd,
                           .x = x + h->h * h->hd,
                           .w = w + h->h * h->hd,
                           .y = out,
                           .ldx = (size_t)ldx,
                           .ldw = (size_t)ldw,
                           .ldy = (size_t)h->S };
    h->b->kern->gemm[KERN_F32](&g);
}

/* to += p (M, K) v */
static void mix_add(const struct head *h, float *to, int64_t ldto, int64_t M, int64_t K,
                    const float *p, const float *v, int64_t ldv)
{
    struct kern_mix m = { .M = (size_t)M,
                          .N = (size_t)h->hd,
                          .K = (size_t)K,
                          .p = p,
                          .v = v + h->h * h->hd,
                          .y = h->sum,
                          .ldp = (size_t)K,
                          .ldv = (size_t)ldv,
                          .ldy = (size_t)h->hd };
    h->b->kern->mix(&m);
    to += h->h * h->hd;
    for (int64_t i = 0; i < M; i++)
        h->b->kern->add(to + i * ldto, to + i * ldto, h->sum + i * h->hd, (size_t)h->hd);
}

static void flip(const struct head *h, const float *from)
{
    for (int64_t t = 0; t < h->T; t++)
        for (int64_t s = 0; s < h->S; s++)
            h->flip[s * h->T + t] = from[t * h->S + s];
}

static void probabilities(const struct head *h)
{
    const struct nn_heads *heads = &h->b->a->heads;
    scores(h, h->P, h->s->q, h->s->q_stride, h->s->k, h->s->k_stride);
    for (int64_t t = 0; t < h->T; t++) {
        float *row = h->P + t * h->S;
        int64_t seen = heads->causal ? math_min(h->S - h->T + t + 1, h->S) : h->S;
        h->b->kern->softmax(row, heads->scale, (size_t)seen);
        memset(row + seen, 0, (size_t)(h->S - seen) * sizeof *row);
    }
}

/* x M: what was dropped is 0, the rest is scaled up. */
static void drop(const struct head *h, float *x)
{
    const struct attention *b = h->b;
    for (int64_t t = 0; h->s->key && b->p > 0 && t < h->T; t++)
        nn_drop_some(x + t * h->S, h->S, b->p, nn_drop_row(b->seed, b->a->site, h->s->key[t]),
                     h->h * h->S);
}

/* dP becomes dS. */
static void through_softmax(const struct head *h)
{
    float scale = h->b->a->heads.scale;
    for (int64_t t = 0; t < h->T; t++) {
        const float *P = h->P + t * h->S;
        float *dP = h->dP + t * h->S;
        double along = 0;
        for (int64_t s = 0; s < h->S; s++)
            along += (double)dP[s] * (double)P[s];
        for (int64_t s = 0; s < h->S; s++)
            dP[s] = scale * P[s] * (dP[s] - (float)along);
    }
}

static void head_back(const struct head *h)
{
    const struct nn_sequence *s = h->s;
    int64_t D = h->b->a->heads.H * h->hd;
    probabilities(h);
    if (h->part->dv) {
        memcpy(h->dP, h->P, (size_t)(h->T * h->S) * sizeof *h->dP);
        drop(h, h->dP);
        flip(h, h->dP);
        mix_add(h, h->part->dv, s->v_stride, h->S, h->T, h->flip, h->part->dy, D);
    }
    scores(h, h->dP, h->part->dy, D, s->v, s->v_stride);
    drop(h, h->dP);
    through_softmax(h);
    if (h->part->dq)
        mix_add(h, h->part->dq, s->q_stride, h->T, h->S, h->dP, s->k, s->k_stride);
    flip(h, h->dP);
    if (h->part->dk)
        mix_add(h, h->part->dk, s->k_stride, h->S, h->T, h->flip, s->q, s->q_stride);
}

static int groups(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct attention *b = ctx;
    float *scratch = b->scratch + worker * b->room;
    for (int64_t i = begin; i < end; i++)
        for (int64_t j = b->group[i / b->a->heads.H]; j >= 0; j = b->part[j].next) {
            const struct nn_sequence *s = &b->a->seq[j];
            struct head h = { b,
                              s,
                              &b->part[j],
                              i % b->a->heads.H,
                              b->a->heads.hd,
                              s->T,
                              s->S,
                              scratch,
                              scratch + b->square,
                              scratch + 2 * b->square,
                              scratch + 3 * b->square };
            head_back(&h);
        }
    return 0;
}

/* Chains sequence i to the others that have its keys; false: it is not the first of them. */
static bool chain(struct part *part, const struct nn_sequence *seq, int64_t i)
{
    int64_t j = 0;
    while (seq[j].k != seq[i].k)
        j++;
    if (j == i)
        return true;
    while (part[j].next >= 0)
        j = part[j].next;
    part[j].next = i;
    return false;
}

static int64_t plan(struct nn *nn, struct attention *b, int64_t *group)
{
    const struct note *a = b->a;
    const float *dy = tape_out(nn, a->y.data);
    int64_t count = 0;
    for (int64_t i = 0; i < a->n; i++) {
        const struct nn_sequence *s = &a->seq[i];
        b->part[i] = (struct part){ dy, tape_in(nn, s->q), tape_in(nn, s->k), tape_in(nn, s->v),
                                    -1 };
        dy += s->T * a->heads.H * a->heads.hd;
        b->square = math_max(b->square, s->T * s->S);
        b->tall = math_max(b->tall, math_max(s->T, s->S) * a->heads.hd);
        if (chain(b->part, a->seq, i))
            group[count++] = i;
    }
    b->room = 3 * b->square + b->tall;
    return count;
}

static void attention_back(struct nn *nn, const void *ctx)
{
    const struct note *a = ctx;
    struct attention b = {
        .a = a, .kern = nn->kern, .seed = nn->tape->seed, .p = nn->tape->dropout
    };
    b.part = arena_calloc(nn->tape->mem, (size_t)a->n, sizeof *b.part);
    int64_t *group = arena_calloc(nn->tape->mem, (size_t)a->n, sizeof *group);
    if (!b.part || !group) {
        nn->failed = 1;
        return;
    }
    b.group = group;
    int64_t count = plan(nn, &b, group);
    size_t room = (size_t)(b.room * pool_threads(nn->pool));
    b.scratch = tape_take(nn, room);
    if (!b.scratch)
        return;
    pool_run(nn->pool, groups, &b, count * a->heads.H, 1);
    tape_give(nn, b.scratch, room);
}

void nn_back_attention(struct nn *nn, struct tensor y, struct nn_heads heads,
                       const struct nn_sequence *seq, int64_t n, uint64_t site)
{
    struct note a = { y, heads, NULL, n, site, nn->tape ? nn->tape->dropout : 0 };
    if (nn->failed || n == 0 ||
        !(tape_wants(nn, seq->q) || tape_wants(nn, seq->k) || tape_wants(nn, seq->v)))
        return;
    a.seq = arena_memdup(nn->tape->mem, seq, (size_t)n * sizeof *seq);
    if (!a.seq)
        nn->failed = 1;
    tape_note(nn, y, attention_back, &a, sizeof a);
}
