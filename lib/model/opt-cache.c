/* opt-cache.c - keys and values of what was read: see opt.h and opt-cache.h. */
#include "model/opt-cache.h"

#include "base/err.h"
#include "base/math.h"
#include "model/opt.h"

#include <string.h>

static int allocate(struct opt_cache *c)
{
    size_t n = (size_t)c->sequences, floats = n;
    if (!math_mul(&floats, floats, (size_t)c->layers * 2) ||
        !math_mul(&floats, floats, (size_t)c->positions) ||
        !math_mul(&floats, floats, (size_t)c->width) ||
        !math_mul(&floats, floats, sizeof *c->data))
        return err_nomem("keys and values");
    c->data = arena_alloc(&c->mem, floats);
    c->slot = arena_calloc(&c->mem, n, sizeof *c->slot);
    c->length = arena_calloc(&c->mem, n, sizeof *c->length);
    c->old = arena_calloc(&c->mem, n, sizeof *c->old);
    c->was = arena_calloc(&c->mem, n, sizeof *c->was);
    c->taken = arena_calloc(&c->mem, n, sizeof *c->taken);
    return c->data && c->slot && c->length && c->old && c->was && c->taken ? 0 : -1;
}

struct opt_cache *opt_cache_make(int sequences, int positions, int layers, int64_t width)
{
    struct arena mem;
    arena_init(&mem);
    struct opt_cache *c = arena_calloc(&mem, 1, sizeof *c);
    if (!c)
        return NULL;
    *c = (struct opt_cache){ .mem = mem,
                             .sequences = sequences,
                             .positions = positions,
                             .layers = layers,
                             .width = width };
    if (allocate(c) < 0) {
        opt_cache_free(c);
        return NULL;
    }
    for (int i = 0; i < sequences; i++)
        c->slot[i] = i;
    return c;
}

void opt_cache_free(struct opt_cache *c)
{
    if (!c)
        return;
    struct arena mem = c->mem; /* the struct lies in it */
    arena_release(&mem);
}

static float *rows(const struct opt_cache *c, int slot, int layer, int kv)
{
    int64_t row = ((int64_t)slot * c->layers + layer) * 2 + kv;
    return c->data + row * c->positions * c->width;
}

float *opt_cache_rows(const struct opt_cache *c, int seq, int layer, int kv)
{
    return rows(c, c->slot[seq], layer, kv);
}

struct opt_cache *opt_cache_grow(struct opt_cache *c, int positions)
{
    struct opt_cache *big = opt_cache_make(c->sequences, positions, c->layers, c->width);
    for (int s = 0; big && s < c->sequences; s++) {
        size_t bytes = (size_t)c->length[s] * (size_t)c->width * sizeof *c->data;
        for (int l = 0; l < c->layers; l++)
            for (int kv = 0; kv < 2; kv++)
                memcpy(rows(big, s, l, kv), opt_cache_rows(c, s, l, kv), bytes);
        big->length[s] = c->length[s];
    }
    if (big)
        opt_cache_free(c);
    return big;
}

int opt_cache_length(const struct opt_cache *c, int seq)
{
    return c->length[seq];
}

void opt_cache_truncate(struct opt_cache *c, int seq, int length)
{
    c->length[seq] = (int)math_min(c->length[seq], math_max(length, 0));
}

static void copy_slot(struct opt_cache *c, int dst, int src, int length)
{
    size_t bytes = (size_t)length * (size_t)c->width * sizeof *c->data;
    for (int l = 0; l < c->layers; l++)
        for (int kv = 0; kv < 2; kv++)
            memcpy(rows(c, dst, l, kv), rows(c, src, l, kv), bytes);
}

void opt_cache_copy(struct opt_cache *c, int dst, int src, int length)
{
    int n = (int)math_min(length, c->length[src]);
    if (dst != src)
        copy_slot(c, c->slot[dst], c->slot[src], n);
    c->length[dst] = n;
}

/* The first child of a parent takes its slot over. Gives how many children still need one. */
static int inherit(struct opt_cache *c, int first, const int *parent, int n)
{
    int orphans = 0;
    for (int i = 0; i < n; i++) {
        int p = first + parent[i];
        c->length[first + i] = c->was[p];
        c->slot[first + i] = c->taken[p] ? -1 : c->old[p];
        orphans += c->taken[p];
        c->taken[p] = true;
    }
    return orphans;
}

int opt_cache_reorder(struct opt_cache *c, int first, const int *parent, int n)
{
    BUG_ON(first < 0 || n < 0 || first + n > c->sequences);
    for (int i = first; i < first + n; i++) {
        BUG_ON(parent[i - first] < 0 || parent[i - first] >= n);
        c->old[i] = c->slot[i];
        c->was[i] = c->length[i];
        c->taken[i] = false;
    }
    int orphans = inherit(c, first, parent, n), spare = first;
    for (int i = first; orphans && i < first + n; i++) {
        if (c->slot[i] >= 0)
            continue;
        while (c->taken[spare])
            spare++;
        c->slot[i] = c->old[spare++];
        copy_slot(c, c->slot[i], c->old[first + parent[i - first]], c->length[i]);
        orphans--;
    }
    return 0;
}
