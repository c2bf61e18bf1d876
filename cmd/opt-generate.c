/* opt-generate - visual rows and token ids to the ids of an answer. Manual: man/opt-generate.1.
 */
#include "cli/die.h"
#include "cli/opt.h"
#include "front/generate.h"

#define BATCH 8 /* records answered together unless -b says otherwise */

struct args {
    struct cli_common c;
    struct generate_args g;
    int seed;
};

static const char *const early_words[] = { "false", "true", "never", NULL };

#define GEN_INT(field, name, arg, min, help)                                                   \
    OPT_INT(struct args, g.p.field, 0, name, arg, min, INT32_MAX, help)
#define GEN_FLOAT(field, name, min, max, help)                                                 \
    OPT_FLOAT(struct args, g.p.field, 0, name, "X", min, max, help)

static const struct opt opts[] = {
    OPT_MODEL(struct args, g.m),
    OPT_COMPUTE(struct args, g.m),
    COMPUTE_WEIGHTS(struct args, g.m),
    GEN_INT(max_new_tokens, "max-new-tokens", "N", 1, "tokens of an answer (20)"),
    GEN_INT(min_new_tokens, "min-new-tokens", "N", 0, "no end before so many (0)"),
    GEN_FLOAT(repetition_penalty, "repetition-penalty", 1e-6, 1e6, "of ids seen; 1 is none"),
    GEN_INT(no_repeat_ngram_size, "no-repeat-ngram-size", "N", 0, "0 is none"),
    OPT_INT(struct args, g.p.num_beams, 0, "num-beams", "N", 1, GEN_BEAMS, "beam search (1)"),
    GEN_FLOAT(length_penalty, "length-penalty", -100, 100, "beams: above 0 favours longer (1)"),
    OPT_CHOICE(struct args, g.p.early_stopping, 0, "early-stopping", "WORD", early_words,
               "beams: false (default), true, never"),
    OPT_INT(struct args, g.p.num_return_sequences, 0, "num-return-sequences", "N", 1, GEN_BEAMS,
            "answers a record (1)"),
    OPT_FLAG(struct args, g.p.do_sample, 0, "do-sample", "draw tokens, not take the likeliest"),
    GEN_FLOAT(temperature, "temperature", 1e-6, 1e6, "sampling: below 1 bolder (1)"),
    GEN_INT(top_k, "top-k", "N", 0, "sampling: among the N likeliest (50); 0 is all"),
    GEN_FLOAT(top_p, "top-p", 0, 1, "sampling: among the likeliest of sum X (1)"),
    GEN_FLOAT(min_p, "min-p", 0, 1, "sampling: not below X of the likeliest (0)"),
    GEN_FLOAT(typical_p, "typical-p", 1e-6, 1, "sampling: the most typical of sum X (1)"),
    OPT_INT(struct args, seed, 0, "seed", "N", 0, INT32_MAX, "sampling: which numbers (0)"),
    OPT_FLAG(struct args, g.attention, 0, "attention", "add where each token looks"),
    OPT_FLAG(struct args, g.hidden, 0, "hidden-states", "add the state after each layer"),
    OPT_MAYBE(struct args, g.explain, "explain", "FILE",
              "each step on standard error, or as JSON lines"),
    OPT_FLAG(struct args, g.stream, 0, "stream", "a record for each token as it comes, too"),
    OPT_COMMON(struct args, c),
    OPT_END
};

static void check(struct args *a)
{
    struct generate_args *g = &a->g;
    g->p.seed = (uint64_t)a->seed;
    g->keep = a->c.keep;
    g->verbose = a->c.verbose;
    if (gen_params_check(&g->p) < 0)
        cli_usage_error("%s", err_msg());
    if (g->stream && g->p.num_beams > 1)
        cli_usage_error("--stream: beams have no answer before the end");
    if (!g->m.batch)
        g->m.batch = BATCH;
}

static int run(const struct args *a, const char *file)
{
    struct generate g = { .a = a->g };
    record_init(&g.out);
    int rc = stage_run(&(struct stage){ .program = "opt-generate",
                                        .input = file,
                                        .output = a->c.out,
                                        .batch = g.a.m.batch,
                                        .fail_fast = a->c.fail_fast,
                                        .ctx = &g,
                                        .open = generate_open,
                                        .step = generate_step,
                                        .report = cli_report,
                                        .say = a->c.verbose ? cli_warn : NULL });
    return generate_close(&g) < 0 && rc >= 0 ? -1 : rc;
}

int main(int argc, char **argv)
{
    static const struct cli cli = { .name = "opt-generate",
                                    .usage = "[OPTION...] [FILE]",
                                    .about = "Ids of prompts to ids of answers, by OPT.",
                                    .opts = opts,
                                    .on_usage_error = stage_abort,
                                    .version = compute_version };
    struct args a = { 0 };
    gen_params_init(&a.g.p);
    int first = cli_start(&cli, argc, argv, &a);
    const char *file = cli_file(argc, argv, first);
    check(&a);
    return cli_finish(run(&a, file));
}
