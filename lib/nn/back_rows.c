/* back_rows.c - sums, picked rows and dropout, backwards: a gradient goes where its row came
 * from. Columns are split among threads, so each sum runs over rows in their order. */
#include "base/err.h"
#include "base/math.h"
#include "kern/kern.h"
#include "nn/back.h"

#define COLUMNS 64

/* Row i of from is added to row at(i) of to. */
struct scatter {
    const struct kern *kern;
    const float *from;
    float *to;
    const int64_t *idx;                    /* NULL: i % period */
    int64_t rows, D, first, count, period; /* idx in [first, first + count) belong to `to` */
};

static int scatter_columns(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct scatter *s = ctx;
    (void)worker;
    for (int64_t i = 0; i < s->rows; i++) {
        int64_t to = s->idx ? s->idx[i] - s->first : i % s->period;
        if (to < 0 || to >= s->count)
            continue;
        float *row = s->to + to * s->D + begin;
        s->kern->add(row, row, s->from + i * s->D + begin, (size_t)(end - begin));
    }
    return 0;
}

static void scatter(struct nn *nn, struct scatter s)
{
    s.kern = nn->kern;
    if (s.to && s.rows * s.D < 65536)
        scatter_columns(&s, 0, s.D, 0);
    else if (s.to)
        pool_run(nn->pool, scatter_columns, &s, s.D, COLUMNS);
}

struct add {
    struct tensor y, a, b;
};

static void add_back(struct nn *nn, const void *ctx)
{
    const struct add *c = ctx;
    int64_t D = c->y.dim[c->y.ndim - 1], rows = tensor_count(c->y) / D;
    int64_t period = tensor_count(c->b) / D;
    const float *dy = tape_out(nn, c->y.data);
    scatter(nn, (struct scatter){ .from = dy,
                                  .to = tape_in(nn, c->a.data),
                                  .rows = rows,
                                  .D = D,
                                  .count = rows,
                                  .period = rows });
    scatter(nn, (struct scatter){ .from = dy,
                                  .to = tape_in(nn, c->b.data),
                                  .rows = rows,
                                  .D = D,
                                  .count = period,
                                  .period = period });
}

void nn_back_add(struct nn *nn, struct tensor y, struct tensor a, struct tensor b)
{
    struct add c = { y, a, b };
    if (tape_wants(nn, a.data) || tape_wants(nn, b.data))
        tape_note(nn, y, add_back, &c, sizeof c);
}

struct pick {
    struct tensor y, a, b;
    const int64_t *idx;
};

static int64_t rows_of(struct tensor t)
{
    return t.data ? tensor_count(t) / t.dim[t.ndim - 1] : 0;
}

static void pick_back(struct nn *nn, const void *ctx)
{
    const struct pick *p = ctx;
    struct scatter s = { .from = tape_out(nn, p->y.data),
                         .to = tape_in(nn, p->a.data),
                         .idx = p->idx,
                         .rows = p->y.dim[0],
                         .D = p->y.dim[1],
                         .count = rows_of(p->a) };
    scatter(nn, s);
    s.to = tape_in(nn, p->b.data);
    s.first = s.count;
    s.count = rows_of(p->b);
    scatter(nn, s);
}

void nn_back_pick(struct nn *nn, struct tensor y, struct tensor a, struct tensor b,
                  const int64_t *idx)
{
    struct pick p = { .y = y, .a = a, .b = b };
    if (nn->failed || !(tape_wants(nn, a.data) || tape_wants(nn, b.data)))
        return;
    p.idx = arena_memdup(nn->tape->mem, idx, (size_t)y.dim[0] * sizeof *idx);
    if (!p.idx)
        nn->failed = 1;
    tape_note(nn, y, pick_back, &p, sizeof p);
}

/* ---- dropout ---- */

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
    x = (x ^ x >> 27) * 0x94D049BB133111EBu;
    return x ^ x >> 31;
}

/* Source: the finaliser of splitmix64 (Steele, Lea, Flood 2014), thrice. */
uint64_t nn_drop_row(uint64_t seed, uint64_t site, uint64_t key)
{
    return mix(mix(mix(seed + 0x9E3779B97F4A7C15u) + site) + key);
}

uint32_t nn_drop_below(double p)
{
    return (uint32_t)(p * 4294967295.0);
}

void nn_drop_some(float *x, int64_t n, double p, uint64_t row, int64_t first)
{
    uint32_t below = nn_drop_below(p);
    float scale = (float)(1 / (1 - p));
    for (int64_t i = 0; i < n; i++)
        x[i] = nn_drops(row, below, (uint64_t)(first + i)) ? 0 : scale * x[i];
}

struct dropout {
    struct tensor x;
    const uint64_t *key;
    uint64_t site, seed;
    double p;
    float *at; /* x's values, or their gradients */
};

/* What was dropped becomes 0, the rest is scaled up; so too on the way back. */
static int dropout_rows(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct dropout *d = ctx;
    int64_t D = d->x.dim[d->x.ndim - 1];
    (void)worker;
    for (int64_t r = begin; r < end; r++)
        nn_drop_some(d->at + r * D, D, d->p, nn_drop_row(d->seed, d->site, d->key[r]), 0);
    return 0;
}

static void run_dropout(struct nn *nn, struct dropout *d)
{
    int64_t D = d->x.dim[d->x.ndim - 1];
    pool_run(nn->pool, dropout_rows, d, tensor_count(d->x) / D, 16384 / D + 1);
}

static void dropout_back(struct nn *nn, const void *ctx)
{
    struct dropout d = *(const struct dropout *)ctx;
    d.at = tape_in(nn, d.x.data);
    run_dropout(nn, &d);
}

struct tensor nn_dropout(struct nn *nn, struct tensor x, const uint64_t *key)
{
    if (nn->failed || !nn->tape || nn->tape->dropout <= 0 || !key)
        return x;
    struct dropout d = { .x = x,
                         .key = key,
                         .site = nn->tape->site++,
                         .seed = nn->tape->seed,
                         .p = nn->tape->dropout,
                         .at = x.data };
    run_dropout(nn, &d);
    if (tape_wants(nn, x.data))
        tape_note_change(nn, x, dropout_back, &d, sizeof d);
    return x;
}
