/* plot.h - numbers to plots: what of a tensor is drawn, its histogram, its colours, and the
 * program for gnuplot, the lines of text or the table that show it.
 *
 * Knows nothing of:  records, files, gnuplot's process, terminals.
 * Lifetime:          what a panel points to is the arena's that it was made in.
 * Errors:            -1 with err set: ERR_USAGE a slice that cannot be read, ERR_DATA one that
 *                    does not fit the tensor, or nothing to draw; ERR_OS. */
#ifndef PLOT_PLOT_H
#define PLOT_PLOT_H

#include "base/arena.h"
#include "base/buf.h"
#include "tensor/tensor.h"

/* ---- a slice, as NumPy writes it ---- */

/* "0", "1:3", ":", "::2", "-1", one for each axis, separated by commas; axes that are not named
 * are taken whole. */
struct plot_slice {
    int n;
    struct plot_range {
        bool index, has_from, has_to; /* index: one place, and the axis goes */
        int64_t from, to, step;
    } axis[TENSOR_DIMS];
};
int plot_slice_parse(struct plot_slice *s, const char *text);

/* Some of a tensor's values, in C order. */
struct plot_values {
    int ndim;
    int64_t dim[TENSOR_DIMS], count;
    double *v;
    double min, max; /* of the finite values; NaN if there are none */
    int64_t bad;     /* values that are NaN or infinite */
};

/* At most PLOT_VALUES_MAX of them; s NULL: all. */
#define PLOT_VALUES_MAX ((int64_t)1 << 28)
int plot_values_take(struct plot_values *out, struct tensor t, const struct plot_slice *s,
                     struct arena *mem);

/* ---- panels: what is drawn in one pair of axes ---- */

enum plot_kind {
    PLOT_HEAT,   /* cells in colours of viridis */
    PLOT_MATRIX, /* the same, with the number in each cell where that can be read */
    PLOT_RGB,    /* a picture, with nothing else or (bar) under a map of colours */
    PLOT_HIST,   /* counts or densities between edges */
    PLOT_LINE    /* values over their index */
};

struct plot_panel {
    enum plot_kind kind;
    const char *title;        /* one line or two */
    int64_t rows, cols;       /* of v: cells; series and bins; series and points */
    const double *v;          /* (rows, cols); NaN: nothing there */
    const double *edge;       /* PLOT_HIST: (cols + 1) */
    const char **label;       /* (rows), or NULL: their numbers */
    double min, max;          /* what the first and the last colour stand for */
    bool bar;                 /* explain the colours: there are several */
    bool stack;               /* PLOT_HIST: each series begins where the last one ends */
    bool density;             /* PLOT_HIST: v holds densities */
    int64_t width, height;    /* of rgb */
    const unsigned char *rgb; /* (height, width, 3): all but PLOT_HIST and PLOT_LINE */
};

/* Whether the panel is a picture in colours. */
static inline bool plot_is_image(const struct plot_panel *p)
{
    return p->kind != PLOT_HIST && p->kind != PLOT_LINE;
}

/* values: (rows, cols). Fills rgb from v, min and max; what is not finite stays white. */
int plot_heat(struct plot_panel *p, const struct plot_values *values, struct arena *mem);

/* The colour of viridis at x in [0, 1], as matplotlib has it but for 2 levels of 255. */
void plot_colour(unsigned char rgb[3], double x);

/* Histograms of `series` equal parts of values, between the same edges: `bins` of one width
 * from the smallest to the largest finite value (half below and above it if all are equal).
 * Each holds its lower edge, the last one both: numpy.histogram() of float64. density divides
 * by count and width; with stack by the count of all series, so that the whole has the area 1
 * (as matplotlib). */
struct plot_hist {
    int64_t bins;
    bool stack, density;
};
int plot_hist(struct plot_panel *p, const struct plot_values *values, int64_t series,
              const struct plot_hist *h, struct arena *mem);

/* values: (points), or (series, points) with any number of axes before the points. */
int plot_line(struct plot_panel *p, const struct plot_values *values);

/* Panels of one row each (PLOT_MATRIX) become one of n rows; shorter ones end in blanks. */
int plot_stack_rows(struct plot_panel *out, const struct plot_panel *p, int n,
                    struct arena *mem);

/* ---- showing them ---- */

enum plot_target {
    PLOT_PNG,  /* width and height in pixels */
    PLOT_BARE, /* one picture and nothing else, PNG of its own size */
    PLOT_TEXT, /* width and height in characters; not for pictures */
};
struct plot_canvas {
    enum plot_target target;
    int width, height; /* 0: what suits the panels */
    bool colour;       /* PLOT_TEXT: escape sequences of 256 colours */
};

/* The program that makes gnuplot write the panels, in a grid, to its standard output. Text in
 * it is quoted so that gnuplot takes none of it for commands. */
int plot_script(struct buf *out, const struct plot_panel *p, int n,
                const struct plot_canvas *c);

/* A picture in at most width by height characters: half blocks in 24-bit colours, or with
 * !colour ten ASCII characters from dark to bright. */
int plot_blocks(struct buf *out, const struct plot_panel *p, int width, int height,
                bool colour);

/* The numbers that are drawn, tab-separated, after a line "# title". */
int plot_table(struct buf *out, const struct plot_panel *p);

#endif
