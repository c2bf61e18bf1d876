/* progress.h - how far a long run is: a line that is written over on a terminal, and one line
 * at the end everywhere.
 *
 * The first stage tells through a pipe, a byte a picture, what the cache had
 * (img-encode --tally). Errors: what cannot be shown is not shown. */
#ifndef FRONT_PROGRESS_H
#define FRONT_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    uint64_t total; /* pictures, 0: not known */
    uint64_t hits, computed, failed;
    bool tty;
    double begun, shown;
    double since;  /* the rate is that of the last minute or so: from here, when this many */
    uint64_t base; /* pictures were done */
    int tally[2];
    char path[32];
};

/* path: what --tally of img-encode is to be, "" if there is no way to tell. */
void progress_begin(struct progress *p, uint64_t total);

/* To be called for each record that comes out. */
void progress_step(struct progress *p);

/* The line at the end, after all is read; "answers": what results are called. */
void progress_end(struct progress *p, uint64_t results, const char *called, uint64_t failed);

/* Without a line: the run failed. Does nothing after progress_end(), or to a zeroed struct. */
void progress_drop(struct progress *p);

#endif
