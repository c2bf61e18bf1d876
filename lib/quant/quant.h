/* quant.h - weights of a linear layer as whole numbers with scales, or as bf16.
 *
 *   int8  one scale an output channel (row), symmetric: w[n][k] ~ scale[n] q, q = -127..127,
 *         scale the row's largest magnitude / 127. An outlier costs its own row alone.
 *   int4  one scale a group of inputs, q = -8..7. The scale is searched: for each of 22 ways to
 *         stretch the grid, so that the group's extreme value falls on -10..-6 or on 6..8, the
 *         scale of least squared error is sum(w q) / sum(q q); the best is rounded to f16 and
 *         the values are encoded with what is stored. Half the squared error of max / 7.
 *
 *   bf16  each value to the nearest, even if halfway; no scale.
 *
 * The bytes are those of compressed-tensors ("int-quantized", "pack-quantized"), see
 * blip2-model(7), and what nn_linear() computes with. They depend on the weights alone: not on
 * threads or the instruction set.
 *
 * Owns:     nothing.
 * Errors:   -1 with err set: ERR_DATA a value that is not finite, which bf16 takes. */
#ifndef QUANT_QUANT_H
#define QUANT_QUANT_H

#include "base/pool.h"
#include "tensor/tensor.h"

enum quant_scheme { QUANT_NONE, QUANT_INT8, QUANT_INT4, QUANT_BF16 };

#define QUANT_GROUP 32    /* the least, and what is meant where nothing is said */
#define QUANT_INNER 65536 /* most inputs of a layer: sums of products are exact in 32 bits */
#define QUANT_TURN  16384 /* most inputs of one whose codes lie by input: kern.h */

struct quant {
    enum quant_scheme scheme;
    int64_t group; /* int4: weights that share a scale, a multiple of QUANT_GROUP */
};

/* Whether weights of this shape can be so: (N, K); for whole numbers K <= QUANT_INNER, and for
 * int4 K of whole groups. */
bool quant_fits(const struct quant *q, struct tensor w);

/* dtype and dims, no data, of what w becomes: codes i8 (N, K) with scale f32 (N, 1), i4 (N, K)
 * with scale f16 (N, K/group), or bf16 (N, K) with scale (0). w must fit. */
void quant_shapes(struct tensor *codes, struct tensor *scale, const struct quant *q,
                  struct tensor w);

/* Fills the data of codes and scale, as quant_shapes() gave them, from w (f32, f16, bf16), rows
 * split among threads. */
int quant_fill(struct tensor codes, struct tensor scale, struct tensor w, struct pool *pool);

/* most[k] becomes the largest magnitude in column k of w (f32, f16, bf16) where that is larger.
 */
void quant_columns(float *most, struct tensor w, struct pool *pool);

/* The sum of each row's magnitudes, (N), of w. */
int quant_sizes(float *size, struct tensor w, struct pool *pool);

/* Whether codes can lie by input: i8, and not too many inputs. */
bool quant_turns(struct tensor codes);

/* The same codes by input, (K, N), into turned; they must be able to. */
void quant_turn(int8_t *turned, struct tensor codes, struct pool *pool);

/* What codes and scale stand for: (N, K) floats. */
void quant_restore(float *w, struct tensor codes, struct tensor scale);

/* "int8", "int4", "bf16"; "stored" for none. */
extern const char *const quant_words[];

#endif
