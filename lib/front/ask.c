/* ask.c - see ask.h. One pipeline for all images and questions: each model is loaded once, and
 * at most a few records are in memory. */
#include "front/ask.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/io.h"
#include "cli/die.h"
#include "front/batch.h"
#include "front/explain.h"
#include "front/format.h"
#include "front/input.h"
#include "front/progress.h"
#include "front/sidecar.h"
#include "front/stages.h"
#include "wire/wire.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TEMPLATE "Question: {} Answer:"

struct ask {
    struct stages_common common;
    struct stages_gen gen;
    struct batch_args batch;
    struct opt_list questions;
    struct stages_images images;
    const char *questions_file, *template, *sidecar, *explain;
    bool skip_existing;
    bool raw, json, jsonl, verbose, fail_fast;
    int format;
    struct opt_list prompts; /* the questions in the template, same order */
    struct buf file;         /* the questions file's bytes */
    struct progress progress;
};

#define ASK_OPTS                                                                               \
    STAGES_COMMON_OPTS(struct ask, common), STAGES_IMAGES_OPTS(struct ask, images),            \
        OPT_CHOICE(struct ask, format, 'f', "format", "WORD", format_words,                    \
                   "text, tsv, jsonl, json"),                                                  \
        OPT_FLAG(struct ask, json, 0, "json", "one JSON document"),                            \
        OPT_FLAG(struct ask, jsonl, 0, "jsonl", "one JSON object a line"),                     \
        OPT_FLAG(struct ask, fail_fast, 0, "fail-fast", "stop at the first image that fails"), \
        OPT_MAYBE(struct ask, explain, "explain", "FILE",                                      \
                  "a page that shows how it came about"),                                      \
        OPT_FLAG(struct ask, verbose, 'v', "verbose", "show the pipeline, ready to paste"),    \
        STAGES_GEN_STR(struct ask, gen, num_return_sequences, "num-return-sequences", "N",     \
                       "answers a question"),                                                  \
        OPT_STR(struct ask, sidecar, 0, "sidecar", "WORD",                                     \
                "answers beside the images: txt, xmp or xmp:stem"),                            \
        OPT_FLAG(struct ask, skip_existing, 0, "skip-existing",                                \
                 "leave out images that have a sidecar"),                                      \
        BATCH_OPTS(struct ask, batch), STAGES_GEN_OPTS(struct ask, gen)

static const struct opt ask_opts[] = {
    OPT_LIST(struct ask, questions, 0, "question", "TEXT", "ask this (repeatable)"),
    OPT_STR(struct ask, questions_file, 0, "questions", "FILE", "questions, one a line"),
    OPT_STR(struct ask, template, 0, "template", "TEXT", "{} is the question"),
    OPT_FLAG(struct ask, raw, 0, "raw-prompt", "the question is the whole prompt"),
    ASK_OPTS,
    OPT_END
};

static const struct opt caption_opts[] = { ASK_OPTS, OPT_END };

static void add(struct opt_list *l, const char *s)
{
    const char **v = realloc(l->v, ((size_t)l->n + 1) * sizeof *v);
    if (!v)
        cli_die_with(err_nomem("questions"));
    v[l->n++] = s;
    l->v = v;
}

/* Lines of the file; empty ones do not count. */
static void read_questions(struct ask *a)
{
    if (io_read_file(&a->file, a->questions_file, (size_t)64 << 20) < 0 || !buf_str(&a->file))
        cli_die();
    char *save = NULL;
    for (char *line = strtok_r((char *)a->file.data, "\r\n", &save); line;
         line = strtok_r(NULL, "\r\n", &save))
        add(&a->questions, line);
    if (a->questions.n == 0)
        cli_die_with(err_set(ERR_DATA, "%s: no questions in it", a->questions_file));
}

static char *fill(const char *template, const char *question)
{
    const char *hole = strstr(template, "{}");
    if (!hole)
        cli_usage_error("--template: '%s', expected {} where the question goes", template);
    struct buf b;
    buf_init(&b);
    if (buf_append(&b, template, (size_t)(hole - template)) < 0 || buf_puts(&b, question) < 0 ||
        buf_puts(&b, hole + 2) < 0 || !buf_str(&b))
        cli_die();
    return (char *)b.data;
}

static void make_prompts(struct ask *a)
{
    const char *template = a->template ? a->template : TEMPLATE;
    for (int i = 0; i < a->questions.n; i++)
        add(&a->prompts, a->raw ? a->questions.v[i] : fill(template, a->questions.v[i]));
}

static void make_pipeline(struct pipeline *p, const struct ask *a)
{
    stages_img_inputs(p, &a->common);
    pipeline_opt(p, "--resize", a->images.resize);
    stages_images(p, &a->images);
    stages_qformer(p, &a->common);
    stages_tokenize(p, &a->common);
    for (int i = 0; i < a->prompts.n; i++)
        pipeline_opt(p, "-p", a->prompts.v[i]);
    stages_generate(p, &a->common, &a->gen);
    stages_decode(p, &a->common);
}

/* The question behind a record's prompt: what the user typed, not what the model read. */
static const char *question_of(const struct ask *a, const struct record *rec)
{
    const char *s;
    size_t n;
    if (record_get_str(&s, &n, rec, "prompt") <= 0)
        return NULL;
    for (int i = 0; i < a->prompts.n; i++)
        if (strlen(a->prompts.v[i]) == n && !memcmp(a->prompts.v[i], s, n))
            return a->questions.v[i];
    return NULL;
}

/* The answer beside its picture. One that appeared meanwhile is as good as one before. */
static int put_sidecar(struct format *o, const struct ask *a, struct record *rec)
{
    enum sidecar kind = sidecar_of(a->sidecar);
    const char *image, *text;
    size_t len, n;
    format_count(o, rec);
    if (record_is_error(rec))
        return 0;
    int got = record_get_str(&image, &len, rec, "path");
    if (got < 0)
        got = record_get_bin(&image, &len, rec, "path"); /* no UTF-8 */
    if (got <= 0 || record_get_str(&text, &n, rec, "text") <= 0)
        return err_set(ERR_DATA, "%s: no path or no text in the record", record_id(rec));
    image = arena_strndup(record_mem(rec), image, len);
    if (!image)
        return -1;
    if (a->skip_existing && sidecar_is_there(image, kind))
        return 0;
    return sidecar_write(image, kind, text, n, a->batch.overwrite);
}

static int print_answers(struct format *o, struct ask *a, int fd)
{
    struct wire_reader *in = wire_reader_new(fd, "the pipeline", NULL);
    struct record rec;
    record_init(&rec);
    int rc = in ? 1 : -1;
    while (rc > 0 && (rc = wire_read(in, &rec)) > 0) {
        if ((a->sidecar ? put_sidecar(o, a, &rec)
                        : format_record(o, &rec, question_of(a, &rec))) < 0)
            rc = -1;
        if (a->progress.begun > 0)
            progress_step(&a->progress);
        if (rc > 0 && o->errors && a->fail_fast)
            rc = 0;
    }
    record_release(&rec);
    wire_reader_free(in);
    return rc;
}

static bool many(const struct ask *a)
{
    return a->images.count > 1 || a->images.files_from || a->images.tar || a->images.recursive;
}

/* A stage's own failure has been said by the stage; ours is said here. */
static int outcome(const struct format *o, int rc, int status)
{
    if (status > 1)
        return status;
    if (rc < 0)
        return cli_finish(-1);
    if (o->errors && o->errors == o->records)
        return cli_status(o->first_kind); /* nothing was answered: say which kind */
    return cli_finish(o->errors != 0);
}

static void release(struct ask *a)
{
    for (int i = 0; i < a->prompts.n && !a->raw; i++)
        free((char *)a->prompts.v[i]);
    free(a->prompts.v);
    free(a->questions.v);
    buf_release(&a->file);
}

static struct format output(const struct ask *a, const struct format_keys *keys)
{
    struct format o = { .kind = a->format, .named = many(a), .keys = *keys, .f = stdout };
    if (a->json)
        o.kind = FORMAT_JSON;
    if (a->jsonl)
        o.kind = FORMAT_JSONL;
    if (o.kind == FORMAT_MSGPACK)
        cli_usage_error("--format msgpack: run the stages themselves (see --verbose)");
    return o;
}

/* ---- with a page that explains ---- */

/* The answers, and then the page, from the files of the stages. */
static int show_explained(struct format *o, struct ask *a, const struct explain *e)
{
    struct input in;
    char path[96];
    const char *page = *a->explain ? a->explain : EXPLAIN_PAGE;
    explain_path(path, sizeof path, e, EXPLAIN_TEXT);
    if (input_open(&in, path) < 0)
        return -1;
    format_begin(o);
    int rc = print_answers(o, a, in.fd);
    if (format_end(o) < 0)
        rc = -1;
    input_close(&in);
    if (rc < 0 || o->errors == o->records)
        return rc;
    rc = explain_page_write(e, page);
    if (rc == 0 && !*a->explain)
        cli_warn("%s", page);
    return rc;
}

static int run_explained(struct ask *a, const struct format_keys *keys)
{
    struct format o = output(a, keys);
    struct explain e = { .common = &a->common,
                         .gen = &a->gen,
                         .images = &a->images,
                         .prompts = &a->prompts,
                         .questions = a->questions.v,
                         .verbose = a->verbose };
    if (a->gen.stream || a->batch.out || a->sidecar)
        cli_usage_error("--explain: expected no --stream, -o or --sidecar with it");
    if (many(a) || a->images.count != 1)
        cli_usage_error("--explain is about one picture; expected one IMAGE");
    int status = explain_run(&e);
    int rc = status < 0 || status > 1 ? status : show_explained(&o, a, &e);
    explain_close(&e);
    release(a);
    return outcome(&o, rc < 0 ? -1 : 0, status < 0 ? 0 : status);
}

/* ---- now ---- */

static int run_now(struct ask *a, const struct format_keys *keys)
{
    struct pipeline p;
    struct format o = output(a, keys);
    stages_prepare(&a->common);
    pipeline_init(&p);
    make_pipeline(&p, a);
    if (a->verbose && stages_show(&p) < 0)
        cli_die();
    pipeline_arg(&p, "-f");
    pipeline_arg(&p, "msgpack");
    if (pipeline_start(&p, false) < 0)
        cli_die();
    format_begin(&o);
    int rc = print_answers(&o, a, p.out);
    if (format_end(&o) < 0)
        rc = -1;
    int status = pipeline_wait(&p);
    pipeline_release(&p);
    release(a);
    return outcome(&o, rc, status);
}

/* ---- into files ---- */

/* What is asked, without what does not matter: as the pipeline for no images. */
static int ask_text(struct buf *out, const struct ask *a)
{
    struct ask bare = *a;
    struct pipeline p;
    bare.common = (struct stages_common){ .weights = a->common.weights, .cache.off = true };
    bare.images = (struct stages_images){ .resize = a->images.resize };
    pipeline_init(&p);
    make_pipeline(&p, &bare);
    int rc = pipeline_text(out, &p);
    pipeline_release(&p);
    return rc < 0 || !buf_str(out) ? -1 : 0;
}

static void show(const struct ask *a)
{
    struct pipeline p;
    pipeline_init(&p);
    make_pipeline(&p, a);
    if (stages_show(&p) < 0)
        cli_die();
    pipeline_release(&p);
}

/* All answers where they belong, by a pipeline that a signal ends. */
static int run_stoppable(struct format *o, struct ask *a, uint64_t images)
{
    struct pipeline p;
    if (a->verbose)
        show(a);
    progress_begin(&a->progress, images);
    a->images.tally = *a->progress.path ? a->progress.path : NULL;
    pipeline_init(&p);
    make_pipeline(&p, a);
    pipeline_opt(&p, "-f", "msgpack");
    if (pipeline_start(&p, false) < 0)
        cli_die();
    batch_stop_on_signal(&p);
    return batch_wait(&p, print_answers(o, a, p.out));
}

static int do_part(struct batch *b, struct ask *a, const struct format_keys *keys)
{
    struct format o = { .kind = FORMAT_JSONL, .keys = *keys, .f = batch_create(b, ".jsonl") };
    if (!o.f)
        return -1;
    batch_images(b, &a->images);
    format_begin(&o);
    if ((b->images && run_stoppable(&o, a, b->images) < 0) || format_end(&o) < 0 ||
        batch_publish(b, o.records, o.errors) < 0)
        return -1;
    if (b->images)
        progress_end(&a->progress, o.records - o.errors, "answers", o.errors);
    return o.errors != 0;
}

static int run_batch(struct ask *a, const struct format_keys *keys)
{
    struct batch b = { 0 };
    struct buf asked = { 0 };
    if (a->format != FORMAT_TEXT || a->json || a->jsonl || a->gen.stream)
        cli_usage_error("-o writes JSON lines when they are whole; expected no -f and no "
                        "--stream with it");
    stages_prepare(&a->common);
    int rc = ask_text(&asked, a);
    if (rc == 0)
        rc = batch_open(&b, &a->batch, &a->images, (const char *)asked.data, a->common.model);
    if (rc == 0 && a->verbose)
        cli_warn("%s: done before", b.base);
    rc = rc > 0 ? do_part(&b, a, keys) : rc == 0 ? b.errors != 0 : rc;
    progress_drop(&a->progress);
    batch_close(&b);
    buf_release(&asked);
    release(a);
    return cli_finish(rc);
}

/* ---- beside the images ---- */

static void check_sidecar(const struct ask *a)
{
    if (sidecar_of(a->sidecar) == SIDECAR_NONE)
        cli_usage_error("--sidecar: '%s', expected txt, xmp or xmp:stem", a->sidecar);
    if (a->questions.n > 1 || a->gen.num_return_sequences)
        cli_usage_error("--sidecar: a file holds one answer; expected one question");
    if (a->batch.out || a->format != FORMAT_TEXT || a->json || a->jsonl || a->gen.stream)
        cli_usage_error("--sidecar: nothing else is written; expected no -o, -f and --stream");
    if (a->skip_existing && a->batch.overwrite)
        cli_usage_error("--skip-existing and --overwrite: expected one of them");
    if (a->images.tar)
        cli_usage_error("--sidecar: no files can lie beside those of --tar");
}

static int run_sidecars(struct ask *a, const struct format_keys *keys)
{
    struct format o = { .kind = FORMAT_TEXT, .keys = *keys, .f = stdout };
    check_sidecar(a);
    stages_prepare(&a->common);
    a->images.skip = a->skip_existing ? a->sidecar : NULL;
    int rc = run_stoppable(
        &o, a, a->images.files_from || a->images.recursive ? 0 : (uint64_t)a->images.count);
    if (rc == 0)
        progress_end(&a->progress, o.records - o.errors, "answers", o.errors);
    progress_drop(&a->progress);
    release(a);
    return cli_finish(rc < 0 ? rc : o.errors != 0);
}

static int run(struct ask *a, const struct format_keys *keys)
{
    if (batch_check(&a->batch) < 0)
        cli_usage_error("%s", err_msg());
    if ((a->skip_existing || (a->batch.overwrite && !a->batch.out)) && !a->sidecar)
        cli_usage_error("--%s", a->skip_existing
                                    ? "skip-existing: expected --sidecar with it"
                                    : "overwrite: expected -o DIR or --sidecar with it");
    if (a->explain)
        return run_explained(a, keys);
    if (a->sidecar)
        return run_sidecars(a, keys);
    return a->batch.out ? run_batch(a, keys) : run_now(a, keys);
}

/* ---- the subcommands ---- */

static void need_images(const struct ask *a, const char *what)
{
    if (!a->images.count && !a->images.files_from && !a->images.tar && isatty(STDIN_FILENO))
        cli_usage_error("no image; expected %s", what);
}

int front_ask(int argc, char **argv)
{
    struct ask a = { 0 };
    int i = cli_start(&(struct cli){ .name = "vqa ask",
                                     .usage = "[OPTION...] IMAGE... QUESTION\n"
                                              "[OPTION...] --question TEXT [IMAGE...]",
                                     .about = "Ask questions about pictures.",
                                     .opts = ask_opts },
                      argc, argv, &a);
    if (a.questions_file)
        read_questions(&a);
    if (a.questions.n == 0 && i < argc)
        add(&a.questions, argv[--argc]);
    if (a.questions.n == 0)
        cli_usage_error("no question; expected IMAGE... QUESTION or --question TEXT");
    a.images.names = argv + i;
    a.images.count = argc - i;
    need_images(&a, "IMAGE... QUESTION");
    make_prompts(&a);
    return run(&a, &(struct format_keys){ "image", "question", "answer" });
}

/* The last operand is a prefix to complete unless it names a file. */
int front_caption(int argc, char **argv)
{
    struct ask a = { .raw = true };
    int i = cli_start(&(struct cli){ .name = "vqa caption",
                                     .usage = "[OPTION...] IMAGE... [PREFIX]",
                                     .about = "Describe pictures, or complete a description "
                                              "that begins with PREFIX.",
                                     .opts = caption_opts },
                      argc, argv, &a);
    if (argc - i > 1 && access(argv[argc - 1], F_OK) != 0)
        add(&a.questions, argv[--argc]);
    a.images.names = argv + i;
    a.images.count = argc - i;
    need_images(&a, "IMAGE... [PREFIX]");
    make_prompts(&a);
    if (!a.gen.max_new_tokens)
        a.gen.max_new_tokens = "50"; /* a whole sentence; it ends by itself */
    return run(&a, &(struct format_keys){ "image", "prefix", "caption" });
}
