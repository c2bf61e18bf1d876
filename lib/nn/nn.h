/* nn.h - the operations models are written in. A model's forward pass is a list of these with
 * shapes at the margin; kernels, threads and memory hide behind them.
 *
 * Memory:   results live in nn->mem until the caller resets it. Running out of memory is
 * sticky, as ferror() is: operations become no-ops that give an empty tensor, and the model
 * asks nn_failed() once, at its end. Threads:  work is split by output rows or heads, never
 * summed across threads, and every output element is one sum in a fixed order that does not
 * depend on how many rows are computed together: same bits for any thread count and any batch
 * size. Numbers:  activations and accumulation are f32; weights are used as stored (f32, f16,
 * bf16). */
#ifndef NN_NN_H
#define NN_NN_H

#include "base/arena.h"
#include "base/pool.h"
#include "tensor/tensor.h"

struct kern;

struct nn {
    struct arena *mem;       /* of the activations */
    struct pool *pool;       /* NULL: the caller alone */
    const struct kern *kern; /* nn_init() chose it */
    int failed;
};

/* cpu: the instruction set to use at most ("ref", "avx2", "avx512"; $VQA_CPU), NULL for the
 * best this processor has. -1 (ERR_USAGE) if the word is unknown or the processor lacks it. */
int nn_init(struct nn *nn, struct arena *mem, struct pool *pool, const char *cpu);

/* -1 with err set if any operation since nn_init() failed. */
int nn_failed(const struct nn *nn);

/* The instruction set in use, for --version: "avx512 (this processor: ref avx2 avx512)". */
const char *nn_kernels(const char *cpu);

enum nn_act { NN_NONE, NN_RELU, NN_GELU, NN_QUICK_GELU }; /* gelu is the erf form */

struct nn_norm {
    struct tensor weight, bias; /* (D) f32 */
};
struct nn_linear {
    struct tensor weight; /* (N, K) as stored */
    struct tensor bias;   /* (N) f32, or data NULL */
};

/* act(x W^T + b): x (..., K) f32 gives (..., N). */
struct tensor nn_linear(struct nn *nn, struct tensor x, const struct nn_linear *w,
                        enum nn_act act);

/* (x - mean) / sqrt(var + eps) * weight + bias over the last dim. */
struct tensor nn_layernorm(struct nn *nn, struct tensor x, const struct nn_norm *w, double eps);

/* a + b, same shape; and a (B, T, D) + b (T, D) for each B. */
struct tensor nn_add(struct nn *nn, struct tensor a, struct tensor b);

/* Rows of table (V, D), any dtype, as f32: (n, D). ids are checked by the caller: 0 <= id < V.
 */
struct tensor nn_embed(struct nn *nn, struct tensor table, const int64_t *ids, int64_t n);

/* Scaled dot-product attention over H heads, for each b on its own:
 *
 *   out[b,t,h,:] = sum_s softmax_s(scale * q[b,t,h,:].k[b,s,h,:] + mask) * v[b,s,h,:]
 *
 * q (B, T, D), k, v (B, S, D) f32 with D = H * hd; row strides may be larger than D (a view of
 * a fused qkv): give them in floats. bias (T, S) f32 is added to the scores, or data NULL.
 * causal: query t sees keys s <= S - T + t. Gives (B, T, D). Source: Vaswani et al. 2017 eq. 1.
 */
struct nn_heads {
    const float *data; /* first element */
    int64_t rows;      /* T or S */
    int64_t stride;    /* floats from one row to the next */
    int64_t batch;     /* floats from one b to the next */
};
struct tensor nn_attention(struct nn *nn, int64_t B, int H, int64_t hd, struct nn_heads q,
                           struct nn_heads k, struct nn_heads v, float scale,
                           struct tensor bias, bool causal);

#endif
