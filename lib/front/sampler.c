/* sampler.c - see sampler.h. */
#include "front/sampler.h"

#include "base/err.h"

#include <stdlib.h>

static uint64_t mix(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static uint64_t bits(uint64_t seed, uint64_t stream, uint64_t at)
{
    return mix(mix(mix(seed) ^ stream) ^ at);
}

int64_t sampler_draw(uint64_t seed, uint64_t stream, uint64_t at, int64_t n)
{
    return (int64_t)(bits(seed, stream, at) % (uint64_t)n);
}

int sampler_init(struct sampler *s, const struct pairs *p, uint64_t seed)
{
    *s = (struct sampler){ .pairs = p, .seed = seed };
    s->set = calloc((size_t)p->sets, sizeof *s->set);
    if (!s->set)
        return err_nomem("an order");
    for (int k = 0; k < p->sets; k++) {
        s->set[k].round = -1;
        s->set[k].order = calloc((size_t)p->set[k].count, sizeof(int));
        if (!s->set[k].order)
            return err_nomem("an order");
    }
    return 0;
}

void sampler_release(struct sampler *s)
{
    for (int k = 0; s->set && k < s->pairs->sets; k++)
        free(s->set[k].order);
    free(s->set);
    s->set = NULL;
}

/* Fisher and Yates. */
static void shuffle(struct sampler *s, int k, int64_t round)
{
    int n = s->pairs->set[k].count, *order = s->set[k].order;
    uint64_t stream = bits(s->seed, (uint64_t)k + 1, (uint64_t)round);
    for (int i = 0; i < n; i++)
        order[i] = s->pairs->set[k].first + i;
    for (int i = n - 1; i > 0; i--) {
        int j = (int)sampler_draw(s->seed, stream, (uint64_t)i, i + 1), kept = order[i];
        order[i] = order[j];
        order[j] = kept;
    }
    s->set[k].round = round;
}

/* By weight, from 53 bits of chance. */
static int choose_set(const struct sampler *s)
{
    const struct pairs *p = s->pairs;
    double sum = 0, at;
    for (int k = 0; k < p->sets; k++)
        sum += p->set[k].weight;
    at = sum * (double)(bits(s->seed, 0, (uint64_t)s->draws) >> 11) * 0x1p-53;
    for (int k = 0; k < p->sets - 1; k++)
        if ((at -= p->set[k].weight) < 0)
            return k;
    return p->sets - 1;
}

int sampler_next(struct sampler *s)
{
    int k = choose_set(s);
    struct sampler_set *set = &s->set[k];
    int64_t n = s->pairs->set[k].count, round = set->drawn / n, at = set->drawn % n;
    if (set->round != round)
        shuffle(s, k, round);
    set->drawn++;
    s->draws++;
    return set->order[at];
}
