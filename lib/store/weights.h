/* weights.h - all tensors of a checkpoint directory by name, whatever files they lie in.
 *
 * Files:     model.safetensors, else the shards that model.safetensors.index.json names.
 * Lifetime:  everything until weights_close().
 * Errors:    NULL with err set: ERR_NOINPUT no weights there or a shard is missing, ERR_DATA a
 *            damaged file, a tensor twice, or one that is not where the index says. */
#ifndef STORE_WEIGHTS_H
#define STORE_WEIGHTS_H

#include "base/sha256.h"
#include "store/safetensors.h"

struct weights;

struct weights *weights_open(const char *dir);
void weights_close(struct weights *w);

/* NULL if there is none of that name. */
const struct safetensors_entry *weights_find(const struct weights *w, const char *name);

/* The i-th by name, NULL past the last. */
const struct safetensors_entry *weights_at(const struct weights *w, size_t i);

/* The files' pages leave this process until they are looked at again. */
void weights_forget(const struct weights *w);

/* What of the files goes into the fingerprint: see store_fingerprint(). */
void weights_digest(struct sha256 *h, const struct weights *w);

/* All of the tensors whose names begin with prefix, by name: "NAME DTYPE SHAPE BYTES\n" and the
 * bytes. Gives how many there are. */
size_t weights_digest_part(struct sha256 *h, const struct weights *w, const char *prefix);

#endif
