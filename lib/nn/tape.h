/* tape.h - what was computed, so that gradients can be: reverse mode over the operations of
 * nn.h.
 *
 * With nn->tape set every operation whose result depends on a parameter notes how to go back.
 * tape_backward() walks the notes from the last to the first. Frozen weights have no gradient,
 * but one goes through them to what is below.
 *
 * A gradient belongs to an address: views of a tensor share the tensor's gradient, and rows of
 * it have rows of it. Nothing is rewound while there is a tape: nn_replace() keeps its second
 * argument. Once an operation's turn is over nothing reads its result any more, and the memory
 * of both result and gradient serves the gradients that follow.
 *
 * Same bits:  sums run in an order that depends on sizes alone, never on threads.
 * Errors:     memory, sticky in nn->failed as everywhere in nn.
 * Source:     Griewank and Walther, Evaluating Derivatives, ch. 3; the formula of each
 * operation stands in back_*.c. */
#ifndef NN_TAPE_H
#define NN_TAPE_H

#include "nn/nn.h"

/* Goes back through one operation: adds to the gradients of its inputs. */
typedef void tape_fn(struct nn *nn, const void *ctx);

struct tape_span { /* memory that has, or may get, a gradient */
    const char *at;
    size_t bytes;
    float *grad;   /* NULL: none yet */
    bool *touched; /* of a parameter: set when something is added; NULL otherwise */
};
struct tape_spans {
    struct tape_span *of; /* by address */
    int64_t count, room;
};
struct tape_note {
    tape_fn *back;
    const void *ctx, *out;
    bool change; /* in its place: out is still to be gone back through */
};
struct tape_hole { /* memory that is free again */
    char *at;
    size_t bytes;
};

struct tape {
    struct arena *mem; /* notes and gradients, until tape_reset() */
    struct tape_spans params, results;
    struct tape_note *note;
    int64_t notes, note_room;
    struct tape_hole *hole; /* by address, no two adjacent */
    int64_t holes, hole_room;

    /* dropout: nothing is drawn from a generator; every element's fate is a function of these,
     * of the site and of its row's key, so a repeated pass drops the same ones. */
    double dropout;
    uint64_t seed, site;
};

/* keep: where the list of parameters lies; it lives longer than what mem holds. */
void tape_init(struct tape *t, struct arena *mem);

/* Gradients with respect to value are added to grad (f32, as many). */
int tape_param(struct tape *t, struct tensor value, float *grad, bool *touched,
               struct arena *keep);

/* Forgets all but the parameters, and resets mem. */
void tape_reset(struct tape *t);

void tape_backward(struct nn *nn);

/* ---- for operations and losses ---- */

/* Whether anything at p has a gradient. */
bool tape_wants(const struct nn *nn, const void *p);

/* out was computed; ctx (copied) says from what. */
void tape_note(struct nn *nn, struct tensor out, tape_fn *back, const void *ctx, size_t size);

/* A result was changed in its place: back makes its gradient that of what it was before. */
void tape_note_change(struct nn *nn, struct tensor out, tape_fn *back, const void *ctx,
                      size_t size);

/* The gradient of the result at p, NULL if nothing came. */
const float *tape_out(const struct nn *nn, const void *p);

/* Where to add to the gradient of what lies at p, cleared the first time; NULL: not wanted. */
float *tape_in(struct nn *nn, const void *p);

/* The gradient of the result t is t's own memory from now on: a loss that turns scores into
 * their gradient in place. */
void tape_seed(struct nn *nn, struct tensor t);

/* Scratch of n floats, not cleared, and its return. NULL, and nn failed, if memory is short. */
float *tape_take(struct nn *nn, size_t n);
void tape_give(struct nn *nn, float *p, size_t n);

#endif
