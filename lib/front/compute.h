/* compute.h - what a stage that runs a model holds: the checkpoint, threads, kernels, memory.
 *
 * Lifetime:  everything lives from compute_open() to compute_close(); activations until the
 *            stage resets `scratch`, once a batch.
 * Errors:    -1 with err set, as front/model.h, store/store.h and nn/nn.h say. */
#ifndef FRONT_COMPUTE_H
#define FRONT_COMPUTE_H

#include "cli/opt.h"
#include "nn/nn.h"
#include "store/store.h"

/* --weights, in the table of a command that opens its model with compute_open(). */
#define COMPUTE_WEIGHTS(S, field)                                                              \
    OPT_CHOICE(S, field.weights, 0, "weights", "WORD", quant_words,                            \
               "stored (default), or made int8, int4 or bf16 at the start")

struct compute {
    struct store *store;
    struct pool *pool;
    struct arena weights; /* tables of the model; big weights are views of the store */
    struct arena scratch; /* activations */
    struct nn nn;
    const char *making; /* "int8": for the lines that tell of it */
    double told;        /* seconds, when the last one was */
    int passes;         /* through the model's layers, begun */
    long faults;        /* pages read from disk up to the last line */
};

/* Finds and opens the model of -m, starts -t threads, picks the kernels of $VQA_CPU. A zeroed
 * struct, which stays where it is; close it also after a failure. */
int compute_open(struct compute *c, const struct cli_model *args);
void compute_close(struct compute *c);

/* A watch of a model's layers (vit.h, opt.h; ctx is the struct compute) for somebody who waits
 * on a terminal. Weights are mapped: what is not in memory yet is read in the first pass, and
 * if that takes longer than a second, a line a second says how far it is. */
void compute_watch(void *ctx, int layer, struct tensor hidden);
bool compute_is_watched(void);

/* For --version: the instruction sets. */
const char *compute_version(void);

#endif
