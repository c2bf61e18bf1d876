/* opt-cache.h - inside of opt_cache: where the keys and values lie. Only for opt.c. */
#ifndef MODEL_OPT_CACHE_H
#define MODEL_OPT_CACHE_H

#include "base/arena.h"

#include <stdbool.h>
#include <stdint.h>

/* Sequences are names for slots: reordering beams renames, and copies only what is shared. */
struct opt_cache {
    struct arena mem; /* holds this struct, too */
    int sequences, positions, layers;
    int64_t width;  /* floats of one key: H */
    float *data;    /* (slot, layer, 2, position, width): keys, then values */
    int *slot;      /* of each sequence */
    int *length;    /* positions read */
    int *old, *was; /* scratch of opt_cache_reorder() */
    bool *taken;
};

struct opt_cache *opt_cache_make(int sequences, int positions, int layers, int64_t width);

/* Keys (kv = 0) or values (1) of one sequence and layer: (positions, width). */
float *opt_cache_rows(const struct opt_cache *c, int seq, int layer, int kv);

#endif
