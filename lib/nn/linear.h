/* linear.h - what the kinds of linear layers share: weights that are numbers (linear.c), whole
 * numbers with scales (linear_int.c), and bf16 by bf16 (linear_bf16.c). Only for lib/nn. */
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

/* The rows of x (.., K) as a kernel's encode() makes them, `size` bytes each, in nn->mem; NULL,
 * and nn failed, if memory is short. */
typedef void nn_encode_fn(void *row, const float *x, size_t K);
void *nn_encode_rows(struct nn *nn, nn_encode_fn *encode, size_t size, struct tensor x);

/* y = act(x W^T + bias) where the weights are bf16 and x is rounded. */
void nn_linear_bf16(struct nn *nn, struct tensor y, struct tensor x, const struct nn_linear *w,
                    enum nn_act act);

/* The same where the weights are i8 or i4. */
void nn_linear_int(struct nn *nn, struct tensor y, struct tensor x, const struct nn_linear *w,
                   enum nn_act act);

#endif
