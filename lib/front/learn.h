/* learn.h - a run of qformer-train: data in, checkpoints and a journal out.
 *
 * Stops:   SIGINT and SIGTERM let the step at hand end, publish a checkpoint, and give
 *          ERR_TEMP.
 * Ranks:   with a train.comm of several processes, all call learn_run() alike. A signal to one
 *          of them, and what only one of them finds, ends all after the same step, with the
 *          same kind of error; err_said() on all but the one that has the message. Rank 0 alone
 *          writes and prints.
 * Errors:  -1 with err set; a loss that is not finite ends the run before it spoils anything,
 *          and names the step and the pair. LEARN_ALONE: the other ranks do not know of it and
 *          are to be ended. */
#ifndef FRONT_LEARN_H
#define FRONT_LEARN_H

#include "cli/opt.h"
#include "front/cached.h"
#include "train/train.h"

struct learn_args {
    struct cli_model m; /* batch: pairs of a batch, of one process */
    struct cached_args cache;
    const char *out;         /* the run's directory */
    const char *from;        /* stage 2: the result of stage 1, or NULL */
    struct opt_list data;    /* files of pairs */
    struct opt_list weights; /* as many numbers, or none: by size */
    const char *eval;        /* held-out pairs, or NULL */
    const char *log, *plot;
    const char *prompt; /* stage 2: stands before each caption and is no target, or NULL */
    bool split;         /* stage 2: captions are cut at random; the first part is no target */
    bool image_ids;     /* stage 1: captions of one picture are no negatives to each other */
    bool skip_bad, resume, verbose;
    int accumulate, max_words, log_every, eval_every, save_every, keep;
    int max_steps; /* 0: as schedule.epochs says */
    struct train_options train;
    struct train_schedule schedule; /* epoch_steps is found out */
};

#define LEARN_ALONE (-2)
int learn_run(const struct learn_args *a);

#endif
