/* tape.c - see tape.h. */
#include "nn/tape.h"

#include "base/err.h"

#include <string.h>

#define ALIGN ((size_t)ARENA_ALIGN)

void tape_init(struct tape *t, struct arena *mem)
{
    *t = (struct tape){ .mem = mem };
}

/* Room for one more of `size` bytes behind count; the old list is left in the arena. */
static void *more(struct arena *mem, void *list, int64_t count, int64_t *room, size_t size)
{
    if (count < *room)
        return list;
    int64_t wider = *room ? 2 * *room : 64;
    void *p = arena_alloc(mem, (size_t)wider * size);
    if (!p)
        return NULL;
    if (count)
        memcpy(p, list, (size_t)count * size);
    *room = wider;
    return p;
}

/* Index of the last span that begins at p or below; -1 if there is none. */
static int64_t below(const struct tape_spans *s, const void *p)
{
    int64_t lo = 0, hi = s->count;
    while (lo < hi) {
        int64_t mid = (lo + hi) / 2;
        if (s->of[mid].at <= (const char *)p)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo - 1;
}

static struct tape_span *span_in(const struct tape_spans *s, const void *p)
{
    int64_t i = below(s, p);
    return i >= 0 && (size_t)((const char *)p - s->of[i].at) < s->of[i].bytes ? &s->of[i]
                                                                              : NULL;
}

static struct tape_span *span_of(const struct nn *nn, const void *p)
{
    struct tape_span *s = nn->tape ? span_in(&nn->tape->results, p) : NULL;
    return s || !nn->tape ? s : span_in(&nn->tape->params, p);
}

static int add_span(struct tape_spans *s, struct tape_span span, struct arena *mem)
{
    struct tape_span *of = more(mem, s->of, s->count, &s->room, sizeof *of);
    if (!of)
        return -1;
    s->of = of;
    int64_t i = below(s, span.at) + 1;
    memmove(of + i + 1, of + i, (size_t)(s->count - i) * sizeof *of);
    of[i] = span;
    s->count++;
    return 0;
}

int tape_param(struct tape *t, struct tensor value, float *grad, bool *touched,
               struct arena *keep)
{
    return add_span(&t->params,
                    (struct tape_span){ value.data, tensor_bytes(value), grad, touched }, keep);
}

void tape_reset(struct tape *t)
{
    t->results = (struct tape_spans){ 0 };
    t->note = NULL;
    t->hole = NULL;
    t->notes = t->note_room = t->holes = t->hole_room = 0;
    arena_reset(t->mem);
}

bool tape_wants(const struct nn *nn, const void *p)
{
    return p && span_of(nn, p);
}

static void note(struct nn *nn, struct tape_note n, size_t size)
{
    struct tape *t = nn->tape;
    struct tape_note *note = more(t->mem, t->note, t->notes, &t->note_room, sizeof *note);
    n.ctx = arena_memdup(t->mem, n.ctx, size);
    if (!note || !n.ctx) {
        nn->failed = 1;
        return;
    }
    t->note = note;
    t->note[t->notes++] = n;
}

void tape_note(struct nn *nn, struct tensor out, tape_fn *back, const void *ctx, size_t size)
{
    struct tape_span span = { out.data, tensor_bytes(out), NULL, NULL };
    if (nn->failed)
        return;
    if (add_span(&nn->tape->results, span, nn->tape->mem) < 0)
        nn->failed = 1;
    else
        note(nn, (struct tape_note){ back, ctx, out.data, false }, size);
}

void tape_note_change(struct nn *nn, struct tensor out, tape_fn *back, const void *ctx,
                      size_t size)
{
    if (nn->failed)
        return;
    BUG_ON(!span_in(&nn->tape->results, out.data)); /* a parameter is nobody's to change */
    note(nn, (struct tape_note){ back, ctx, out.data, true }, size);
}

/* ---- memory that is free again ---- */

static size_t rounded(size_t bytes)
{
    return (bytes + ALIGN - 1) & ~(ALIGN - 1);
}

static void remove_hole(struct tape *t, int64_t i)
{
    memmove(t->hole + i, t->hole + i + 1, (size_t)(--t->holes - i) * sizeof *t->hole);
}

/* Joins hole i with the next if they touch. */
static void join(struct tape *t, int64_t i)
{
    struct tape_hole *h = t->hole + i;
    if (i < 0 || i + 1 >= t->holes || h->at + h->bytes != h[1].at)
        return;
    h->bytes += h[1].bytes;
    remove_hole(t, i + 1);
}

/* For want of a list entry the memory is lost until tape_reset(). */
static void give(struct tape *t, void *p, size_t bytes)
{
    struct tape_hole *hole = more(t->mem, t->hole, t->holes, &t->hole_room, sizeof *hole);
    int64_t i = 0;
    if (!hole)
        return;
    t->hole = hole;
    while (i < t->holes && hole[i].at < (char *)p)
        i++;
    memmove(hole + i + 1, hole + i, (size_t)(t->holes - i) * sizeof *hole);
    hole[i] = (struct tape_hole){ p, rounded(bytes) };
    t->holes++;
    join(t, i);
    join(t, i - 1);
}

/* The smallest hole that is large enough. */
static void *take(struct tape *t, size_t bytes)
{
    int64_t best = -1;
    bytes = rounded(bytes);
    for (int64_t i = 0; i < t->holes; i++)
        if (t->hole[i].bytes >= bytes && (best < 0 || t->hole[i].bytes < t->hole[best].bytes))
            best = i;
    if (best < 0 || bytes == 0)
        return arena_alloc(t->mem, bytes);
    struct tape_hole *h = t->hole + best;
    void *p = h->at;
    h->at += bytes;
    h->bytes -= bytes;
    if (h->bytes == 0)
        remove_hole(t, best);
    return p;
}

float *tape_take(struct nn *nn, size_t n)
{
    float *p = nn->failed ? NULL : take(nn->tape, n * sizeof *p);
    if (!p)
        nn->failed = 1;
    return p;
}

void tape_give(struct nn *nn, float *p, size_t n)
{
    if (p)
        give(nn->tape, p, n * sizeof *p);
}

/* ---- gradients ---- */

const float *tape_out(const struct nn *nn, const void *p)
{
    return span_in(&nn->tape->results, p)->grad;
}

float *tape_in(struct nn *nn, const void *p)
{
    struct tape_span *s = p ? span_of(nn, p) : NULL;
    if (!s)
        return NULL;
    if (s->touched)
        *s->touched = true;
    if (!s->grad && (s->grad = tape_take(nn, s->bytes / sizeof *s->grad)))
        memset(s->grad, 0, s->bytes);
    return s->grad ? s->grad + ((const char *)p - s->at) / (ptrdiff_t)sizeof *s->grad : NULL;
}

void tape_seed(struct nn *nn, struct tensor t)
{
    struct tape_span *s = nn->failed ? NULL : span_in(&nn->tape->results, t.data);
    if (s)
        s->grad = t.data;
}

/* The result's turn is over: its memory and its gradient's serve again. */
static void retire(struct tape *t, const void *out)
{
    struct tape_span *s = span_in(&t->results, out);
    if (s->grad && s->grad != out)
        give(t, s->grad, s->bytes);
    give(t, (void *)(uintptr_t)s->at, s->bytes);
    s->bytes = 0;
}

void tape_backward(struct nn *nn)
{
    struct tape *t = nn->tape;
    while (t->notes > 0 && !nn->failed) {
        const struct tape_note *n = &t->note[--t->notes];
        if (tape_out(nn, n->out))
            n->back(nn, n->ctx);
        if (!n->change)
            retire(t, n->out);
    }
}
