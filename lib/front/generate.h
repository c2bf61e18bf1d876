/* generate.h - what opt-generate does to its records: visual rows and ids to the ids of an
 * answer.
 *
 * Owns:    the model, what it read last and the batch at hand, until generate_close().
 * Errors:  as stage/stage.h; a faulty record becomes an error record in its place. */
#ifndef FRONT_GENERATE_H
#define FRONT_GENERATE_H

#include "answer/answer.h"
#include "base/err.h"
#include "front/compute.h"
#include "front/hidden.h"
#include "front/steps.h"
#include "stage/stage.h"

#define GENERATE_BATCH 256 /* records answered together at most */

struct generate_args {
    struct cli_model m; /* batch from 1 to GENERATE_BATCH */
    struct gen_params p;
    bool stream;         /* a record for each token as it comes, too */
    bool keep;           /* what the question was stays */
    bool attention;      /* add answer_attention and answer_rollout */
    bool hidden;         /* add hidden_states.0 and so on, of the prompt */
    bool verbose;        /* say what was read and written */
    const char *explain; /* NULL, or as steps_open()'s file */
};

struct generate {
    struct generate_args a;
    struct compute compute;
    struct opt_lm *lm;
    struct answer *answer;
    struct steps steps;
    struct hidden hidden; /* of the prompt at hand, if asked for */
    uint64_t records;     /* so far: each has random numbers of its own */

    /* the batch at hand: n of its records have a prompt, the others failed */
    struct stage_io *io;
    struct record **in;
    struct record out;
    struct answer_prompt prompt[GENERATE_BATCH];
    int who[GENERATE_BATCH]; /* whose record a prompt is */
    int n;
    struct err_saved failed[GENERATE_BATCH]; /* by record; ERR_NONE: it has a prompt */
};

/* struct stage's open and step, for a ctx that is a struct generate with its args set. */
int generate_open(void *ctx, struct stage_io *io, const char **model);
int generate_step(void *ctx, struct stage_io *io, struct record **in, int n);

/* -1 (ERR_IO) if the explanation could not be written whole. */
int generate_close(struct generate *g);

#endif
