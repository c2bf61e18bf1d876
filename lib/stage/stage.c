/* stage.c - read, step, write: see stage.h. */
#include "stage/stage.h"

#include "base/ahead.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/math.h"
#include "base/outfile.h"
#include "base/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATIENCE     (1.0 / 16) /* of the time that a batch's first record took to come */
#define PATIENCE_MAX 5          /* milliseconds */

struct stage_io {
    const struct stage *s;
    struct wire_reader *in;
    struct wire_writer *out;
    int in_fd, out_fd;
    struct outfile file; /* the output, unless it is standard output */
    struct record *ring; /* records read and not yet worked on: `held` from `first` on */
    int slots, first, held;
    struct record **ready; /* for step: pointers to a batch of them */
    struct ahead *ahead;   /* those who prepare, or NULL */
    double begun;          /* when the batch before was, or the run */
    int patience;          /* milliseconds that the first of a batch waits for each other */
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
    if (io->file.tmp[0])
        signals_remove(io->file.tmp);
    io->out_fd = io->file.fd;
    return 0;
}

/* Where it could not be written, if -o gave it a name. */
static int said_where(const struct stage_io *io)
{
    return is_stdio(io->s->output) ? -1 : err_wrap("%s", io->s->output);
}

static int finish(struct stage_io *io)
{
    if (wire_finish(io->out) < 0)
        return said_where(io);
    return io->file.path ? outfile_publish(&io->file) : 0;
}

/* Records of a batch. */
static int most(const struct stage *s)
{
    return s->batch > 0 ? s->batch : 1;
}

int stage_slots(const struct stage *s)
{
    return most(s) + s->ahead;
}

static int alloc_ring(struct stage_io *io)
{
    size_t n = (size_t)stage_slots(io->s);
    io->ring = calloc(n, sizeof *io->ring);
    io->ready = calloc(n, sizeof *io->ready);
    if (!io->ring || !io->ready)
        return err_nomem("records");
    for (io->slots = 0; io->slots < (int)n; io->slots++)
        record_init(&io->ring[io->slots]);
    return 0;
}

static void close_all(struct stage_io *io)
{
    ahead_free(io->ahead);
    while (io->slots)
        record_release(&io->ring[--io->slots]);
    free(io->ring);
    free(io->ready);
    wire_reader_free(io->in);
    wire_writer_free(io->out);
    if (io->in_fd >= 0)
        close(io->in_fd);
    signals_remove(NULL);
    outfile_discard(&io->file);
}

void stage_abort(const char *program)
{
    if (!isatty(STDOUT_FILENO))
        wire_abort(STDOUT_FILENO, program);
}

int stage_refuse(const struct stage *s)
{
    if (is_stdio(s->output))
        stage_abort(s->program);
    return -1;
}

static void prepare(void *ctx, int slot)
{
    struct stage_io *io = ctx;
    io->s->prepare(io->s->ctx, &io->ring[slot], slot);
}

static int start_helpers(struct stage_io *io)
{
    if (io->s->prepare)
        io->ahead = ahead_new(io->s->helpers, io->slots, prepare, io);
    return io->s->prepare && !io->ahead ? -1 : 0;
}

/* The model is loaded between the input's header and ours: a stage that gets nothing, or the
 * wrong thing, says so without reading gigabytes first. */
static int begin(struct stage_io *io)
{
    const struct stage *s = io->s;
    const char *model = NULL;
    if (open_input(io) < 0 || open_output(io) < 0 || alloc_ring(io) < 0)
        return -1;
    if ((s->open && s->open(s->ctx, io, &model) < 0) || start_helpers(io) < 0)
        return -1;
    struct wire_producer me = { s->program, VQA_VERSION, model, s->args };
    io->out = wire_writer_new(io->out_fd, io->in, &me);
    return io->out ? 0 : said_where(io);
}

int stage_emit(struct stage_io *io, const struct record *rec)
{
    return wire_write(io->out, rec) < 0 ? said_where(io) : 0;
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

static struct record *held(const struct stage_io *io, int i)
{
    return &io->ring[(io->first + i) % io->slots];
}

int stage_slot(const struct stage_io *io, const struct record *rec)
{
    return (int)(rec - io->ring);
}

static int patience(double seconds)
{
    return (int)math_min(PATIENCE_MAX, (int64_t)(PATIENCE * 1e3 * seconds));
}

/* A record more into the ring. */
static int read_one(struct stage_io *io)
{
    struct record *rec = held(io, io->held);
    int got;
    if (io->s->next) {
        record_clear(rec);
        got = io->s->next(io->s->ctx, rec);
    } else {
        got = wire_read(io->in, rec);
    }
    if (got <= 0)
        return got;
    if (io->held++ == 0)
        io->patience = patience(clock_seconds() - io->begun);
    if (io->ahead && !record_is_error(rec))
        ahead_begin(io->ahead, stage_slot(io, rec));
    return got;
}

/* Records that were sent together come one by one through a pipe that is smaller than one, and
 * would be computed one by one. So the first waits for more, but for a small part of the time
 * that has gone by: a conversation is not held up. */
static bool reads_on(const struct stage_io *io)
{
    if (io->held == io->slots)
        return false;
    if (io->held == 0)
        return true;
    if (io->in)
        return wire_ready(io->in, io->held < most(io->s) ? io->patience : 0);
    return !io->s->ready || io->s->ready(io->s->ctx);
}

static void drop_first(struct stage_io *io, int n)
{
    io->first = (io->first + n) % io->slots;
    io->held -= n;
}

/* The oldest records: an error record passes on untouched, in its place; others together, as
 * many as go. */
static int work(struct stage_io *io)
{
    int limit = most(io->s), n = 0;
    io->begun = clock_seconds();
    if (record_is_error(held(io, 0))) {
        int rc = stage_emit(io, held(io, 0));
        drop_first(io, 1);
        return rc;
    }
    for (; n < io->held && n < limit && !record_is_error(held(io, n)); n++) {
        io->ready[n] = held(io, n);
        if (io->ahead)
            ahead_wait(io->ahead, stage_slot(io, io->ready[n]));
    }
    int rc = io->s->step(io->s->ctx, io, io->ready, n);
    drop_first(io, n);
    return rc;
}

/* What was read completely before the input broke off is still answered. */
static int loop(struct stage_io *io)
{
    struct err_saved e;
    int got = 1;
    err_save(&e);
    io->begun = clock_seconds();
    for (;;) {
        while (got > 0 && reads_on(io))
            if ((got = read_one(io)) < 0)
                err_save(&e);
        if (io->held == 0)
            break;
        if (work(io) < 0)
            return -1;
    }
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
        rc = finish(&io);
    if (s->say && io.out)
        say_counts(&io);
    if (rc == 0)
        rc = wire_writer_counts(io.out).errors != 0;
    close_all(&io);
    return rc < 0 ? stage_refuse(s) : rc;
}
