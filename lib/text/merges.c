/* merges.c - see merges.h. Symbols are a doubly linked list in an array; the heap holds pairs
 * that were neighbours when they were pushed, and a popped pair that no longer is one is
 * dropped. */
#include "text/merges.h"

#include "base/err.h"
#include "base/math.h"

#include <stdlib.h>
#include <string.h>

struct merges_symbol {
    uint32_t id; /* MERGES_FREE: swallowed by its left neighbour */
    int32_t prev, next;
};

struct merges_pair {
    uint32_t rank;
    int32_t at; /* the left symbol */
    uint32_t id;
};

int merges_init(struct merges *m, size_t count)
{
    size_t slots = 16;
    while (slots / 2 < count)
        slots *= 2;
    m->rule = malloc(slots * sizeof *m->rule);
    if (!m->rule)
        return err_nomem("merges");
    memset(m->rule, 0xff, slots * sizeof *m->rule); /* MERGES_FREE */
    m->mask = slots - 1;
    return 0;
}

void merges_release(struct merges *m)
{
    free(m->rule);
    *m = (struct merges){ 0 };
}

static struct merges_rule *find(const struct merges *m, uint32_t left, uint32_t right)
{
    uint64_t h = ((uint64_t)left << 32 | right) * 0x9e3779b97f4a7c15u;
    for (size_t i = h >> 32;; i++) {
        struct merges_rule *r = &m->rule[i & m->mask];
        if (r->id == MERGES_FREE || (r->left == left && r->right == right))
            return r;
    }
}

void merges_add(struct merges *m, uint32_t left, uint32_t right, uint32_t id, uint32_t rank)
{
    *find(m, left, right) = (struct merges_rule){ left, right, id, rank };
}

void merges_work_release(struct merges_work *w)
{
    free(w->symbol);
    free(w->heap);
    *w = (struct merges_work){ 0 };
}

/* Each merge takes one pair out and puts at most two in, and there are fewer than n merges. */
static int reserve(struct merges_work *w, size_t n)
{
    size_t bytes, pairs;
    if (n <= w->symbols)
        return 0;
    if (!math_mul(&pairs, n, 2) || !math_mul(&bytes, pairs, sizeof *w->heap))
        return err_nomem("a text to merge");
    merges_work_release(w);
    w->symbol = malloc(n * sizeof *w->symbol);
    w->heap = malloc(bytes);
    if (!w->symbol || !w->heap)
        return err_nomem("a text to merge");
    w->symbols = n;
    w->heaps = pairs;
    return 0;
}

static int before(const struct merges_pair *a, const struct merges_pair *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->at < b->at;
}

static void push(struct merges_work *w, struct merges_pair p)
{
    BUG_ON(w->n >= w->heaps);
    size_t i = w->n++;
    for (; i > 0 && before(&p, &w->heap[(i - 1) / 2]); i = (i - 1) / 2)
        w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = p;
}

static struct merges_pair pop(struct merges_work *w)
{
    struct merges_pair top = w->heap[0], last = w->heap[--w->n];
    size_t i = 0, child;
    while ((child = 2 * i + 1) < w->n) {
        if (child + 1 < w->n && before(&w->heap[child + 1], &w->heap[child]))
            child++;
        if (!before(&w->heap[child], &last))
            break;
        w->heap[i] = w->heap[child];
        i = child;
    }
    w->heap[i] = last;
    return top;
}

/* Pushes the pair that begins with symbol `at`, if there is a rule for it. */
static void offer(struct merges_work *w, const struct merges *m, int32_t at)
{
    if (at < 0 || w->symbol[at].next < 0)
        return;
    const struct merges_rule *r = find(m, w->symbol[at].id, w->symbol[w->symbol[at].next].id);
    if (r->id != MERGES_FREE)
        push(w, (struct merges_pair){ r->rank, at, r->id });
}

static void merge(struct merges_work *w, const struct merges *m, struct merges_pair p)
{
    struct merges_symbol *left = &w->symbol[p.at];
    if (left->id == MERGES_FREE || left->next < 0)
        return;
    struct merges_symbol *right = &w->symbol[left->next];
    if (find(m, left->id, right->id)->id != p.id)
        return; /* the neighbours have changed since */
    left->id = p.id;
    left->next = right->next;
    if (right->next >= 0)
        w->symbol[right->next].prev = p.at;
    right->id = MERGES_FREE;
    offer(w, m, left->prev);
    offer(w, m, p.at);
}

int merges_apply(uint32_t *id, size_t *n, const struct merges *m, struct merges_work *w)
{
    if (*n < 2)
        return 0;
    if (reserve(w, *n) < 0)
        return -1;
    int32_t count = (int32_t)*n;
    for (int32_t i = 0; i < count; i++)
        w->symbol[i] = (struct merges_symbol){ id[i], i - 1, i + 1 < count ? i + 1 : -1 };
    w->n = 0;
    for (int32_t i = 0; i < count; i++)
        offer(w, m, i);
    while (w->n)
        merge(w, m, pop(w));
    *n = 0;
    for (int32_t i = 0; i >= 0; i = w->symbol[i].next)
        id[(*n)++] = w->symbol[i].id;
    return 0;
}
