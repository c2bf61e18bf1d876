/* opt-generate - visual rows and token ids to the ids of an answer. Manual: man/opt-generate.1.
 */
#include "answer/answer.h"
#include "cli/die.h"
#include "cli/opt.h"
#include "front/compute.h"
#include "front/question.h"
#include "stage/stage.h"

enum { BATCH = 8, BATCH_MAX = 256 }; /* records answered together: -b's default and bound */

struct args {
    struct cli_common c;
    struct cli_model m;
    struct gen_params p;
    int seed;
    bool stream;
};

static const char *const early_words[] = { "false", "true", "never", NULL };

#define GEN_INT(field, name, arg, min, help)                                                   \
    OPT_INT(struct args, p.field, 0, name, arg, min, INT32_MAX, help)
#define GEN_FLOAT(field, name, min, max, help)                                                 \
    OPT_FLOAT(struct args, p.field, 0, name, "X", min, max, help)

static const struct opt opts[] = {
    OPT_MODEL(struct args, m),
    OPT_COMPUTE(struct args, m),
    GEN_INT(max_new_tokens, "max-new-tokens", "N", 1, "tokens of an answer (20)"),
    GEN_INT(min_new_tokens, "min-new-tokens", "N", 0, "no end before so many (0)"),
    GEN_FLOAT(repetition_penalty, "repetition-penalty", 1e-6, 1e6, "of ids seen; 1 is none"),
    GEN_INT(no_repeat_ngram_size, "no-repeat-ngram-size", "N", 0, "0 is none"),
    OPT_INT(struct args, p.num_beams, 0, "num-beams", "N", 1, GEN_BEAMS, "beam search (1)"),
    GEN_FLOAT(length_penalty, "length-penalty", -100, 100, "beams: above 0 favours longer (1)"),
    OPT_CHOICE(struct args, p.early_stopping, 0, "early-stopping", "WORD", early_words,
               "beams: false (default), true, never"),
    OPT_INT(struct args, p.num_return_sequences, 0, "num-return-sequences", "N", 1, GEN_BEAMS,
            "answers a record (1)"),
    OPT_FLAG(struct args, p.do_sample, 0, "do-sample", "draw tokens, not take the likeliest"),
    GEN_FLOAT(temperature, "temperature", 1e-6, 1e6, "sampling: below 1 bolder (1)"),
    GEN_INT(top_k, "top-k", "N", 0, "sampling: among the N likeliest (50); 0 is all"),
    GEN_FLOAT(top_p, "top-p", 0, 1, "sampling: among the likeliest of sum X (1)"),
    GEN_FLOAT(min_p, "min-p", 0, 1, "sampling: not below X of the likeliest (0)"),
    GEN_FLOAT(typical_p, "typical-p", 1e-6, 1, "sampling: the most typical of sum X (1)"),
    OPT_INT(struct args, seed, 0, "seed", "N", 0, INT32_MAX, "sampling: which numbers (0)"),
    OPT_FLAG(struct args, stream, 0, "stream", "a record for each token as it comes, too"),
    OPT_COMMON(struct args, c),
    OPT_END
};

struct generate {
    struct args a;
    struct compute compute;
    struct opt_lm *lm;
    struct answer *answer;
    uint64_t records; /* so far: each has random numbers of its own */

    /* the batch at hand: n of its records have a prompt, the others failed */
    struct stage_io *io;
    struct record **in;
    struct record out;
    struct answer_prompt prompt[BATCH_MAX];
    int who[BATCH_MAX]; /* whose record a prompt is */
    int n;
    struct err_saved failed[BATCH_MAX]; /* by record; ERR_NONE: it has a prompt */
};

static int open_model(void *ctx, struct stage_io *io, const char **model)
{
    struct generate *g = ctx;
    (void)io;
    if (compute_open(&g->compute, &g->a.m) < 0)
        return -1;
    g->lm = opt_open(g->compute.store, &g->compute.weights);
    if (!g->lm)
        return -1;
    g->answer = answer_open(g->lm, &g->compute.nn, &g->a.p, g->a.m.batch);
    *model = store_fingerprint(g->compute.store);
    return g->answer && *model ? 0 : -1;
}

/* answer numbers in records: none where there is one answer each */
static int numbered(const struct generate *g, int sequence)
{
    return g->a.p.num_return_sequences > 1 ? sequence : -1;
}

/* --stream */
static int tell_token(void *ctx, int prompt, int sequence, const int64_t *ids, int n)
{
    struct generate *g = ctx;
    if (question_put_part(&g->out, g->in[g->who[prompt]], numbered(g, sequence), ids, n) < 0)
        return -1;
    return stage_emit(g->io, &g->out);
}

static void lay_out(struct generate *g, int n)
{
    answer_begin(g->answer);
    g->n = 0;
    for (int i = 0; i < n; i++) {
        struct answer_prompt *p = &g->prompt[g->n];
        g->failed[i].kind = ERR_NONE;
        if (question_lay_out(p, g->answer, g->in[i], g->records++) < 0)
            err_save(&g->failed[i]);
        else
            g->who[g->n++] = i;
    }
}

static void say_prompt(const struct generate *g, int prompt, const struct gen_answer *answer)
{
    const struct answer_prompt *p = &g->prompt[prompt];
    cli_warn("%s: prefill %lld of %lld positions, %d new tokens",
             record_id(g->in[g->who[prompt]]), (long long)(p->n - p->reused), (long long)p->n,
             answer->n);
}

static int emit_answers(struct generate *g, int prompt, const struct gen_answer *answer)
{
    if (g->a.c.verbose)
        say_prompt(g, prompt, answer);
    for (int k = 0; k < g->a.p.num_return_sequences; k++)
        if (question_put_answer(&g->out, g->in[g->who[prompt]], numbered(g, k), &answer[k],
                                g->a.c.keep) < 0 ||
            stage_emit(g->io, &g->out) < 0)
            return -1;
    return 0;
}

static int fail(struct generate *g, int i)
{
    err_restore(&g->failed[i]);
    return stage_fail(g->io, g->in[i]);
}

static int step(void *ctx, struct stage_io *io, struct record **in, int n)
{
    struct generate *g = ctx;
    struct gen_watch watch = { g, tell_token };
    struct gen_answer *answer;
    int each = g->a.p.num_return_sequences;
    g->io = io;
    g->in = in;
    lay_out(g, n);
    if (answer_run(&answer, g->answer, g->prompt, g->n, g->a.stream ? &watch : NULL) < 0)
        for (int k = 0; k < g->n; k++)
            err_save(&g->failed[g->who[k]]);
    for (int i = 0, k = 0; i < n; i++) {
        bool asked = k < g->n && g->who[k] == i;
        if ((g->failed[i].kind ? fail(g, i) : emit_answers(g, k, &answer[k * each])) < 0)
            return -1;
        k += asked;
    }
    return 0;
}

static void check(struct args *a)
{
    a->p.seed = (uint64_t)a->seed;
    if (gen_params_check(&a->p) < 0)
        cli_usage_error("%s", err_msg());
    if (a->stream && a->p.num_beams > 1)
        cli_usage_error("--stream: beams have no answer before the end");
    if (!a->m.batch)
        a->m.batch = BATCH;
}

int main(int argc, char **argv)
{
    static const struct cli cli = { .name = "opt-generate",
                                    .usage = "[OPTION...] [FILE]",
                                    .about = "Ids of prompts to ids of answers, by OPT.",
                                    .opts = opts,
                                    .on_usage_error = stage_abort,
                                    .version = compute_version };
    struct generate g = { 0 };
    gen_params_init(&g.a.p);
    int first = cli_start(&cli, argc, argv, &g.a);
    if (argc - first > 1)
        cli_usage_error("%d operands, expected one FILE at most", argc - first);
    check(&g.a);
    record_init(&g.out);
    struct stage s = { .program = cli.name,
                       .input = argv[first],
                       .output = g.a.c.out,
                       .batch = g.a.m.batch,
                       .fail_fast = g.a.c.fail_fast,
                       .ctx = &g,
                       .open = open_model,
                       .step = step,
                       .report = cli_report,
                       .say = g.a.c.verbose ? cli_warn : NULL };
    int rc = stage_run(&s);
    record_release(&g.out);
    answer_close(g.answer);
    compute_close(&g.compute);
    return cli_finish(rc);
}
