/* pipeline.h - commands joined by pipes, as the shell's `a | b | c`.
 *
 * Owns:    the processes and our ends of their pipes.
 * Errors:  -1 with err set (ERR_OS). */
#ifndef FRONT_PIPELINE_H
#define FRONT_PIPELINE_H

#include <stdbool.h>
#include <sys/types.h>

#define PIPELINE_STAGES 8
#define PIPELINE_ARGS   4096

/* One command's arguments; strings are borrowed. Grows by pipeline_arg(). */
struct pipeline_cmd {
    const char **argv; /* ends in NULL */
    int argc;
};

struct pipeline {
    struct pipeline_cmd cmd[PIPELINE_STAGES];
    int n;
    pid_t pid[PIPELINE_STAGES];
    int in,
        out; /* to the first command's standard input (-1: ours), from the last one's output */
};

void pipeline_init(struct pipeline *p);
void pipeline_release(struct pipeline *p); /* memory only: wait first */

/* Begins another command, and gives its arguments; all errors stick until pipeline_start(). */
void pipeline_command(struct pipeline *p, const char *name);
void pipeline_arg(struct pipeline *p, const char *arg);
void pipeline_opt(struct pipeline *p, const char *name,
                  const char *value); /* if value != NULL */

/* Starts all commands, ours from beside this executable or else from PATH. feed: p->in is a
 * pipe to the first one; otherwise it reads our standard input. A signal that ends this process
 * ends them too, until pipeline_wait(); p stays where it is. One pipeline runs at a time. */
int pipeline_start(struct pipeline *p, bool feed);

/* Closes our ends and waits. The status of the first command in the pipe that failed for a
 * reason of its own, else 1 if some records failed, else 0. A death by SIGPIPE is no such
 * reason: its reader left first, in the end we. */
int pipeline_wait(struct pipeline *p);

/* The pipeline as text to paste into a shell, into a static buffer per call of buf's owner. */
struct buf;
int pipeline_text(struct buf *out, const struct pipeline *p);

#endif
