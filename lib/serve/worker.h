/* worker.h - a filter run as a child on two pipes: records go in under ids of ours, what comes
 * out says by them whose answer it is, and a mark says that all is answered.
 *
 * The mark is an error record, which every filter passes on in its place. man/stage-protocol.7.
 *
 * Owns:      the process (and its process group), the pipes. Borrows what is fed until the
 * mark. Errors:    -1 with err set. */
#ifndef SERVE_WORKER_H
#define SERVE_WORKER_H

#include "wire/tag.h"
#include "wire/wire.h"

#include <sys/types.h>

struct worker_piece {
    const unsigned char *p;
    size_t n;
    void *own; /* freed when written, or NULL */
};

struct worker {
    pid_t pid; /* 0: none */
    int in, out;
    struct wire_reader *reader;
    struct worker_piece *queue; /* to be written */
    int first, n, cap;
    bool doomed;  /* killed for what it said: the rest of that is not heard */
    uint64_t cpu; /* clock ticks its group had used when last looked at */
};

void worker_init(struct worker *w);

/* Starts argv, found beside us or in PATH, and gives it a first mark. Its input is a stream
 * without a header, which may end anywhere. */
int worker_start(struct worker *w, char *const *argv);

/* SIGKILL to the group. */
void worker_kill(struct worker *w);

/* Closes the pipes: a filter ends by itself then. */
void worker_hang_up(struct worker *w);

/* If it has ended: true, its wait status; everything is released. */
bool worker_reap(struct worker *w, int *status);

/* A record's bytes under the id "text#token", and the mark. */
int worker_feed(struct worker *w, const void *bytes, size_t n, const struct tag *t,
                const char *text, uint64_t token);
int worker_mark(struct worker *w);

/* Writes what the pipe takes. 1 all is written, 0 not yet, -1 it does not read any more. */
int worker_flush(struct worker *w);

/* What it says: 1 a record and whose it is (0: it does not say), 2 the mark, 0 nothing now, -1
 * the end. */
int worker_read(struct worker *w, struct record *rec, uint64_t *token);

/* Whether its group has used processor time since the last call, or waits for some or for a
 * disk. */
bool worker_alive(struct worker *w);

#endif
