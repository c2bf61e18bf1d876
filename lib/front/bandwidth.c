/* bandwidth.c - see bandwidth.h. */
#include "front/bandwidth.h"

#include "base/clock.h"
#include "base/err.h"

#include <stdlib.h>
#include <string.h>

#define WORDS  ((int64_t)32 << 20) /* of 8 bytes */
#define PIECE  ((int64_t)1 << 16)
#define PASSES 3

struct pass {
    const uint64_t *words;
    uint64_t *sum; /* a cache line a thread; kept, or nothing would be read */
};

static int read_words(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct pass *p = ctx;
    uint64_t a = 0, b = 0, c = 0, d = 0;
    for (const uint64_t *w = p->words + begin, *stop = p->words + end; w < stop; w += 4) {
        a += w[0];
        b += w[1];
        c += w[2];
        d += w[3];
    }
    p->sum[8 * worker] += a + b + c + d;
    return 0;
}

int bandwidth_measure(double *bytes_per_second, struct pool *pool)
{
    size_t bytes = (size_t)WORDS * sizeof(uint64_t);
    uint64_t *words = malloc(bytes);
    uint64_t *sum = calloc(8 * (size_t)pool_threads(pool), sizeof *sum);
    double best = 0;
    struct pass p = { words, sum };
    if (words && sum)
        memset(words, 1, bytes);
    for (int i = 0; words && sum && i < PASSES; i++) {
        double begin = clock_seconds();
        pool_run(pool, read_words, &p, WORDS, PIECE);
        double rate = (double)bytes / (clock_seconds() - begin);
        best = rate > best ? rate : best;
    }
    free(words);
    free(sum);
    *bytes_per_second = best;
    return best > 0 ? 0 : err_nomem("256 MiB to measure the memory with");
}
