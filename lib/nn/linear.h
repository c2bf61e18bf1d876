/* linear.h - what the two kinds of linear layers share: weights that are numbers (linear.c) and
 * whole numbers with scales (linear_int.c). Only for lib/nn. */
#ifndef NN_LINEAR_H
#define NN_LINEAR_H

#include "kern/kern.h"
#include "nn/nn.h"

/* f32, f16 and bf16: nothing else. */
enum kern_type nn_kern_type(enum dtype t);

void nn_activate(const struct kern *k, enum nn_act act, float *y, size_t n);

/* The fewest columns that are worth a piece of work, for pool_run(); N if a thread does best to
 * do all of them. */
int64_t nn_linear_grain(int64_t M, int64_t N, int64_t K);

/* y = act(x W^T + bias) where the weights are i8 or i4. */
void nn_linear_int(struct nn *nn, struct tensor y, struct tensor x, const struct nn_linear *w,
                   enum nn_act act);

#endif
