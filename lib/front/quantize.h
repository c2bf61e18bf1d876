/* quantize.h - a checkpoint with its linear layers as whole numbers, or as bf16: what
 * model-quantize does.
 *
 *   linear layers   int8: X.weight i8, X.weight_scale. int4: X.weight_packed, X.weight_scale,
 *                   X.weight_shape, and as they are where groups do not fit
 *                   of OPT after a ReLU, int8: once more by input, X.weight_by_input
 *                   bf16: X.weight
 *   the words       as they are, and but for bf16 once more as int8 for scoring:
 *                   X.weight_int8, X.weight_int8_scale, sums of magnitudes, X.weight_int8_size
 *   the rest        as it is, but for norms whose channels stand out: store_even()
 *   config.json     with quantization_config, as compressed-tensors writes it; bf16: with
 *                   bfloat16 as the type that others compute in
 *   other files     tokenizer, processor, texts: copied
 *
 * Memory:  a tensor at a time.
 * Errors:  -1 with err set; the directory appears complete or not at all. */
#ifndef FRONT_QUANTIZE_H
#define FRONT_QUANTIZE_H

#include "base/buf.h"
#include "cli/opt.h"
#include "quant/quant.h"
#include "store/store.h"

struct quantize {
    const char *model; /* -m */
    const char *dir;   /* to be made */
    struct quant q;
    struct opt_list ignore; /* patterns of layers that stay as they are */
    uint64_t shard;         /* bytes of a file, about; 0: 2 GiB */
    int threads;
    bool verbose;
};

int quantize_run(const struct quantize *a);

/* What becomes of a tensor. */
enum quantize_kind {
    QUANTIZE_COPY,
    QUANTIZE_SKIP, /* copied, and named in `ignore`: a linear layer that stays as it is */
    QUANTIZE_LINEAR,
    QUANTIZE_TURNED, /* int8, and once more by input: opt.c leaves out what is multiplied by 0
                      */
    QUANTIZE_HEAD,   /* copied, and once more as int8 */
};
struct quantize_text {
    bool tied, relu; /* words and their scoring; the feed-forward of the language model */
};
enum quantize_kind quantize_kind(const struct quantize *a, const struct quantize_text *text,
                                 const char *name, struct tensor t);

/* config.json of dir with quantization_config, or another dtype, as text. ignored: names of
 * layers, each ended by NUL. */
int quantize_config(struct buf *text, const char *dir, const struct quant *q,
                    const struct buf *ignored);

/* model.safetensors.index.json. tensors: pairs of names, tensor and file, each ended by NUL. */
int quantize_write_index(const char *dir, const struct buf *tensors);

/* The files beside config.json and the weights that a copy of the model needs. */
int quantize_copy_files(const char *from, const char *to);

#endif
