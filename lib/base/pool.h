/* pool.h - the only threads there are: a fixed crew that splits a range of independent work.
 *
 * Every index is computed by exactly one thread and no result depends on how the range is cut,
 * so the bits are the same for any number of threads: callers must keep it so (split by output
 * rows; never sum across indices).
 *
 * Owns:     its threads, until pool_free().
 * Errors:   the first failing worker's error is the caller's. */
#ifndef BASE_POOL_H
#define BASE_POOL_H

#include <stdint.h>

struct pool;

/* Work on indices [begin, end); worker is 0..threads-1, for scratch space. 0, or -1 with err
 * set. */
typedef int pool_fn(void *ctx, int64_t begin, int64_t end, int worker);

/* threads >= 1, the caller included. NULL with err set if they cannot be started. */
struct pool *pool_new(int threads);
void pool_free(struct pool *p);

int pool_threads(const struct pool *p); /* p may be NULL: 1 */

/* Calls fn over [0, n) in pieces of one or more whole `grain`, but for the last; p may be NULL
 * (the caller does it all). */
int pool_run(struct pool *p, pool_fn *fn, void *ctx, int64_t n, int64_t grain);

#endif
