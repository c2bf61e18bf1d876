/* hidden.h - the hidden states of a model, layer by layer, as fields of records: what
 * --hidden-states adds.
 *
 *   hidden_states.0     (T, D) f32 before layer 0
 *   hidden_states.1     after layer 0, and so on
 *
 * Errors:  -1 with err set: ERR_DATA more than a record holds, ERR_OS. */
#ifndef FRONT_HIDDEN_H
#define FRONT_HIDDEN_H

#include "base/arena.h"
#include "tensor/tensor.h"
#include "wire/record.h"

#include <stdbool.h>

#define HIDDEN_STATES 1025 /* as many layers as a config.json may have, and the input */

struct hidden {
    struct arena mem;
    struct tensor state[HIDDEN_STATES]; /* (B, T, D) or (B T, D), of the run at hand */
    int n;
    bool failed; /* memory was short */
};

void hidden_reset(struct hidden *h);
void hidden_release(struct hidden *h);

/* Keeps a copy of the next state; ctx is the struct hidden. A watch of vit.h and qformer.h. */
void hidden_take(void *ctx, int layer, struct tensor state);

/* The states of the b-th of the B that ran together into its record, in place of those that a
 * stage before has put there. Without states the record stays as it is. */
int hidden_put(struct record *rec, const struct hidden *h, int b, int B);

#endif
