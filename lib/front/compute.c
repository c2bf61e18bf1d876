/* compute.c - see compute.h. */
#include "front/compute.h"

#include "cli/env.h"
#include "front/model.h"

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
