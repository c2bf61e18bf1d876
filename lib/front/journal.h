/* journal.h - what a training run says of itself: a bar on a terminal, one JSON line an
 * interval in a file, and the curves of that file as a picture.
 *
 * Errors:  -1 with err set: ERR_IO; journal_plot() as front/screen.h. */
#ifndef FRONT_JOURNAL_H
#define FRONT_JOURNAL_H

#include "front/recall.h"

#include <stdio.h>
#include <time.h>

struct journal {
    const char *path; /* of the lines, or NULL */
    FILE *f;
    int64_t every, total; /* steps of an interval, and of the run */
    bool tty;
    double begun, interval, shown; /* seconds */
    int64_t first;                 /* step that this process began with */

    /* Sums of the interval at hand. */
    int64_t steps, pairs, targets;
    struct train_losses sum;
};

/* One optimiser step's outcome: means over its batches. */
struct journal_step {
    int64_t step; /* done so far */
    double epoch, rate, norm;
    int64_t pairs, tokens;
    struct train_losses losses;
};

/* Lines of steps after `step`, which a run that was stopped wrote in vain, are taken out. */
int journal_open(struct journal *j, int64_t step);
void journal_start(struct journal *j); /* the clock */
void journal_close(struct journal *j);

int journal_step(struct journal *j, const struct journal_step *s);
int journal_recall(struct journal *j, int64_t step, const struct recall *r);

/* Draws the losses of the file at log into the PNG at path, with gnuplot. */
int journal_plot(const char *path, const char *log);

#endif
