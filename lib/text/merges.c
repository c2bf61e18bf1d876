/* merges.c - see merges.h. Symbols are a doubly linked list in an array. The heap holds pairs
 * that were neighbours when they were pushed, as rank << 32 | position; a popped one that no
 * longer is a pair of that rank is dropped. Its nodes have four children, one cache line for
 * two: with millions of pairs the misses are what takes time. */
#include "text/merges.h"

#include "base/err.h"
#include "base/math.h"

#include <stdlib.h>
#include <string.h>

struct merges_symbol {
    uint32_t id; /* MERGES_FREE: swallowed by its left neighbour */
    int32_t prev, next;
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

static void push(struct merges_work *w, uint64_t pair)
{
    BUG_ON(w->n >= w->heaps);
    size_t i = w->n++;
    for (; i > 0 && pair < w->heap[(i - 1) / 4]; i = (i - 1) / 4)
        w->heap[i] = w->heap[(i - 1) / 4];
    w->heap[i] = pair;
}

static uint64_t pop(struct merges_work *w)
{
    uint64_t top = w->heap[0], last = w->heap[--w->n];
    size_t i = 0, first;
    while ((first = 4 * i + 1) < w->n) {
        size_t least = first, end = first + 4 < w->n ? first + 4 : w->n;
        for (size_t child = first + 1; child < end; child++)
            least = w->heap[child] < w->heap[least] ? child : least;
        if (last <= w->heap[least])
            break;
        w->heap[i] = w->heap[least];
        i = least;
    }
    w->heap[i] = last;
    return top;
}

/* The rule for the symbol at `at` and its right neighbour, NULL if there is none. */
static const struct merges_rule *rule_at(const struct merges_work *w, const struct merges *m,
                                         int32_t at)
{
    const struct merges_symbol *left = &w->symbol[at];
    if (left->id == MERGES_FREE || left->next < 0)
        return NULL;
    const struct merges_rule *r = find(m, left->id, w->symbol[left->next].id);
    return r->id == MERGES_FREE ? NULL : r;
}

static void offer(struct merges_work *w, const struct merges *m, int32_t at)
{
    const struct merges_rule *r = at < 0 ? NULL : rule_at(w, m, at);
    if (r)
        push(w, (uint64_t)r->rank << 32 | (uint32_t)at);
}

static void merge(struct merges_work *w, const struct merges *m, uint64_t pair)
{
    int32_t at = (int32_t)(pair & UINT32_MAX);
    const struct merges_rule *r = rule_at(w, m, at);
    if (!r || r->rank != pair >> 32)
        return; /* the neighbours have changed since */
    struct merges_symbol *left = &w->symbol[at], *right = &w->symbol[left->next];
    left->id = r->id;
    left->next = right->next;
    if (right->next >= 0)
        w->symbol[right->next].prev = at;
    right->id = MERGES_FREE;
    offer(w, m, left->prev);
    offer(w, m, at);
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
