/* sample.c - see sample.h. */
#include "gen/sample.h"

#include <math.h>

static uint64_t splitmix64(uint64_t *x)
{
    uint64_t z = (*x += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void gen_rng_init(struct gen_rng *r, uint64_t seed, uint64_t stream, uint64_t sequence)
{
    uint64_t x = seed;
    x = splitmix64(&x) ^ stream;
    x = splitmix64(&x) ^ sequence;
    for (int i = 0; i < 4; i++)
        r->s[i] = splitmix64(&x);
}

static uint64_t rotl(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

uint64_t gen_rng_next(struct gen_rng *r)
{
    uint64_t *s = r->s, out = rotl(s[0] + s[3], 23) + s[0], t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return out;
}

double gen_rng_uniform(struct gen_rng *r)
{
    return ((double)(gen_rng_next(r) >> 11) + 0.5) * 0x1p-53;
}

int64_t gen_argmax(const float *scores, int64_t vocab)
{
    int64_t best = 0;
    for (int64_t i = 1; i < vocab; i++)
        if (scores[i] > scores[best])
            best = i;
    return best;
}

int64_t gen_draw(struct gen_rng *r, const float *scores, int64_t vocab)
{
    double top = scores[gen_argmax(scores, vocab)], total = 0, sum = 0;
    for (int64_t i = 0; i < vocab; i++)
        total += exp(scores[i] - top);
    double goal = gen_rng_uniform(r) * total;
    int64_t last = 0; /* rounding may leave the sum a hair below the goal */
    for (int64_t i = 0; i < vocab && sum <= goal; i++)
        if (scores[i] > -INFINITY) {
            sum += exp(scores[i] - top);
            last = i;
        }
    return last;
}

double gen_gumbel(struct gen_rng *r)
{
    return -log(-log(gen_rng_uniform(r)));
}
