/* qformer - image embeddings to what the language model reads. Manual: man/qformer.1. */
#include "cli/die.h"
#include "cli/opt.h"
#include "front/queries.h"

struct args {
    struct cli_common c;
    struct queries_args q;
};

static const struct opt opts[] = {
    OPT_MODEL(struct args, q.m),
    OPT_COMPUTE(struct args, q.m),
    COMPUTE_WEIGHTS(struct args, q.m),
    OPT_FLAG(struct args, q.features, 0, "features", "add query_output, before the projection"),
    OPT_FLAG(struct args, q.attention, 0, "attention", "add where each query looks"),
    OPT_FLAG(struct args, q.hidden, 0, "hidden-states", "add the state after each layer"),
    OPT_STR(struct args, q.text, 0, "text", "TEXT", "read each image together with TEXT"),
    CACHED_OPTS(struct args, q.cache),
    OPT_COMMON(struct args, c),
    OPT_END
};

static void check(const struct queries_args *q)
{
    const char *adds = q->features    ? "features"
                       : q->attention ? "attention"
                       : q->hidden    ? "hidden-states"
                                      : NULL;
    if (adds && cached_asked(&q->cache))
        cli_usage_error("--%s: only language_model_inputs are kept in a cache", adds);
}

int main(int argc, char **argv)
{
    struct args a = { 0 };
    int first = cli_start(&(struct cli){ .name = "qformer",
                                         .usage = "[-m MODEL] [OPTION...] [FILE]",
                                         .about = "Turn image_embeds into "
                                                  "language_model_inputs.",
                                         .opts = opts,
                                         .on_usage_error = stage_abort,
                                         .version = compute_version },
                          argc, argv, &a);
    const char *file = cli_file(argc, argv, first);
    check(&a.q);
    struct queries q = { .args = a.q };
    q.args.keep = a.c.keep;
    int rc = stage_run(&(struct stage){ .program = "qformer",
                                        .input = file,
                                        .output = a.c.out,
                                        .batch = a.q.m.batch,
                                        .fail_fast = a.c.fail_fast,
                                        .ctx = &q,
                                        .open = queries_open,
                                        .step = queries_step,
                                        .report = cli_report,
                                        .say = a.c.verbose ? cli_warn : NULL });
    if (a.c.verbose)
        cached_report(&q.cached);
    queries_close(&q);
    return cli_finish(rc);
}
