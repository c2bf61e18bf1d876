/* store.h - a Hugging Face checkpoint: config.json and the tensors of its safetensors files,
 * mapped read-only and shared between processes.
 *
 * Owns:      names, shapes and dtypes on disk; every offset is checked against the file.
 * Knows nothing of: what a tensor is for; it does not compute.
 * Lifetime:  tensors are views of the mapping, until store_close().
 * Errors:    NULL or -1 with err set: ERR_NOINPUT no such directory or file, ERR_DATA a damaged
 *            file, ERR_CONFIG config and weights disagree or a key is wrong. */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "base/arena.h"
#include "base/pool.h"
#include "quant/quant.h"
#include "tensor/tensor.h"

#include <stdbool.h>

struct store;

/* Reads config.json. The weights (model.safetensors, or the shards that
 * model.safetensors.index.json names) are mapped and their headers checked at the first look
 * for a tensor. A directory with only *.bin, a git-lfs pointer in place of a file and a missing
 * shard are told by name. */
struct store *store_open(const char *dir);
void store_close(struct store *s);

const char *store_dir(const struct store *s);

/* Linear layers bound from now on become whole numbers, or bf16, in memory, as they are bound;
 * those that are stored so already stay. To be called before anything is bound; the threads are
 * the caller's. `told` (or NULL) is called as the work goes on, with the bytes of weights that
 * were read so far. */
typedef void store_progress(void *ctx, size_t bytes);
void store_quantize(struct store *s, struct quant q, struct pool *pool, store_progress *told,
                    void *ctx);

/* t, tensor `name`, as it is before it becomes whole numbers: a norm and the linear layers that
 * read it with channels evened out, powers of two from the one to the others, where some
 * channels are far from the rest (even.c); as it was if none is, and for other tensors. What is
 * changed is a copy, f32 in mem. Binding does it where store_quantize() was called, and not
 * with bf16, which has no range to use well. */
int store_even(struct tensor *t, struct store *s, const char *name, struct arena *mem);

/* What store_quantize() asked for. */
enum quant_scheme store_made(const struct store *s);

/* What identifies the weights in a stream's header: 64 hex digits, cheap for gigabytes. SHA-256
 * of, one after the other:
 *
 *   "config.json SIZE\n" and that file's bytes; then for each weights file, by name,
 *   "NAME SIZE\n", its header (the length and the JSON), and 64 blocks of 4096 bytes of its
 *   data, block i at offset floor((n - 4096) i / 63) of n bytes; all of them if n <= 262144.
 *
 * and last, where store_quantize() has changed what is computed with, "weights int8\n",
 * "weights int4\n" or "weights bf16\n".
 *
 * Fine-tuning, another dtype and a truncated file change it; a change of single bytes between
 * the blocks does not: 'vqa models verify' reads everything. NULL with err set. */
const char *store_fingerprint(struct store *s);

/* The tensor of that name, or of LAVIS's for it (ln_vision.weight for
 * vision_model.post_layernorm.weight): 1, 0 absent, -1 if the weights cannot be read or this
 * tensor has a dtype or a rank that struct tensor has not (ERR_CONFIG). */
int store_find(struct tensor *t, struct store *s, const char *name);

/* Calls fn for every tensor, by name in byte order, and lets go of its pages after; gives 0, or
 * what fn gave other than 0, or -1. */
typedef int store_each_fn(void *ctx, const char *name, struct tensor t);
int store_each(struct store *s, store_each_fn *fn, void *ctx);

/* ---- config.json ---- */

enum store_config_type {
    STORE_END,
    STORE_INT,   /* int64_t */
    STORE_FLOAT, /* double */
    STORE_BOOL,  /* bool */
    STORE_WORD,  /* int: index into words, which ends in NULL */
};

/* One key: a path with dots from the section ("hidden_size"), several spellings separated by
 * '|' (the first one present wins); absent or null gives def. Hugging Face leaves defaults out
 * of config.json, so def is the class's default, not an error. A pair of equal integers counts
 * as one integer: newer files give image_size so. */
struct store_config {
    enum store_config_type type;
    const char *key;
    size_t offset;
    double def, min, max;
    const char *const *words;
};
#define STORE_CONFIG_INT(S, field, key, def, min, max)                                         \
    {                                                                                          \
        STORE_INT, key, offsetof(S, field), def, min, max, NULL                                \
    }
#define STORE_CONFIG_FLOAT(S, field, key, def, min, max)                                       \
    {                                                                                          \
        STORE_FLOAT, key, offsetof(S, field), def, min, max, NULL                              \
    }
#define STORE_CONFIG_BOOL(S, field, key, def)                                                  \
    {                                                                                          \
        STORE_BOOL, key, offsetof(S, field), def, 0, 1, NULL                                   \
    }
#define STORE_CONFIG_WORD(S, field, key, def, words)                                           \
    {                                                                                          \
        STORE_WORD, key, offsetof(S, field), def, 0, 0, words                                  \
    }
#define STORE_CONFIG_END                                                                       \
    {                                                                                          \
        STORE_END, NULL, 0, 0, 0, 0, NULL                                                      \
    }

/* Fills the struct at out from config.json's section ("vision_config"; "" is the top level; an
 * absent section gives defaults). -1 (ERR_CONFIG): "config.json: vision_config.hidden_size:
 * -3, expected an integer from 1 to 16384". */
int store_config(void *out, const struct store *s, const char *section,
                 const struct store_config *keys);

/* Whether the key is there and not null; and a str value, or the first of a list of them
 * ("architectures"); "" if absent. */
bool store_config_has(const struct store *s, const char *section, const char *key);
const char *store_config_str(const struct store *s, const char *section, const char *key);

/* ---- binding names to struct fields ---- */

/* Sizes by letter, as blip2-model(7) uses them: dims.of['D' - 'A'] = 1408. */
struct store_dims {
    int64_t of[26];
};

enum store_bind_flags {
    STORE_OPTIONAL = 1,  /* absent: the tensor's data stays NULL */
    STORE_F32 = 2,       /* as f32, in the arena unless stored so (biases, norms, positions) */
    STORE_LINEAR = 4,    /* of a linear layer: may be whole numbers with scales, or made so */
    STORE_HEAD = 8,      /* of the layer that scores words: int8 if there is such a copy */
    STORE_BY_INPUT = 16, /* with STORE_LINEAR: by input if it is i8 and can be */
};

/* One tensor: its name after the prefix, its shape as products of numbers and letters
 * ("3D,D"; "1,N,D"), and where its struct tensor lies. Without STORE_F32 the tensor is a view
 * in its stored dtype (f32, f16 or bf16), copied only if it is not aligned to its item size.
 *
 * With STORE_LINEAR, X.weight may be i8 with X.weight_scale, or X.weight_packed stands in its
 * place (i4, with X.weight_scale), as compressed-tensors stores them: views too, but for scales
 * of i8, which become f32. Where store_quantize() asked for bf16, weights are that, and a bool
 * says that what they are multiplied with becomes bf16, too. A tensor that is also a table (the
 * words) is bound with STORE_HEAD: the product uses X.weight_int8 with X.weight_int8_scale
 * where the checkpoint has them, and X.weight_int8_size, sums of the stored rows' magnitudes.
 * With STORE_BY_INPUT, i8 weights are those of X.weight_by_input, (K, N), where the checkpoint
 * has it, or made so; a bool says whether they are. The tensor's dims are (N, K) all the same.
 */
struct store_bind {
    const char *name, *shape;
    size_t offset;
    int flags;
    size_t scale;  /* STORE_LINEAR, STORE_HEAD: where the scale's struct tensor lies */
    size_t rounds; /* STORE_LINEAR: where the bool lies that is set with bf16 */
    size_t more; /* STORE_BY_INPUT: where the bool lies. STORE_HEAD: the sizes' struct tensor */
};
#define STORE_BIND(S, field, name, shape)                                                      \
    {                                                                                          \
        name, shape, offsetof(S, field), 0, 0, 0, 0                                            \
    }
#define STORE_BIND_LINEAR(S, field, name, shape)                                               \
    {                                                                                          \
        name, shape, offsetof(S, field.weight), STORE_LINEAR, offsetof(S, field.scale),        \
            offsetof(S, field.rounds), 0                                                       \
    }
#define STORE_BIND_BY_INPUT(S, field, name, shape)                                             \
    {                                                                                          \
        name, shape, offsetof(S, field.weight), STORE_LINEAR | STORE_BY_INPUT,                 \
            offsetof(S, field.scale), offsetof(S, field.rounds), offsetof(S, field.by_input)   \
    }
#define STORE_BIND_HEAD(S, field, name, shape)                                                 \
    {                                                                                          \
        name, shape, offsetof(S, field.linear.weight), STORE_HEAD,                             \
            offsetof(S, field.linear.scale), 0, offsetof(S, field.size)                        \
    }
#define STORE_BIND_F32(S, field, name, shape)                                                  \
    {                                                                                          \
        name, shape, offsetof(S, field), STORE_F32, 0, 0, 0                                    \
    }
#define STORE_BIND_OPTIONAL(S, field, name, shape)                                             \
    {                                                                                          \
        name, shape, offsetof(S, field), STORE_F32 | STORE_OPTIONAL, 0, 0, 0                   \
    }
#define STORE_BIND_END                                                                         \
    {                                                                                          \
        NULL, NULL, 0, 0, 0, 0, 0                                                              \
    }

/* Finds all tensors of a table under prefix (printf style: "encoder.layers.%d." with i). Checks
 * presence, dtype and shape of every one before it fails, and names the first with the number
 * of others: "vision_model.encoder.layers.3.self_attn.qkv.weight: shape (4224, 1407), expected
 * (4224, 1408) (and 2 more)". */
int store_bind(void *out, struct store *s, const char *prefix, int i,
               const struct store_bind *table, const struct store_dims *dims,
               struct arena *mem);

/* Asked for every tensor that a table names, with its shape and what the checkpoint has of it
 * (NULL: nothing): 1 if it has set *out, 0 to go on as if it were not there, -1 with err set. A
 * trainer takes its writable copies so. fn NULL: nobody is asked any more. */
typedef int store_bind_fn(void *ctx, const char *name, struct tensor shape,
                          const struct tensor *stored, struct tensor *out);
void store_on_bind(struct store *s, store_bind_fn *fn, void *ctx);

#endif
