/* arena.c - chunked bump allocation: see arena.h. */
#include "base/arena.h"

#include "base/err.h"
#include "base/math.h"

#include <stdlib.h>
#include <string.h>

#define CHUNK_MIN ((size_t)64 << 10)

struct arena_chunk {
    struct arena_chunk *older;
    size_t used, size; /* bytes of data[] */
    _Alignas(ARENA_ALIGN) unsigned char data[];
};

void arena_init(struct arena *a)
{
    *a = (struct arena){ 0 };
}

static struct arena_chunk *chunk_new(size_t size)
{
    size_t total;
    if (!math_add(&total, size, sizeof(struct arena_chunk) + ARENA_ALIGN))
        return err_null(ERR_OS, "allocation of %zu bytes overflows", size);
    total &= ~(size_t)(ARENA_ALIGN - 1);
    struct arena_chunk *c = aligned_alloc(ARENA_ALIGN, total);
    if (!c)
        return err_null(ERR_OS, "out of memory allocating %zu bytes", size);
    c->older = NULL;
    c->used = 0;
    c->size = total - sizeof *c;
    return c;
}

/* The spare chunk if n bytes fit, else none any more. */
static struct arena_chunk *take_spare(struct arena *a, size_t n)
{
    struct arena_chunk *c = a->spare;
    a->spare = NULL;
    if (c && c->size >= n)
        return c;
    free(c);
    return NULL;
}

static void give_back(struct arena *a, struct arena_chunk *c)
{
    struct arena_chunk *smaller = c;
    c->older = NULL;
    c->used = 0;
    if (!a->spare || a->spare->size < c->size) {
        smaller = a->spare;
        a->spare = c;
    }
    free(smaller);
}

/* A new chunk at least as large as all the others: few chunks, whatever the need. */
static int grow(struct arena *a, size_t n)
{
    size_t want = a->chunk ? a->chunk->size * 2 : CHUNK_MIN;
    struct arena_chunk *c = take_spare(a, n);
    if (!c && !(c = chunk_new(n > want ? n : want)))
        return -1;
    c->older = a->chunk;
    a->chunk = c;
    return 0;
}

void *arena_alloc(struct arena *a, size_t n)
{
    size_t need;
    if (!math_add(&need, n, ARENA_ALIGN - 1))
        return err_null(ERR_OS, "allocation of %zu bytes overflows", n);
    need &= ~(size_t)(ARENA_ALIGN - 1);
    if ((!a->chunk || a->chunk->size - a->chunk->used < need) && grow(a, need) < 0)
        return NULL;
    void *p = a->chunk->data + a->chunk->used;
    a->chunk->used += need;
    return p;
}

void *arena_calloc(struct arena *a, size_t count, size_t size)
{
    size_t n;
    if (!math_mul(&n, count, size))
        return err_null(ERR_OS, "allocation of %zu x %zu bytes overflows", count, size);
    void *p = arena_alloc(a, n);
    if (p)
        memset(p, 0, n);
    return p;
}

void *arena_memdup(struct arena *a, const void *p, size_t n)
{
    void *q = arena_alloc(a, n);
    if (q && n)
        memcpy(q, p, n);
    return q;
}

char *arena_strndup(struct arena *a, const char *s, size_t n)
{
    char *q = arena_alloc(a, n + 1);
    if (!q)
        return NULL;
    if (n)
        memcpy(q, s, n);
    q[n] = '\0';
    return q;
}

/* Gives back the chunks above `last`. */
static void drop_chunks(struct arena *a, struct arena_chunk *last)
{
    size_t total = 0;
    for (struct arena_chunk *c = a->chunk; c; c = c->older)
        total += c->size;
    a->peak = total > a->peak ? total : a->peak;
    while (a->chunk != last) {
        struct arena_chunk *older = a->chunk->older;
        give_back(a, a->chunk);
        a->chunk = older;
    }
}

struct arena_mark arena_mark(const struct arena *a)
{
    return (struct arena_mark){ a->chunk, a->chunk ? a->chunk->used : 0 };
}

void arena_rewind(struct arena *a, struct arena_mark m)
{
    drop_chunks(a, m.chunk);
    if (a->chunk)
        a->chunk->used = m.used;
}

void arena_reset(struct arena *a)
{
    struct arena_chunk *c = a->chunk;
    if (c && !c->older && c->size >= a->peak) {
        c->used = 0;
        return;
    }
    drop_chunks(a, NULL);
    a->chunk = take_spare(a, a->peak);
    if (!a->chunk && a->peak)
        a->chunk = chunk_new(a->peak); /* NULL is fine: the next allocation tries again */
}

void arena_release(struct arena *a)
{
    drop_chunks(a, NULL);
    free(a->spare);
    arena_init(a);
}
