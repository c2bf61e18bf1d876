/* tokenize - prompts to token ids, and generated ids to text. Manual: man/tokenize.1. */
#include "base/utf8.h"
#include "cli/die.h"
#include "cli/opt.h"
#include "front/format.h"
#include "front/input.h"
#include "front/token_table.h"
#include "front/tokens.h"
#include "stage/stage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct args {
    struct cli_common c;
    struct cli_model m;
    struct opt_list prompts;
    bool decode, ids, explain, split;
    int format; /* -1: not given */
    const char *in;
    struct tokens tokens;
    struct record out; /* scratch: one prompt's record */
};

static const struct opt opts[] = {
    OPT_MODEL(struct args, m),
    OPT_LIST(struct args, prompts, 'p', "prompt", "TEXT",
             "one record out for each (repeatable)"),
    OPT_FLAG(struct args, split, 0, "split-special-tokens",
             "</s> in a prompt is ordinary text"),
    OPT_FLAG(struct args, decode, 'd', "decode", "output_ids to text, and print it"),
    OPT_CHOICE(struct args, format, 'f', "format", "WORD", format_words,
               "with -d: text, tsv, jsonl, json, or msgpack for records"),
    OPT_FLAG(struct args, ids, 0, "ids", "lines of text to lines of ids; with -d back"),
    OPT_FLAG(struct args, explain, 0, "explain",
             "show the tokens of lines of text, with -f jsonl too"),
    OPT_COMMON(struct args, c),
    OPT_END
};

static int open_tokens(void *ctx, struct stage_io *io, const char **model)
{
    struct args *a = ctx;
    (void)io;
    *model = NULL;
    return tokens_open(&a->tokens, a->m.model);
}

static int emit(struct args *a, struct stage_io *io, const struct record *in,
                const char *prompt)
{
    record_view(&a->out, in);
    int rc = a->decode ? tokens_decode(&a->out, &a->tokens, a->c.keep)
                       : tokens_encode(&a->out, &a->tokens, prompt);
    return rc < 0 ? stage_fail(io, &a->out) : stage_emit(io, &a->out);
}

static int step(void *ctx, struct stage_io *io, struct record **in, int n)
{
    struct args *a = ctx;
    int rc = 0;
    for (int i = 0; i < n && rc == 0; i++) {
        if (a->prompts.n == 0)
            rc = emit(a, io, in[i], NULL);
        for (int k = 0; k < a->prompts.n && rc == 0; k++)
            rc = emit(a, io, in[i], a->prompts.v[k]);
    }
    return rc;
}

static int run_stage(struct args *a)
{
    return stage_run(&(struct stage){ .program = "tokenize",
                                      .input = a->in,
                                      .output = a->c.out,
                                      .fail_fast = a->c.fail_fast,
                                      .ctx = a,
                                      .open = open_tokens,
                                      .step = step,
                                      .report = cli_report,
                                      .say = a->c.verbose ? cli_warn : NULL });
}

static int print_record(struct format *o, struct args *a, struct record *rec)
{
    input_say_saved(rec);
    if (!record_is_error(rec) && tokens_decode(rec, &a->tokens, a->c.keep) < 0) {
        if (a->c.fail_fast || err_kind() != ERR_DATA)
            return err_wrap("%s", record_id(rec));
        cli_report(record_id(rec), err_msg());
        if (record_put_error(rec, "tokenize") < 0)
            return -1;
    }
    return format_record(o, rec, NULL);
}

static int print_records(struct args *a)
{
    struct format o = { .kind = a->format < 0 ? FORMAT_TEXT : (enum format_kind)a->format,
                        .keys = { "id", "prompt", "text" },
                        .f = stdout };
    struct input in;
    int rc = input_open(&in, a->in) == 0 && wire_start(in.reader) == 0 &&
                     tokens_open(&a->tokens, a->m.model) == 0
                 ? 1
                 : -1;
    if (rc > 0)
        format_begin(&o);
    while (rc > 0 && (rc = wire_read(in.reader, &a->out)) > 0)
        if (print_record(&o, a, &a->out) < 0)
            rc = -1;
    if (rc == 0 && format_end(&o) == 0)
        rc = o.errors != 0;
    if (a->c.verbose)
        cli_warn("%llu records, %llu of them errors", (unsigned long long)o.records,
                 (unsigned long long)o.errors);
    input_close(&in);
    return rc;
}

static int print_line(void *ctx, const char *s, size_t n)
{
    struct args *a = ctx;
    if (a->explain)
        return token_table_line(stdout, &a->tokens, s, n, a->format == FORMAT_JSONL);
    return a->decode ? tokens_print_text(stdout, &a->tokens, s, n)
                     : tokens_print_ids(stdout, &a->tokens, s, n);
}

static int print_lines(struct args *a, char **operands, int n)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (tokens_open(&a->tokens, a->m.model) < 0)
        return -1;
    return tokens_each_line(operands, n, print_line, a);
}

static void check_explain(const struct args *a)
{
    if (a->decode || a->ids)
        cli_usage_error("--explain: expected no --%s with it", a->decode ? "decode" : "ids");
    if (a->format >= 0 && a->format != FORMAT_TEXT && a->format != FORMAT_JSONL)
        cli_usage_error("--explain prints text or jsonl");
}

static void check_args(const struct args *a, int operands)
{
    bool lines = a->ids || a->explain,
         people = lines || (a->decode && a->format != FORMAT_MSGPACK);
    if (a->decode && a->prompts.n)
        cli_usage_error("--decode and --prompt: expected one of them");
    if (a->explain)
        check_explain(a);
    else if (a->format >= 0 && (!a->decode || a->ids))
        cli_usage_error("--format is for --decode of records");
    if (lines && a->prompts.n)
        cli_usage_error("--%s takes its text from operands or standard input, not --prompt",
                        a->ids ? "ids" : "explain");
    if (people && a->c.out)
        cli_usage_error("--output is for records; redirect standard output instead");
    if (operands > 1 && !lines)
        cli_usage_error("%d operands, expected one stream", operands);
    for (int i = 0; i < a->prompts.n; i++)
        if (!utf8_valid(a->prompts.v[i], strlen(a->prompts.v[i])))
            cli_usage_error("--prompt: not UTF-8");
}

int main(int argc, char **argv)
{
    struct args a = { .format = -1 };
    int i = cli_start(
        &(struct cli){ .name = "tokenize",
                       .usage = "[-m MODEL] [-p TEXT]... [--split-special-tokens] [-o FILE] "
                                "[STREAM]\n"
                                "-d [-m MODEL] [-f WORD] [--keep] [-o FILE] [STREAM]\n"
                                "--ids [-d] [-m MODEL] [--split-special-tokens] [TEXT...]\n"
                                "--explain [-f jsonl] [-m MODEL] [--split-special-tokens] "
                                "[TEXT...]",
                       .about = "Turn prompts into token ids, and generated ids into text.",
                       .opts = opts },
        argc, argv, &a);
    check_args(&a, argc - i);
    a.in = argv[i];
    a.tokens.layout.split_specials = a.split;
    record_init(&a.out);
    int rc = a.ids || a.explain                       ? print_lines(&a, argv + i, argc - i)
             : a.decode && a.format != FORMAT_MSGPACK ? print_records(&a)
                                                      : run_stage(&a);
    tokens_close(&a.tokens);
    free(a.prompts.v);
    record_release(&a.out);
    return cli_finish(rc);
}
