/* nn.h - the operations models are written in. A model's forward pass is a list of these with
 * shapes at the margin; kernels, threads and memory hide behind them.
 *
 * Memory:   results live in nn->mem until the caller resets it. Running out of memory is
 * sticky, as ferror() is: operations become no-ops that give an empty tensor, and the model
 * asks nn_failed() once, at its end. Threads:  work is split by output rows or heads, never
 * summed across threads, and every output element is one sum in a fixed order that does not
 * depend on how many rows are computed together: same bits for any thread count and any batch
 * size. Numbers:  activations and accumulation are f32; weights are used as stored (f32, f16,
 * bf16; i8 and i4 with scales), and activations are rounded where a layer asks for it. */
#ifndef NN_NN_H
#define NN_NN_H

#include "base/arena.h"
#include "base/pool.h"
#include "tensor/tensor.h"

struct kern;
struct nn_watch;
struct tape;

struct nn {
    struct arena *mem;       /* of the activations */
    struct pool *pool;       /* NULL: the caller alone */
    const struct kern *kern; /* nn_init() chose it */
    struct nn_watch *watch;  /* told of what attention looks at; NULL: nobody */
    struct tape *tape;       /* notes how to go back (tape.h); NULL: nothing is trained */
    int failed;
};

/* cpu: the instruction set to use ("ref", "avx2", ...: kern.h; $VQA_CPU), NULL for the best
 * this processor has. -1 (ERR_USAGE) if the word is unknown or the processor lacks it. */
int nn_init(struct nn *nn, struct arena *mem, struct pool *pool, const char *cpu);

/* -1 with err set if any operation since the last nn_failed() failed; the next ones start anew.
 */
int nn_failed(struct nn *nn);

/* An f32 tensor in nn->mem, not cleared; empty, and nn failed, if memory is short. */
struct tensor nn_tensor(struct nn *nn, int ndim, const int64_t *dim);

/* The instruction set in use, for --version: "avx512 (this processor: ref avx2 avx512)"; "none"
 * where nn_init() fails. Gives text. */
#define NN_KERNELS 128
const char *nn_kernels(char text[NN_KERNELS], const char *cpu);

/* y in x's place, of the same shape, and what was made since the mark is forgotten: a layer
 * ends. With a tape nothing is forgotten: y itself. */
struct tensor nn_replace(struct nn *nn, struct tensor x, struct tensor y,
                         struct arena_mark mark);

enum nn_act { NN_NONE, NN_RELU, NN_GELU, NN_QUICK_GELU }; /* gelu is the erf form */

struct nn_norm {
    struct tensor weight, bias; /* (D) f32 */
};
/* Weights i8 or i4 stand for themselves times a scale, and what they are multiplied with is
 * made 8-bit numbers, each row by its own range (kern.h). K <= 65536 then. */
struct nn_linear {
    struct tensor weight; /* (N, K) as stored */
    struct tensor bias;   /* (N) f32, or data NULL */
    struct tensor scale;  /* i8: (N) or (N, 1) f32. i4: (N, K/G) f32, f16 or bf16, G a multiple
                             of 32. Others: data NULL */
    bool by_input;        /* i8: the weight lies as (K, N), K <= 16384. Few rows then leave out
                             what only zeros are multiplied with: for what follows a ReLU */
    bool rounds;          /* bf16: what they are multiplied with is rounded to bf16, too */
};

/* act(x W^T + b): x (..., K) f32 gives (..., N). */
struct tensor nn_linear(struct nn *nn, struct tensor x, const struct nn_linear *w,
                        enum nn_act act);

/* The layer that scores words: (V, K). Where linear is i8 and size is there, the words that
 * could have the largest score are scored by rows: the largest, and the first of equals, is
 * that of all rows. */
struct nn_head {
    struct nn_linear linear; /* no bias */
    struct tensor rows;      /* (V, K) f32, f16 or bf16: what linear stands for */
    struct tensor size; /* (V) or (V, 1) f32: sum of magnitudes of each row; or data NULL */
};
struct tensor nn_score(struct nn *nn, struct tensor x, const struct nn_head *h);

/* (x - mean) / sqrt(var + eps) * weight + bias over the last dim. */
struct tensor nn_layernorm(struct nn *nn, struct tensor x, const struct nn_norm *w, double eps);

/* a + b, same shape; and a (B, T, D) + b (T, D) for each B. */
struct tensor nn_add(struct nn *nn, struct tensor a, struct tensor b);

/* a (B, Ta, D) above b (B, Tb, D): (B, Ta + Tb, D). One that has B = 1, or no B at all, goes
 * with every row of the other. */
struct tensor nn_concat(struct nn *nn, struct tensor a, struct tensor b);

/* x (T, D) or (1, T, D) for each of B: (B, T, D). */
struct tensor nn_repeat(struct nn *nn, struct tensor x, int64_t B);

/* Rows [from, from + n) of each b of x (B, T, D): (B, n, D). */
struct tensor nn_rows(struct nn *nn, struct tensor x, int64_t from, int64_t n);

/* x (..., D) with every row divided by its length, as torch.nn.functional.normalize does
 * (eps 1e-12); and the mean of the T rows of each of x (B, T, D): (B, D). */
struct tensor nn_unit(struct nn *nn, struct tensor x);
struct tensor nn_mean(struct nn *nn, struct tensor x);

/* Squares of P x P of images (B, C, H, W), left to right, then down; what is beyond the last
 * whole square is left out. (B, (H/P)(W/P), C P P): a convolution of stride P is nn_linear()
 * of these. */
struct tensor nn_patches(struct nn *nn, struct tensor images, int64_t P);

/* A grid x (h, w, D) resampled to (H, W, D): bicubic with a = -0.75, edges repeated, corners
 * not aligned, no antialiasing. Source: torch.nn.functional.interpolate(mode="bicubic"). */
struct tensor nn_resize(struct nn *nn, struct tensor x, int64_t H, int64_t W);

/* Rows of table (V, D), any dtype, as f32: (n, D). ids are checked by the caller: 0 <= id < V.
 */
struct tensor nn_embed(struct nn *nn, struct tensor table, const int64_t *ids, int64_t n);

/* Row i of the result (n, D) is row idx[i] of a, or of b, counted on: idx[i] - rows of a. Both
 * are f32 of width D, whatever their other dims; b may be no tensor. */
struct tensor nn_pick(struct nn *nn, struct tensor a, struct tensor b, const int64_t *idx,
                      int64_t n);

/* x with elements dropped by the tape's chances, where there is a tape and a key for each row
 * (rows with the same key at the same point of a pass lose the same ones); in its place, so x
 * is what nn_linear() without an activation, or nn_layernorm(), just gave. */
struct tensor nn_dropout(struct nn *nn, struct tensor x, const uint64_t *key);

/* Scaled dot-product attention over H heads of hd floats, for each sequence on its own:
 *
 *   out[t,h,:] = sum_s softmax_s(scale * q[t,h,:].k[s,h,:] + bias[t,s]) * v[s,h,:]
 *
 * q (T, H hd), k and v (S, H hd), f32; rows may lie further apart than H hd (a view of a fused
 * qkv, a cache): the strides are in floats. causal: row t sees keys s <= S - T + t. Gives
 * (sum of T, H hd), the sequences' rows one after the other. A row's bits depend on its
 * own keys alone. Source: Vaswani et al. 2017 eq. 1. */
struct nn_sequence {
    const float *q, *k, *v;
    int64_t T, S, q_stride, k_stride, v_stride;
    const uint64_t *key; /* of the T rows, for dropout of probabilities; NULL: none */
};
struct nn_heads {
    int H;
    int64_t hd;
    float scale;
    bool causal;
    bool cross; /* keys are of something else than the queries; for nn->watch alone */
};
struct tensor nn_attention(struct nn *nn, struct nn_heads heads, const struct nn_sequence *seq,
                           int64_t n);

/* Told of the probabilities of each sequence of each nn_attention(), in order: p (H, T, S) f32,
 * 0 where a key is not seen, gone after the call. Nothing is computed differently for it. */
struct nn_watch {
    void (*attention)(struct nn_watch *w, const struct nn_heads *heads, int64_t sequence,
                      struct tensor p);
};

/* The same for a batch: q (B, T, D), k and v (B, S, D), tensors or columns of wider ones.
 * Gives (B, T, D). */
struct nn_view {
    const float *data;    /* first element */
    int64_t rows, stride; /* T or S, and floats from one row to the next */
};
struct nn_view nn_view(struct tensor x); /* of (B, T, D) */
struct nn_view nn_columns(struct tensor x, int64_t part,
                          int64_t parts); /* x[..., part D/parts:] */
struct tensor nn_attention_batch(struct nn *nn, struct nn_heads heads, int64_t B,
                                 struct nn_view q, struct nn_view k, struct nn_view v);

#endif
