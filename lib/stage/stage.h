/* stage.h - the record loop that every filter is: read, step, write, account for every record.
 *
 *     struct stage s = { .program = "qformer", .ctx = q, .open = load, .step = step };
 *     return cli_finish(stage_run(&s));
 *
 * Owns:      streams, order, error records, the header's chain, the end record.
 * Knows nothing of: what the step computes.
 * Errors:    stage_run() gives 0, or 1 if any record is an error, or -1 with err set; after -1
 *            the output has no end record, so nobody takes it for whole. */
#ifndef STAGE_STAGE_H
#define STAGE_STAGE_H

#include "wire/wire.h"

struct stage_io;

struct stage {
    const char *program;
    const char *args;   /* command line for the header, or NULL */
    const char *input;  /* a file, or NULL or "-": standard input; ignored with next */
    const char *output; /* a file (appears complete or not at all), or NULL: standard output */
    int batch;      /* most records handed to step at once; 0: 1. Fewer, if no more are there */
    bool fail_fast; /* the first failed record is the run's failure */
    void *ctx;

    /* Called once, after the input's header is known: loads what step needs. Gives the model's
     * fingerprint for the header through *model (NULL: none). May be NULL. */
    int (*open)(void *ctx, struct stage_io *io, const char **model);

    /* Source of records for a stage at the head of a pipe: 1, 0 at the end, -1. NULL: the input
     * stream. rec comes cleared. */
    int (*next)(void *ctx, struct record *rec);

    /* Whether next() would give something, or the end, without waiting. NULL: always. */
    bool (*ready)(void *ctx);

    /* What can be done to a record before its turn, by one of `helpers` threads while step()
     * computes on earlier ones; done when step() gets it. slot: where the record lies, from 0
     * to stage_slots() - 1; stage_slot() tells it to step(). NULL: nothing. */
    void (*prepare)(void *ctx, struct record *rec, int slot);
    int helpers;
    int ahead; /* records read on before the batch at hand is done */

    /* Works on n records, none of them an error record: for each of them, in order, any number
     * of stage_emit() or one stage_fail(). Gives 0, or -1 if the run cannot go on. */
    int (*step)(void *ctx, struct stage_io *io, struct record **in, int n);

    /* Told of each record that failed here (cli_report), or NULL. */
    void (*report)(const char *id, const char *message);

    /* Told what was done, in one line at the end (cli_warn under --verbose), or NULL. */
    void (*say)(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
};

int stage_run(const struct stage *s);

/* How many records are in memory at most, and where one of step()'s lies among them. */
int stage_slots(const struct stage *s);
int stage_slot(const struct stage_io *io, const struct record *rec);

/* Writes a record to the output. -1 ends the run: the step returns it. */
int stage_emit(struct stage_io *io, const struct record *rec);

/* Makes rec the error record of err_msg() and writes it. 0, so that the step goes on with the
 * next record; -1 under fail_fast or if it cannot be written. ERR_OS, ERR_IO and ERR_BUG are
 * about the process, not the record, and always give -1. */
int stage_fail(struct stage_io *io, struct record *rec);

/* Tells whoever reads standard output that no stream will come, and why (wire_abort); for a
 * failure before stage_run(), which does it itself. Fits struct cli's on_usage_error. */
void stage_abort(const char *program);

/* The same for a stage, if it writes to standard output. Returns -1. */
int stage_refuse(const struct stage *s);

#endif
