/* compute.c - see compute.h. */
#include "front/compute.h"

#include "base/clock.h"
#include "cli/die.h"
#include "cli/env.h"
#include "front/model.h"

#include <sys/resource.h>
#include <unistd.h>

#define FEW_FAULTS 16 /* a second: others push pages out now and then */

bool compute_is_watched(void)
{
    return isatty(STDERR_FILENO);
}

/* A line a second, for somebody who is waiting. */
static void tell(void *ctx, size_t bytes)
{
    struct compute *c = ctx;
    if (clock_seconds() - c->told < 1)
        return;
    c->told = clock_seconds();
    cli_warn("weights to %s: %.1f GB so far", c->making, (double)bytes / 1e9);
}

static void quantize(struct compute *c, int scheme)
{
    const struct quant q = { (enum quant_scheme)scheme, QUANT_GROUP };
    c->making = quant_words[scheme];
    c->told = clock_seconds();
    store_quantize(c->store, q, c->pool, compute_is_watched() ? tell : NULL, c);
}

void compute_watch(void *ctx, int layer, struct tensor hidden)
{
    struct compute *c = ctx;
    double now = clock_seconds();
    struct rusage u;
    (void)hidden;
    if (layer == 0 && c->passes++ == 0)
        c->told = now;
    if (c->passes > 1 || now - c->told < 1 || getrusage(RUSAGE_SELF, &u) < 0)
        return;
    if (u.ru_majflt - c->faults >= FEW_FAULTS)
        cli_warn("reading weights from disk: %d layers so far", layer);
    c->told = now;
    c->faults = u.ru_majflt;
}

int compute_open(struct compute *c, const struct cli_model *args)
{
    char dir[4096];
    arena_init(&c->weights);
    arena_init(&c->scratch);
    if (front_model(dir, sizeof dir, args->model) < 0)
        return -1;
    c->store = store_open(dir);
    if (!c->store)
        return -1;
    c->pool = pool_new(env_threads(args->threads));
    if (!c->pool)
        return -1;
    if (args->weights)
        quantize(c, args->weights);
    return nn_init(&c->nn, &c->scratch, c->pool, env_cpu());
}

void compute_close(struct compute *c)
{
    pool_free(c->pool);
    store_close(c->store);
    arena_release(&c->weights);
    arena_release(&c->scratch);
}

const char *compute_version(void)
{
    static char text[NN_KERNELS];
    return nn_kernels(text, env_cpu());
}
