/* open.h - an open checkpoint, for the files of this module only. */
#ifndef STORE_OPEN_H
#define STORE_OPEN_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/sha256.h"
#include "store/store.h"
#include "store/weights.h"

struct json_t;

/* What evens out the channels of a norm: even.c. */
struct even {
    char norm[320]; /* whose it is */
    float *factor;  /* (n); NULL: nothing to even out */
    int64_t n;
};

struct store {
    char *dir;
    struct buf config_text; /* config.json's bytes, for the fingerprint */
    struct json_t *config;
    struct weights *weights; /* NULL until the first look for a tensor */
    struct quant quant;      /* what linear layers become; QUANT_NONE: they stay */
    struct pool *pool;
    store_progress *told;
    void *told_ctx;
    size_t read; /* bytes of weights that became others */
    char fingerprint[SHA256_HEX];
    struct even even;
    store_bind_fn *on_bind; /* NULL: nobody else has a say */
    void *on_bind_ctx;
};

/* The weights, opened if they are not yet. NULL with err set. */
const struct weights *store_weights(struct store *s);

/* The tensor of that name, or of the one LAVIS has for it. NULL if there is none. */
const struct safetensors_entry *store_entry(const struct weights *w, const char *name);
/* ERR_CONFIG if config.json announces quantised weights of a kind that is not known here. */
int store_check_quantization(const struct store *s);

/* An entry with STORE_LINEAR or STORE_HEAD into the struct at out: 0; 1 with err set if the
 * checkpoint is at fault; -1 for lack of memory. want: the weight's shape. */
int store_bind_linear(void *out, struct store *s, const struct store_bind *b, const char *name,
                      struct tensor want, struct arena *mem);

/* A float tensor of this shape and name, as bind.c takes it: the same three results. */
int store_bind_float(struct tensor *out, struct store *s, const char *name, int flags,
                     struct tensor want, struct arena *mem);

#endif
