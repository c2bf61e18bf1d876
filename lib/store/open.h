/* open.h - an open checkpoint, for the files of this module only. */
#ifndef STORE_OPEN_H
#define STORE_OPEN_H

#include "base/buf.h"
#include "base/sha256.h"
#include "store/store.h"
#include "store/weights.h"

struct json_t;

struct store {
    char *dir;
    struct buf config_text; /* config.json's bytes, for the fingerprint */
    struct json_t *config;
    struct weights *weights; /* NULL until the first look for a tensor */
    char fingerprint[SHA256_HEX];
    store_bind_fn *on_bind; /* NULL: nobody else has a say */
    void *on_bind_ctx;
};

/* The weights, opened if they are not yet. NULL with err set. */
const struct weights *store_weights(struct store *s);

/* The tensor of that name, or of the one LAVIS has for it. NULL if there is none. */
const struct safetensors_entry *store_entry(const struct weights *w, const char *name);

#endif
