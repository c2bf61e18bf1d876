/* stats.h - what a tensor holds, and how far two are apart, in double. */
#ifndef TENSOR_STATS_H
#define TENSOR_STATS_H

#include "tensor/tensor.h"

struct tensor_stats {
    double min, mean, max; /* of the finite values; NaN when there are none */
    int64_t bad;           /* values that are NaN or infinite */
};
struct tensor_stats tensor_stats(struct tensor t);

/* Differences of two tensors of one shape (any dtypes).
 *   max_abs  max |a - b|               max_rel  max_abs / max |b| (0 if both are 0)
 *   l2       ||a - b|| / ||b||         cosine   a.b / (||a|| ||b||), 1 if both are 0
 * A NaN or infinity that is not the same on both sides makes max_abs infinite. */
struct tensor_diff {
    double max_abs, max_rel, l2, cosine;
};
struct tensor_diff tensor_diff(struct tensor a, struct tensor b);

#endif
