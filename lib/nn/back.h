/* back.h - what operations note on the tape: one function each, called with the result just
 * computed and its inputs. They note nothing if no input has a gradient. Only for lib/nn. */
#ifndef NN_BACK_H
#define NN_BACK_H

#include "nn/tape.h"

void nn_back_linear(struct nn *nn, struct tensor y, struct tensor x, const struct nn_linear *w);
void nn_back_act(struct nn *nn, struct tensor y, struct tensor x, enum nn_act act);
void nn_back_layernorm(struct nn *nn, struct tensor y, struct tensor x, const struct nn_norm *w,
                       double eps);
void nn_back_add(struct nn *nn, struct tensor y, struct tensor a, struct tensor b);
void nn_back_unit(struct nn *nn, struct tensor y, struct tensor x);

/* idx: as nn_pick() got it; copied. */
void nn_back_pick(struct nn *nn, struct tensor y, struct tensor a, struct tensor b,
                  const int64_t *idx);

/* seq: copied; the keys of its rows are not. */
void nn_back_attention(struct nn *nn, struct tensor y, struct nn_heads heads,
                       const struct nn_sequence *seq, int64_t n, uint64_t site);

/* ---- products of matrices, split among threads ---- */

/* y (M, N) = or += p (M, K) v (K, N): p f32, v of any dtype weights have. */
struct nn_matmul {
    int64_t M, N, K;
    const float *p;
    struct tensor v;
    float *y;
    bool add;
};
void nn_matmul(struct nn *nn, const struct nn_matmul *m);

/* Whether dropout drops element i of a row: by the tape's seed, the site and the row's key. */
uint64_t nn_drop_row(uint64_t seed, uint64_t site, uint64_t key);
uint32_t nn_drop_below(double p);

/* x[0..n), elements first + i of their row: what is dropped becomes 0, the rest grows by
 * 1 / (1 - p). */
void nn_drop_some(float *x, int64_t n, double p, uint64_t row, int64_t first);

static inline bool nn_drops(uint64_t row, uint32_t below, uint64_t i)
{
    uint32_t h = (uint32_t)(row ^ i * 0x9E3779B1u) * 0x85EBCA6Bu + (uint32_t)(row >> 32);
    h = (h ^ h >> 15) * 0x2C1B3C6Du;
    h = (h ^ h >> 12) * 0x297A2D39u;
    return (h ^ h >> 15) < below;
}

#endif
