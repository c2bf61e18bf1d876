/* maps.h - what attention looks at, gathered while a model runs.
 *
 *     nn_maps_begin(&m, nn, B, &mem);
 *     vit_forward(...);
 *     if (nn_maps_end(&m, nn) < 0) ...
 *
 * Rollout follows attention through layers down to what the keys of the lowest one stand for.
 * A residual counts as much as the attention beside it, and heads are averaged:
 *
 *   self-attention A (T, T)    R = (R + A R) / 2        R (T, S) begins as the identity
 *   cross-attention C (Q, S)   R = (R + C base) / 2     in the first Q rows, R from 0
 *
 * A model that crosses (the Q-Former) begins at 0, and its rows sum to less than 1: what is
 * missing is what queries know by themselves. base (S, S') is a rollout of what the keys were
 * made by, or nothing.
 *
 * Source:    Abnar and Zuidema 2020, "Quantifying Attention Flow in Transformers", section 3;
 *            for cross-attention Chefer et al. 2021, with that paper's halves in place of
 *            gradients.
 * Lifetime:  what is kept lives in the arena given to nn_maps_begin().
 * Errors:    as nn.h: sticky, and told by nn_maps_end(). */
#ifndef NN_MAPS_H
#define NN_MAPS_H

#include "nn/nn.h"

struct nn_map;

struct nn_maps {
    struct nn_watch watch; /* first: the watch is the maps */
    const struct kern *kern;
    struct arena *mem;
    int64_t B;
    struct tensor *rollout;        /* (B): (T, S), data NULL before anything was looked at */
    const struct tensor *base;     /* (B): (S, S') f32, or data NULL; NULL for none */
    bool crossing;                 /* R begins at 0 */
    int64_t self_rows, cross_rows; /* leading rows of each map that are kept; 0: none */
    struct nn_map *kept, **end;
    int failed;
};

/* Watches nn's attention over B sequences. Set crossing, self_rows, cross_rows and base before.
 */
int nn_maps_begin(struct nn_maps *m, struct nn *nn, int64_t B, struct arena *mem);

/* Stops watching. -1 with err set (ERR_OS) if memory was short. */
int nn_maps_end(struct nn_maps *m, struct nn *nn);

/* Sequence b's kept maps (cross or self), all layers' one after the other, in mem: (L, H, rows,
 * S) f32; data NULL if there are none. -1 for lack of memory. */
int nn_maps_stack(struct tensor *out, const struct nn_maps *m, int64_t b, bool cross,
                  struct arena *mem);

/* Rows of R, each divided by its sum: where each row looks, in mem. */
int nn_maps_rollout(struct tensor *out, const struct nn_maps *m, int64_t b, struct arena *mem);

#endif
