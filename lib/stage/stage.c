/* stage.c - read, step, write: see stage.h. */
#include "stage/stage.h"

#include "base/err.h"
#include "base/outfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct stage_io {
    const struct stage *s;
    struct wire_reader *in;
    struct wire_writer *out;
    int in_fd, out_fd;
    struct outfile file; /* the output, unless it is standard output */
    struct record *batch;
    struct record **ready; /* pointers to the first `n` of them, for step */
    int n;
};

static bool is_stdio(const char *name)
{
    return !name || !strcmp(name, "-");
}

static int open_input(struct stage_io *io)
{
    const char *name = io->s->input;
    io->in_fd = -1;
    if (io->s->next)
        return 0;
    io->in_fd = is_stdio(name) ? dup(STDIN_FILENO) : open(name, O_RDONLY | O_CLOEXEC);
    if (io->in_fd < 0)
        return err_sys(ERR_NOINPUT, "%s", is_stdio(name) ? "standard input" : name);
    if (isatty(io->in_fd))
        return err_set(ERR_USAGE,
                       "standard input is a terminal, expected a stream of records; "
                       "try '%s --help'",
                       io->s->program);
    io->in = wire_reader_new(io->in_fd, is_stdio(name) ? "standard input" : name, NULL);
    return io->in ? wire_start(io->in) : -1;
}

static int open_output(struct stage_io *io)
{
    const char *name = io->s->output;
    if (is_stdio(name)) {
        if (isatty(STDOUT_FILENO))
            return err_set(ERR_USAGE, "the output is a binary stream, not for a terminal; pipe "
                                      "it on (| tensor-info) or use -o FILE");
        io->out_fd = STDOUT_FILENO;
        return 0;
    }
    if (outfile_open(&io->file, name) < 0)
        return -1;
    io->out_fd = io->file.fd;
    return 0;
}

static int publish(struct stage_io *io)
{
    return io->file.path ? outfile_publish(&io->file) : 0;
}

static int alloc_batch(struct stage_io *io)
{
    size_t n = io->s->batch > 0 ? (size_t)io->s->batch : 1;
    io->batch = calloc(n, sizeof *io->batch);
    io->ready = calloc(n, sizeof *io->ready);
    if (!io->batch || !io->ready)
        return err_nomem("records");
    for (size_t i = 0; i < n; i++)
        record_init(&io->batch[i]);
    return 0;
}

static void close_all(struct stage_io *io)
{
    for (int i = 0; io->batch && i < (io->s->batch > 0 ? io->s->batch : 1); i++)
        record_release(&io->batch[i]);
    free(io->batch);
    free(io->ready);
    wire_reader_free(io->in);
    wire_writer_free(io->out);
    if (io->in_fd >= 0)
        close(io->in_fd);
    outfile_discard(&io->file);
}

void stage_abort(const char *program)
{
    if (!isatty(STDOUT_FILENO))
        wire_abort(STDOUT_FILENO, program);
}

/* The model is loaded between the input's header and ours: a stage that gets nothing, or the
 * wrong thing, says so without reading gigabytes first. */
static int begin(struct stage_io *io)
{
    const struct stage *s = io->s;
    const char *model = NULL;
    if (open_input(io) < 0 || open_output(io) < 0 || alloc_batch(io) < 0)
        return -1;
    if (s->open && s->open(s->ctx, io, &model) < 0)
        return -1;
    struct wire_producer me = { s->program, VQA_VERSION, model, s->args };
    io->out = wire_writer_new(io->out_fd, io->in, &me);
    return io->out ? 0 : -1;
}

int stage_emit(struct stage_io *io, const struct record *rec)
{
    return wire_write(io->out, rec);
}

static bool about_process(enum err_kind k)
{
    return k == ERR_OS || k == ERR_IO || k == ERR_BUG;
}

int stage_fail(struct stage_io *io, struct record *rec)
{
    if (io->s->fail_fast || about_process(err_kind()))
        return err_wrap("%s", record_id(rec));
    if (io->s->report)
        io->s->report(record_id(rec), err_msg());
    return record_put_error(rec, io->s->program) < 0 ? -1 : stage_emit(io, rec);
}

static int run_batch(struct stage_io *io)
{
    if (io->n == 0)
        return 0;
    for (int i = 0; i < io->n; i++)
        io->ready[i] = &io->batch[i];
    int n = io->n;
    io->n = 0;
    return io->s->step(io->s->ctx, io, io->ready, n);
}

static int read_one(struct stage_io *io, struct record *rec)
{
    if (!io->s->next)
        return wire_read(io->in, rec);
    record_clear(rec);
    return io->s->next(io->s->ctx, rec);
}

/* Error records pass on untouched, in their place: what waits before them goes first. A batch
 * does not wait for records that nobody has sent yet: a conversation is not held up. */
static int loop(struct stage_io *io)
{
    int limit = io->s->batch > 0 ? io->s->batch : 1, got;
    while ((got = read_one(io, &io->batch[io->n])) > 0) {
        struct record *rec = &io->batch[io->n];
        if (record_is_error(rec)) {
            struct record error = *rec; /* its memory stays in this slot */
            if (run_batch(io) < 0 || stage_emit(io, &error) < 0)
                return -1;
            continue;
        }
        bool more = ++io->n < limit && (!io->in || wire_ready(io->in));
        if (!more && run_batch(io) < 0)
            return -1;
    }
    /* What was read completely before the input broke off is still answered. */
    struct err_saved e;
    err_save(&e);
    if (run_batch(io) < 0)
        return -1;
    err_restore(&e);
    return got;
}

static void say_counts(const struct stage_io *io)
{
    struct wire_counts c = wire_writer_counts(io->out);
    io->s->say("%llu records out, %llu of them errors", (unsigned long long)c.records,
               (unsigned long long)c.errors);
}

int stage_run(const struct stage *s)
{
    struct stage_io io = { .s = s, .in_fd = -1, .out_fd = -1 };
    int rc = begin(&io);
    if (rc == 0)
        rc = loop(&io);
    if (rc == 0)
        rc = wire_finish(io.out);
    if (rc == 0)
        rc = publish(&io);
    if (s->say && io.out)
        say_counts(&io);
    if (rc == 0)
        rc = wire_writer_counts(io.out).errors != 0;
    close_all(&io);
    if (rc < 0 && is_stdio(s->output))
        stage_abort(s->program);
    return rc;
}
