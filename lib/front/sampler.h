/* sampler.h - which pair comes next: each set in an order of its own, new in every round, and
 * between the sets by weight. Everything is a function of the seed and of a few counters, so
 * that a run that was stopped goes on as if it had not been.
 *
 * Errors:  -1 with err set (ERR_OS). */
#ifndef FRONT_SAMPLER_H
#define FRONT_SAMPLER_H

#include "front/pairs.h"

struct sampler_set {
    int64_t drawn; /* since the beginning */
    int64_t round; /* that `order` is of; negative: none yet */
    int *order;    /* of its pairs */
};

struct sampler {
    const struct pairs *pairs;
    uint64_t seed;
    int64_t draws; /* all sets' together */
    struct sampler_set *set;
};

int sampler_init(struct sampler *s, const struct pairs *p, uint64_t seed);
void sampler_release(struct sampler *s);

/* Index of the next pair. */
int sampler_next(struct sampler *s);

/* A number from 0 to n - 1 that depends on its arguments alone. Source: Steele et al. 2014,
 * SplitMix64's finaliser. */
int64_t sampler_draw(uint64_t seed, uint64_t stream, uint64_t at, int64_t n);

#endif
