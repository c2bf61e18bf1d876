/* qformer-match - how well a text fits a picture. Manual: man/qformer-match.1. */
#include "cli/die.h"
#include "cli/opt.h"
#include "front/match.h"

#include <stdlib.h>

struct args {
    struct cli_common c;
    struct match_args m;
};

static const char *const head_words[] = { "both", "itm", "itc", NULL };

static const struct opt opts[] = {
    OPT_MODEL(struct args, m.m),
    OPT_INT(struct args, m.m.threads, 't', "threads", "N", 1, 1024, "threads to compute with"),
    COMPUTE_WEIGHTS(struct args, m.m),
    OPT_LIST(struct args, m.texts, 0, "text", "TEXT", "one record out for each (repeatable)"),
    OPT_CHOICE(struct args, m.head, 0, "head", "WORD", head_words,
               "both (default), itm (matching) or itc (contrastive)"),
    OPT_FLAG(struct args, m.features, 0, "features",
             "add image_embeds_proj, what itc compares"),
    OPT_COMMON(struct args, c),
    OPT_END
};

int main(int argc, char **argv)
{
    struct args a = { 0 };
    int first = cli_start(&(struct cli){ .name = "qformer-match",
                                         .usage = "[-m MODEL] [OPTION...] [FILE]",
                                         .about = "Score how well texts fit the pictures of a "
                                                  "stream.",
                                         .opts = opts,
                                         .on_usage_error = stage_abort,
                                         .version = compute_version },
                          argc, argv, &a);
    const char *file = cli_file(argc, argv, first);
    struct match m = { .args = a.m };
    m.args.keep = a.c.keep;
    int rc = stage_run(&(struct stage){ .program = "qformer-match",
                                        .input = file,
                                        .output = a.c.out,
                                        .fail_fast = a.c.fail_fast,
                                        .ctx = &m,
                                        .open = match_open,
                                        .step = match_step,
                                        .report = cli_report,
                                        .say = a.c.verbose ? cli_warn : NULL });
    match_close(&m);
    free(a.m.texts.v);
    return cli_finish(rc);
}
