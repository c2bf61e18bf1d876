/* chat.c - see chat.h. The picture is encoded once; the language stages stay up for the whole
 * conversation, and opt-generate keeps the key-value cache of everything already said. */
#include "front/chat.h"

#include "base/buf.h"
#include "base/err.h"
#include "cli/die.h"
#include "front/format.h"
#include "front/stages.h"
#include "wire/wire.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct chat {
    struct stages_common common;
    struct stages_gen gen;
    const char *resize;
    bool jsonl, verbose;
    const char *image;

    struct record picture; /* id and language_model_inputs */
    struct buf said;       /* the conversation so far, as the model reads it */
    struct pipeline talk;
    struct wire_writer *to;
    struct wire_reader *from;
    struct format out;
};

static const struct opt opts[] = {
    STAGES_COMMON_OPTS(struct chat, common),
    STAGES_RESIZE_OPT(struct chat, resize),
    OPT_FLAG(struct chat, jsonl, 0, "jsonl", "one JSON object a turn"),
    OPT_FLAG(struct chat, verbose, 'v', "verbose", "show the pipelines"),
    STAGES_GEN_OPTS(struct chat, gen),
    OPT_END
};

/* The first record of the pipeline's output, whole: its end record is read too. */
static int read_one(struct record *rec, int fd)
{
    struct wire_reader *in = wire_reader_new(fd, "the picture's stages", NULL);
    struct record rest;
    if (!in)
        return -1;
    record_init(&rest);
    int rc = wire_read(in, rec);
    if (rc == 0)
        rc = err_set(ERR_DATA, "no picture came out of its stages");
    if (rc > 0 && wire_read(in, &rest) < 0)
        rc = -1;
    record_release(&rest);
    wire_reader_free(in);
    return rc < 0 ? -1 : 0;
}

/* Exits by itself if the picture cannot be had: the stage has said why. */
static void encode_picture(struct chat *c)
{
    struct pipeline p;
    struct record_error e;
    pipeline_init(&p);
    stages_img_inputs(&p, &c->common);
    pipeline_opt(&p, "--resize", c->resize);
    pipeline_arg(&p, "--");
    pipeline_arg(&p, c->image);
    stages_qformer(&p, &c->common);
    if ((c->verbose && stages_show(&p) < 0) || pipeline_start(&p, false) < 0)
        cli_die();
    int rc = read_one(&c->picture, p.out);
    int status = pipeline_wait(&p);
    pipeline_release(&p);
    if (status > 1)
        exit(status);
    if (rc < 0)
        cli_die();
    if (record_get_error(&e, &c->picture))
        exit(cli_status(err_kind_named(e.kind)));
}

static int start_talk(struct chat *c)
{
    struct wire_producer me = { "vqa", VQA_VERSION, NULL, "chat" };
    if (!c->gen.max_new_tokens)
        c->gen.max_new_tokens = "40";
    pipeline_init(&c->talk);
    stages_tokenize(&c->talk, &c->common);
    stages_generate(&c->talk, &c->common, &c->gen);
    stages_decode(&c->talk, &c->common);
    pipeline_opt(&c->talk, "-f", "msgpack");
    if ((c->verbose && stages_show(&c->talk) < 0) || pipeline_start(&c->talk, true) < 0)
        return -1;
    c->to = wire_writer_new(c->talk.in, NULL, &me);
    c->from = wire_reader_new(c->talk.out, "the language stages", NULL);
    return c->to && c->from ? 0 : -1;
}

/* ' Question: ' + q + ' Answer: ', as the article keeps its conversation. */
static int send_turn(struct chat *c, const char *question)
{
    if (buf_puts(&c->said, " Question: ") < 0 || buf_puts(&c->said, question) < 0 ||
        buf_puts(&c->said, " Answer: ") < 0)
        return -1;
    if (record_put_str(&c->picture, "prompt", (char *)c->said.data, c->said.len) < 0)
        return -1;
    return wire_write(c->to, &c->picture);
}

/* A turn that failed (its stage has said why) is forgotten: the next one goes on from before
 * it. */
static int take_answer(struct chat *c, const char *question, size_t said_before)
{
    struct record rec;
    const char *s;
    size_t n;
    record_init(&rec);
    uint64_t before = c->out.records;
    int rc = 0;
    while (rc == 0 && c->out.records == before) { /* with --stream, its pieces first */
        rc = wire_read(c->from, &rec);
        if (rc == 0)
            rc = err_set(ERR_UNAVAIL, "the language stages ended");
        if (rc > 0)
            rc = format_record(&c->out, &rec, question);
    }
    if (rc == 0 && record_is_error(&rec))
        c->said.len = said_before;
    else if (rc == 0 && record_get_str(&s, &n, &rec, "text") > 0)
        rc = buf_append(&c->said, s, n) < 0 ? -1 : buf_putc(&c->said, '\n');
    record_release(&rec);
    return rc;
}

static int turn(struct chat *c, char *line)
{
    line[strcspn(line, "\r\n")] = '\0';
    if (!*line)
        return 0;
    size_t before = c->said.len;
    return send_turn(c, line) < 0 ? -1 : take_answer(c, line, before);
}

static void ask_for_line(void)
{
    if (isatty(STDIN_FILENO) && isatty(STDERR_FILENO))
        fputs("? ", stderr);
}

static int converse(struct chat *c)
{
    char *line = NULL;
    size_t cap = 0;
    int rc = 0;
    for (ask_for_line(); rc == 0 && getline(&line, &cap, stdin) >= 0; ask_for_line())
        rc = turn(c, line);
    free(line);
    if (rc == 0)
        rc = wire_finish(c->to);
    return rc;
}

static void release(struct chat *c)
{
    wire_writer_free(c->to);
    wire_reader_free(c->from);
    record_release(&c->picture);
    buf_release(&c->said);
    pipeline_release(&c->talk);
}

int front_chat(int argc, char **argv)
{
    struct chat c = { 0 };
    int i = cli_start(
        &(struct cli){ .name = "vqa chat",
                       .usage = "[OPTION...] IMAGE",
                       .about = "Talk about a picture: questions on standard input, "
                                "one a line.",
                       .opts = opts },
        argc, argv, &c);
    if (argc - i != 1)
        cli_usage_error("%d operands, expected one image", argc - i);
    c.image = argv[i];
    c.out = (struct format){ .kind = c.jsonl ? FORMAT_JSONL : FORMAT_TEXT,
                             .keys = { "image", "question", "answer" },
                             .f = stdout };
    record_init(&c.picture);
    stages_prepare(&c.common);
    encode_picture(&c);
    format_begin(&c.out);
    int rc = start_talk(&c) < 0 ? -1 : converse(&c);
    int status = pipeline_wait(&c.talk);
    if (rc == 0 && c.out.errors)
        rc = 1;
    release(&c);
    return status > 1 ? status : cli_finish(rc);
}
