/* panels.h - what is drawn of a record: its tensor, or its picture, as panels of a plot.
 *
 * Errors:  -1 with err set: ERR_DATA this record cannot be drawn, ERR_USAGE it cannot be told
 *          what of it is meant; others are the process's. */
#ifndef FRONT_PANELS_H
#define FRONT_PANELS_H

#include "cli/opt.h"
#include "image/image.h"
#include "plot/plot.h"
#include "wire/record.h"

#define PANELS_MAX 64 /* of one page */

struct panels_args {
    const char *field; /* NULL: the only one there is */
    const char *slice; /* NumPy's words, or NULL */
    int channel;       /* -1: none asked for */
    bool rgb, hist, line, matrix;
    struct plot_hist bins;
    struct opt_list overlay; /* pictures to lay attention over: one, or one for each record */
    int query;               /* --overlay: one query; PANELS_EACH, PANELS_MEAN */
    const char *model;       /* -m: whose preprocessing */
};
enum { PANELS_EACH = -1, PANELS_MEAN = -2 };

struct panels {
    const struct panels_args *args;
    struct plot_slice slice;
    struct image_processor processor; /* with rgb and overlay */
    struct plot_panel v[PANELS_MAX];
    int n;
    int64_t records;  /* drawn so far, this page's and earlier ones */
    char field[80];   /* the last one's */
    struct arena mem; /* what the panels point to */
};

/* Reads the slice, and with rgb and overlay the model's preprocessing. */
int panels_init(struct panels *p, const struct panels_args *args);
void panels_release(struct panels *p);

/* Appends what the record shows. After a failure the panels are as before. */
int panels_add(struct panels *p, struct record *rec);

/* Rows of one line each become one matrix. */
int panels_join_rows(struct panels *p);

/* An empty page; what was drawn is forgotten. */
void panels_clear(struct panels *p);

/* ---- for overlay.c ---- */

struct plot_panel *panels_new(struct panels *p, enum plot_kind kind);
const char *panels_title(struct panels *p, struct record *rec, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
