/* arena.h - memory with one lifetime: many allocations, one reset.
 *
 * Owns:      its chunks; what arena_alloc() gives lives until arena_reset() or arena_release().
 * Threads:   one arena belongs to one thread.
 * Errors:    NULL with err set (ERR_OS) when memory is short or the size overflows. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>

#define ARENA_ALIGN 64 /* a cache line; also one AVX-512 register */

struct arena_chunk;

struct arena {
    struct arena_chunk *chunk; /* newest first */
    struct arena_chunk *spare; /* the largest that was given back, or NULL */
    size_t peak;               /* bytes that all chunks together have had */
};

/* A zero-initialised struct arena is ready to use and owns nothing. */
void arena_init(struct arena *a);

/* n bytes, 64-byte aligned, not cleared. n = 0 gives a valid pointer. */
void *arena_alloc(struct arena *a, size_t n);

/* As arena_alloc(count * size), checked for overflow, cleared to zero. */
void *arena_calloc(struct arena *a, size_t count, size_t size);

/* A copy of n bytes, and of a string with its terminator. */
void *arena_memdup(struct arena *a, const void *p, size_t n);
char *arena_strndup(struct arena *a, const char *s, size_t n);

/* Where an arena stands, and back to it: allocations since then are forgotten (a layer's, when
 * its result is copied out), and the largest of their chunks is kept for the next. Marks are
 * given back in reverse order. */
struct arena_mark {
    struct arena_chunk *chunk;
    size_t used;
};
struct arena_mark arena_mark(const struct arena *a);
void arena_rewind(struct arena *a, struct arena_mark m);

/* Forgets every allocation. Keeps one chunk as large as all had been together, so that a steady
 * loop stops calling malloc after its first round. */
void arena_reset(struct arena *a);

/* Returns everything to the system; the arena is as after arena_init(). */
void arena_release(struct arena *a);

#endif
