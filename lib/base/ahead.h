/* ahead.h - work begun before its result is needed: a few threads of their own, so that what
 * waits for the disk or decodes a picture runs beside what computes (base/pool.h).
 *
 * Pieces of work are numbered slots, begun in any order and worked on in that order.
 * Owns:     its threads, until ahead_free().
 * Errors:   those of a piece of work are its own business: threads have an `err` each. */
#ifndef BASE_AHEAD_H
#define BASE_AHEAD_H

struct ahead;

typedef void ahead_fn(void *ctx, int slot);

/* NULL with err set if the threads cannot be started. */
struct ahead *ahead_new(int threads, int slots, ahead_fn *fn, void *ctx);

/* Waits for what was begun, and drops what nobody has taken up yet. */
void ahead_free(struct ahead *a);

/* A slot is begun, then waited for, before it is begun again. */
void ahead_begin(struct ahead *a, int slot);
void ahead_wait(struct ahead *a, int slot);

#endif
