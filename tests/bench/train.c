/* train.c - training steps at the sizes of a checkpoint, on made-up features and words: one for
 * each line of standard input, whose time and memory it tells. For train.py.
 *
 *     train DIR STAGE PAIRS THREADS WORDS */
#include "train/train.h"
#include "base/err.h"
#include "base/pool.h"
#include "model/qformer.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#define PATCHES 257
#define TEXT    32

static double seconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static struct train_batch make_batch(struct arena *mem, int64_t B, int64_t E, int64_t words)
{
    struct train_batch b = { .B = B, .T = TEXT, .weight = 1 };
    float *x = arena_alloc(mem, (size_t)(B * PATCHES * E) * sizeof *x);
    int64_t *ids = arena_calloc(mem, (size_t)(B * TEXT), sizeof *ids);
    int64_t *length = arena_calloc(mem, (size_t)B, sizeof *length);
    if (!x || !ids || !length)
        return b;
    for (int64_t i = 0; i < B * PATCHES * E; i++)
        x[i] = (float)(i * 7919 % 1009) / 500 - 1;
    for (int64_t i = 0; i < B * words; i++)
        ids[i / words * TEXT + i % words] = 1000 + i * 37 % 20000;
    for (int64_t i = 0; i < B; i++)
        length[i] = words;
    b.features = tensor_3d(x, DT_F32, B, PATCHES, E);
    b.ids = ids;
    b.length = length;
    return b;
}

static int step(struct train *t, struct train_batch *b)
{
    struct train_losses l;
    struct rusage r;
    double wall = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID), norm;
    if (train_gradients(&l, t, b) < 0 || train_grad_norm(&norm, t) < 0 ||
        train_update(t, 1e-4) < 0)
        return -1;
    b->number++;
    getrusage(RUSAGE_SELF, &r);
    printf("{\"wall\": %.3f, \"cpu\": %.3f, \"loss\": %.5f, \"mib\": %ld}\n",
           seconds(CLOCK_MONOTONIC) - wall, seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu, l.sum,
           r.ru_maxrss / 1024);
    return fflush(stdout);
}

static int run(struct train *t, struct train_batch *b)
{
    char line[8];
    while (fgets(line, sizeof line, stdin))
        if (step(t, b) < 0)
            return -1;
    return 0;
}

int main(int argc, char **argv)
{
    if (argc != 6)
        return 64;
    struct arena mem = { 0 };
    struct train_options o = train_defaults(atoi(argv[2]));
    o.init = true;
    struct store *st = store_open(argv[1]);
    struct pool *pool = pool_new(atoi(argv[4]));
    struct train *t = st && pool ? train_open(st, NULL, &o, pool, NULL) : NULL;
    struct train_batch b = { 0 };
    if (t)
        b = make_batch(&mem, atoi(argv[3]), qformer_encoder_size(train_qformer(t)),
                       atoi(argv[5]));
    int rc = t && b.length ? run(t, &b) : -1;
    if (rc < 0)
        fprintf(stderr, "train: %s\n", err_msg());
    train_close(t);
    pool_free(pool);
    store_close(st);
    arena_release(&mem);
    return rc < 0;
}
