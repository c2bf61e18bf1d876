/* qformer-train - teaches the Q-Former: stage 1 on pictures and captions, stage 2 with a frozen
 * language model. Manual: man/qformer-train.1. */
#include "cli/die.h"
#include "cli/env.h"
#include "cli/opt.h"
#include "front/compute.h"
#include "front/learn.h"
#include "front/preset.h"
#include "port/mpi.h"

#include <stdio.h>
#include <stdlib.h>

struct args {
    struct learn_args l;
    struct preset p;
};

static const char *const preset_words[] = { "lavis", "paper", NULL };
static const char *const cosine_words[] = { "epoch", "step", NULL };
static const char *const gather_words[] = { "detached", "attached", NULL };

#define BIG 1000000000

static const struct opt opts[] = {
    OPT_MODEL(struct args, l.m),
    OPT_STR(struct args, l.out, 'o', "output", "DIR", "checkpoints go into DIR"),
    OPT_LIST(struct args, l.data, 'd', "data", "FILE", "pairs to learn from (repeatable)"),
    OPT_LIST(struct args, l.weights, 0, "weight", "X", "of each --data, in order"),
    OPT_INT(struct args, p.stage, 0, "stage", "N", 1, 2, "1 (default) or 2"),
    OPT_STR(struct args, l.from, 0, "from", "MODEL", "stage 2: the result of stage 1"),
    OPT_STR(struct args, p.loss, 0, "loss", "LIST", "some of itc,itg,itm; stage 2: lm,align"),
    OPT_CHOICE(struct args, p.preset, 0, "preset", "WORD", preset_words,
               "lavis (default) or paper: what is not given"),
    OPT_INT(struct args, l.m.batch, 'b', "batch-size", "N", 1, 65536, "pairs of a batch"),
    OPT_INT(struct args, p.micro, 0, "micro-batch", "N", 1, 65536, "pairs in memory at once"),
    OPT_INT(struct args, l.accumulate, 0, "accumulate", "N", 1, 65536, "batches of a step"),
    OPT_INT(struct args, p.epochs, 0, "max-epoch", "N", 1, BIG, "epochs of the run"),
    OPT_INT(struct args, l.max_steps, 0, "max-steps", "N", 1, BIG, "steps, in place of epochs"),
    OPT_FLOAT(struct args, p.lr, 0, "lr", "X", 0, 1e9, "peak of the learning rate"),
    OPT_FLOAT(struct args, p.min_lr, 0, "min-lr", "X", 0, 1e9, "its end"),
    OPT_FLOAT(struct args, p.warmup_lr, 0, "warmup-lr", "X", 0, 1e9, "its beginning"),
    OPT_INT(struct args, p.warmup, 0, "warmup-steps", "N", 0, BIG, "steps up to its peak"),
    OPT_CHOICE(struct args, p.cosine, 0, "cosine", "WORD", cosine_words,
               "falls with each epoch or step"),
    OPT_FLOAT(struct args, p.beta2, 0, "beta2", "X", 0, 1, "of AdamW"),
    OPT_FLOAT(struct args, p.weight_decay, 0, "weight-decay", "X", 0, 1e9, "of AdamW"),
    OPT_FLOAT(struct args, p.clip, 0, "clip", "X", 0, 1e9, "largest norm of the gradient"),
    OPT_FLOAT(struct args, p.dropout, 0, "dropout", "X", 0, 0.99, "0.1 by default"),
    OPT_FLOAT(struct args, p.lm_dropout, 0, "lm-dropout", "X", 0, 0.99, "of the frozen OPT"),
    OPT_FLAG(struct args, p.no_temp_decay, 0, "no-temp-decay", "not of the temperature"),
    OPT_FLOAT(struct args, p.temp_min, 0, "temp-min", "X", 0, 1e9, "least temperature of ITC"),
    OPT_FLOAT(struct args, p.temp_max, 0, "temp-max", "X", 0, 1e9, "and the largest"),
    OPT_FLOAT(struct args, p.smoothing, 0, "label-smoothing", "X", 0, 1, "of ITC and ITG"),
    OPT_CHOICE(struct args, p.gather, 0, "gather", "WORD", gather_words,
               "ITC: detached (default) or attached"),
    OPT_FLAG(struct args, l.image_ids, 0, "image-ids", "a picture's captions are no negatives"),
    OPT_STR(struct args, l.prompt, 0, "prompt", "TEXT", "stage 2: before each caption"),
    OPT_FLAG(struct args, l.split, 0, "split", "stage 2: learn captions from a random word on"),
    OPT_INT(struct args, l.max_words, 0, "max-words", "N", 3, 4096, "ids of a text (32)"),
    OPT_FLAG(struct args, p.init, 0, "init", "what the model lacks begins at random"),
    OPT_INT(struct args, p.seed, 0, "seed", "N", 0, 2147483647, "of all chance (42)"),
    OPT_FLAG(struct args, l.skip_bad, 0, "skip-bad", "leave bad pairs out, and say so"),
    OPT_FLAG(struct args, l.resume, 0, "resume", "go on from the newest checkpoint"),
    OPT_INT(struct args, l.save_every, 0, "save-every", "N", 1, BIG, "steps (1000)"),
    OPT_INT(struct args, l.keep, 0, "keep", "N", 1, 1000000, "checkpoints that stay (2)"),
    OPT_STR(struct args, l.log, 0, "log", "FILE", "a JSON line each interval"),
    OPT_INT(struct args, l.log_every, 0, "log-every", "N", 1, BIG, "steps of one (50)"),
    OPT_STR(struct args, l.plot, 0, "plot", "FILE", "the log's curves, PNG"),
    OPT_STR(struct args, l.eval, 0, "eval", "FILE", "stage 1: pairs to measure recall on"),
    OPT_INT(struct args, l.eval_every, 0, "eval-every", "N", 1, BIG, "steps (at the end)"),
    OPT_INT(struct args, l.m.threads, 't', "threads", "N", 1, 1024, "threads to compute with"),
    CACHED_OPTS(struct args, l.cache),
    OPT_END
};

static void check(const struct args *a)
{
    const struct learn_args *l = &a->l;
    if (!l->out || !l->data.n)
        cli_usage_error("expected -o DIR and -d FILE");
    if (l->weights.n && l->weights.n != l->data.n)
        cli_usage_error("--weight: %d of them for %d --data", l->weights.n, l->data.n);
    if (l->plot && !l->log)
        cli_usage_error("--plot draws the lines of --log FILE; expected it too");
    if (a->p.stage == 1 && (l->from || l->prompt || l->split))
        cli_usage_error("--from, --prompt and --split are for --stage 2");
    if (a->p.stage == 2 && (l->eval || l->image_ids))
        cli_usage_error("--eval and --image-ids are for --stage 1");
    if (l->eval_every && !l->eval)
        cli_usage_error("--eval-every: expected --eval FILE with it");
    if (a->p.epochs && l->max_steps)
        cli_usage_error("--max-epoch and --max-steps: expected one of them");
}

static const char *version(void)
{
    static char text[NN_KERNELS + 16];
    snprintf(text, sizeof text, "%s\n%s", compute_version(), mpi_built() ? "MPI" : "no MPI");
    return text;
}

/* Whether mpirun started this process, which costs nothing to know. */
static bool is_rank(void)
{
    return env_get("OMPI_COMM_WORLD_SIZE");
}

static int train(struct learn_args *l)
{
    struct train_comm comm = { .gather = mpi_gather,
                               .sum = mpi_sum,
                               .sum_double = mpi_sum_double };
    if (!is_rank())
        return learn_run(l);
    if (mpi_begin(&comm.rank, &comm.size) < 0)
        return -1;
    l->train.comm = &comm;
    return learn_run(l);
}

/* With others, waits until they are here too; or ends them, if they do not know. */
static int leave(int status, bool alone)
{
    if (is_rank() && mpi_built() && alone)
        mpi_abort(status);
    else if (is_rank() && mpi_built())
        mpi_end();
    return status;
}

int main(int argc, char **argv)
{
    struct args a = { .l = { .accumulate = 1,
                             .max_words = 32,
                             .log_every = 50,
                             .save_every = 1000,
                             .keep = 2 },
                      .p = PRESET_NOTHING };
    char usual[4096];
    int first = cli_start(&(struct cli){ .name = "qformer-train",
                                         .usage = "-d FILE -o DIR [-m MODEL] [OPTION...]",
                                         .about = "Train the Q-Former on pictures with "
                                                  "captions.",
                                         .opts = opts,
                                         .version = version },
                          argc, argv, &a);
    if (argc > first)
        cli_usage_error("'%s': expected options alone", argv[first]);
    check(&a);
    if (preset_fill(&a.l, &a.p) < 0)
        cli_usage_error("%s", err_msg());
    if (!a.l.cache.dir && !a.l.cache.ro && cached_dir(usual, sizeof usual))
        a.l.cache.dir = "";
    int rc = train(&a.l);
    free(a.l.data.v);
    free(a.l.weights.v);
    return leave(cli_finish(rc), rc == LEARN_ALONE);
}
