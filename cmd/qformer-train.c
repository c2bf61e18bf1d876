/* qformer-train - teaches the Q-Former: stage 1 on pictures and captions, stage 2 with a frozen
 * language model. Manual: man/qformer-train.1. */
#include "cli/die.h"
#include "cli/opt.h"
#include "front/compute.h"
#include "front/learn.h"

#include <stdlib.h>
#include <string.h>

enum preset { PRESET_LAVIS, PRESET_PAPER };
enum cosine { COSINE_EPOCH, COSINE_STEP };
enum gather { GATHER_DETACHED, GATHER_ATTACHED };

#define UNSET -1

struct args {
    struct learn_args l;
    const char *loss;
    int stage, preset, cosine, gather, seed, micro, epochs, warmup;
    double lr, min_lr, warmup_lr, beta2, weight_decay, clip, dropout, smoothing;
    bool init;
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
    OPT_INT(struct args, stage, 0, "stage", "N", 1, 2, "1 (default) or 2"),
    OPT_STR(struct args, l.from, 0, "from", "MODEL", "stage 2: the result of stage 1"),
    OPT_STR(struct args, loss, 0, "loss", "LIST", "stage 1: some of itc,itg,itm"),
    OPT_CHOICE(struct args, preset, 0, "preset", "WORD", preset_words,
               "lavis (default) or paper: what is not given"),
    OPT_INT(struct args, l.m.batch, 'b', "batch-size", "N", 1, 65536, "pairs of a batch"),
    OPT_INT(struct args, micro, 0, "micro-batch", "N", 1, 65536, "pairs in memory at once"),
    OPT_INT(struct args, l.accumulate, 0, "accumulate", "N", 1, 65536, "batches of a step"),
    OPT_INT(struct args, epochs, 0, "max-epoch", "N", 1, BIG, "epochs of the run"),
    OPT_INT(struct args, l.max_steps, 0, "max-steps", "N", 1, BIG, "steps, in place of epochs"),
    OPT_FLOAT(struct args, lr, 0, "lr", "X", 0, 1e9, "peak of the learning rate"),
    OPT_FLOAT(struct args, min_lr, 0, "min-lr", "X", 0, 1e9, "its end"),
    OPT_FLOAT(struct args, warmup_lr, 0, "warmup-lr", "X", 0, 1e9, "its beginning"),
    OPT_INT(struct args, warmup, 0, "warmup-steps", "N", 0, BIG, "steps up to its peak"),
    OPT_CHOICE(struct args, cosine, 0, "cosine", "WORD", cosine_words,
               "falls with each epoch or step"),
    OPT_FLOAT(struct args, beta2, 0, "beta2", "X", 0, 1, "of AdamW"),
    OPT_FLOAT(struct args, weight_decay, 0, "weight-decay", "X", 0, 1e9, "of AdamW"),
    OPT_FLOAT(struct args, clip, 0, "clip", "X", 0, 1e9, "largest norm of the gradient"),
    OPT_FLOAT(struct args, dropout, 0, "dropout", "X", 0, 0.99, "0.1 by default"),
    OPT_FLOAT(struct args, smoothing, 0, "label-smoothing", "X", 0, 1, "of ITC and ITG"),
    OPT_CHOICE(struct args, gather, 0, "gather", "WORD", gather_words,
               "ITC: detached (default) or attached"),
    OPT_FLAG(struct args, l.image_ids, 0, "image-ids", "a picture's captions are no negatives"),
    OPT_STR(struct args, l.prompt, 0, "prompt", "TEXT", "stage 2: before each caption"),
    OPT_FLAG(struct args, l.split, 0, "split", "stage 2: learn captions from a random word on"),
    OPT_INT(struct args, l.max_words, 0, "max-words", "N", 3, 4096, "ids of a text (32)"),
    OPT_FLAG(struct args, init, 0, "init", "what the model lacks begins at random"),
    OPT_INT(struct args, seed, 0, "seed", "N", 0, 2147483647, "of all chance (42)"),
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

/* "itc,itm" as a set. */
static int parse_losses(const char *s)
{
    static const char *const names[] = { "itc", "itg", "itm" };
    int set = 0;
    for (const char *at = s; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
        int k = 0;
        size_t n = strcspn(at, ",");
        while (k < 3 && (n != 3 || strncmp(at, names[k], 3)))
            k++;
        if (k == 3)
            cli_usage_error("--loss: '%s', expected some of itc,itg,itm", s);
        set |= 1 << k;
    }
    return set;
}

static double given(double v, double otherwise)
{
    return v < 0 ? otherwise : v;
}

/* The yamls of LAVIS, or the paper's section 3.4. */
static void fill(struct args *a)
{
    struct learn_args *l = &a->l;
    bool first = a->stage == 1, paper = a->preset == PRESET_PAPER;
    struct train_options *t = &l->train;
    *t = train_defaults(a->stage);
    if (a->loss)
        t->losses = parse_losses(a->loss);
    t->beta2 = given(a->beta2, paper ? 0.98 : t->beta2);
    t->weight_decay = given(a->weight_decay, t->weight_decay);
    t->clip = given(a->clip, t->clip);
    t->dropout = given(a->dropout, t->dropout);
    t->label_smoothing = given(a->smoothing, t->label_smoothing);
    t->attached = a->gather == GATHER_ATTACHED;
    t->seed = (uint64_t)a->seed;
    t->micro = a->micro;
    t->init = a->init;
    if (l->m.batch == 0)
        l->m.batch = first ? paper ? 1680 : 100 : paper ? 1920 : 64;
    if (paper && !a->epochs && !l->max_steps)
        l->max_steps = first ? 250000 : 80000;
    l->schedule = (struct train_schedule){
        .peak = given(a->lr, 1e-4),
        .min = given(a->min_lr, paper ? first ? 0 : 5e-5 : 1e-5),
        .start = given(a->warmup_lr, 1e-6),
        .warmup = a->warmup == UNSET ? first && !paper ? 5000 : 2000 : a->warmup,
        .epochs = a->epochs ? a->epochs : 10,
        .by_step = a->cosine == UNSET ? paper : a->cosine == COSINE_STEP,
    };
}

static void check(const struct args *a)
{
    const struct learn_args *l = &a->l;
    if (!l->out || !l->data.n)
        cli_usage_error("expected -o DIR and -d FILE");
    if (l->weights.n && l->weights.n != l->data.n)
        cli_usage_error("--weight: %d of them for %d --data", l->weights.n, l->data.n);
    if (l->plot && !l->log)
        cli_usage_error("--plot draws the lines of --log FILE; expected it too");
    if (a->stage == 1 && (l->from || l->prompt || l->split))
        cli_usage_error("--from, --prompt and --split are for --stage 2");
    if (a->stage == 2 && (a->loss || l->eval || l->image_ids))
        cli_usage_error("--loss, --eval and --image-ids are for --stage 1");
    if (l->eval_every && !l->eval)
        cli_usage_error("--eval-every: expected --eval FILE with it");
    if (a->epochs && l->max_steps)
        cli_usage_error("--max-epoch and --max-steps: expected one of them");
}

int main(int argc, char **argv)
{
    struct args a = { .l = { .accumulate = 1,
                             .max_words = 32,
                             .log_every = 50,
                             .save_every = 1000,
                             .keep = 2 },
                      .stage = 1,
                      .seed = 42,
                      .cosine = UNSET,
                      .warmup = UNSET,
                      .lr = UNSET,
                      .min_lr = UNSET,
                      .warmup_lr = UNSET,
                      .beta2 = UNSET,
                      .weight_decay = UNSET,
                      .clip = UNSET,
                      .dropout = UNSET,
                      .smoothing = UNSET };
    char usual[4096];
    int first = cli_start(&(struct cli){ .name = "qformer-train",
                                         .usage = "-d FILE -o DIR [-m MODEL] [OPTION...]",
                                         .about = "Train the Q-Former on pictures with "
                                                  "captions.",
                                         .opts = opts,
                                         .version = compute_version },
                          argc, argv, &a);
    if (argc > first)
        cli_usage_error("'%s': expected options alone", argv[first]);
    check(&a);
    fill(&a);
    if (!a.l.cache.dir && !a.l.cache.ro && cached_dir(usual, sizeof usual))
        a.l.cache.dir = "";
    int rc = learn_run(&a.l);
    free(a.l.data.v);
    free(a.l.weights.v);
    return cli_finish(rc);
}
