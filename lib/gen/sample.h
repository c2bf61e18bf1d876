/* sample.h - random numbers, and choosing a token by its score.
 *
 * The generator is xoshiro256++ 1.0 (Blackman and Vigna 2019), its state filled by splitmix64
 * from a seed, the number of a stream and of a sequence in it: a sequence's numbers depend on
 * nothing else, so the same seed gives the same answers for any batch and thread count. */
#ifndef GEN_SAMPLE_H
#define GEN_SAMPLE_H

#include <stdint.h>

struct gen_rng {
    uint64_t s[4];
};
void gen_rng_init(struct gen_rng *r, uint64_t seed, uint64_t stream, uint64_t sequence);
uint64_t gen_rng_next(struct gen_rng *r);

/* Uniform in (0, 1), 53 bits. */
double gen_rng_uniform(struct gen_rng *r);

/* The largest score; the first one of equals. */
int64_t gen_argmax(const float *scores, int64_t vocab);

/* A token by softmax(scores): one number of r, inverted over the ids in order. */
int64_t gen_draw(struct gen_rng *r, const float *scores, int64_t vocab);

/* Standard Gumbel: the k largest of (score + Gumbel) are k draws by softmax(score) without
 * replacement, in the order drawn (Kool et al. 2019). */
double gen_gumbel(struct gen_rng *r);

#endif
