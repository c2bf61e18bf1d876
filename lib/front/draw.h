/* draw.h - streams and files to plots: what tensor-plot does.
 *
 * Errors:  -1 with err set, and nothing was written; 1 if some records failed, which were told
 *          of and left out. */
#ifndef FRONT_DRAW_H
#define FRONT_DRAW_H

#include "front/panels.h"

struct draw_args {
    struct panels_args p;
    const char *out; /* a file; with %d (or %03d) one for each record; NULL: standard output */
    int terminal;    /* enum screen_kind */
    int width, height; /* of a PNG, 0: what suits */
    bool data;         /* the numbers as text, no picture */
};

/* files: n names; none: standard input. */
int draw_run(const struct draw_args *a, char **files, int n);

/* Whether out names a file for each record: 1, 0, or -1 (ERR_USAGE) for any other %. */
int draw_is_pattern(const char *out);

#endif
