/* hist.c - histograms and lines: see plot.h. */
#include "base/err.h"
#include "plot/plot.h"

#include <math.h>

#define LINES_MAX 12

/* Edges as numpy.linspace() has them. */
static double *edges(double min, double max, int64_t bins, struct arena *mem)
{
    double *e = arena_alloc(mem, (size_t)(bins + 1) * sizeof *e);
    if (!e)
        return NULL;
    if (min == max) {
        min -= 0.5;
        max += 0.5;
    }
    double step = (max - min) / (double)bins;
    for (int64_t i = 0; i < bins; i++)
        e[i] = (double)i * step + min;
    e[bins] = max;
    return e;
}

/* The bin that holds x: guessed by its width, put right by the edges, which are rounded. */
static int64_t bin_of(double x, const double *e, int64_t bins)
{
    int64_t i = (int64_t)((x - e[0]) / (e[bins] - e[0]) * (double)bins);
    i = i < 0 ? 0 : i >= bins ? bins - 1 : i;
    while (i > 0 && x < e[i])
        i--;
    while (i < bins - 1 && x >= e[i + 1])
        i++;
    return i;
}

static double count(double *h, const double *v, int64_t n, const double *e, int64_t bins)
{
    double total = 0;
    for (int64_t i = 0; i < n; i++)
        if (isfinite(v[i])) {
            h[bin_of(v[i], e, bins)]++;
            total++;
        }
    return total;
}

static void to_density(double *h, int64_t n, double total, const double *e, int64_t bins)
{
    for (int64_t i = 0; i < n && total > 0; i++)
        h[i] /= total * (e[i % bins + 1] - e[i % bins]);
}

int plot_hist(struct plot_panel *p, const struct plot_values *values, int64_t series,
              const struct plot_hist *h, struct arena *mem)
{
    if (isnan(values->min))
        return err_set(ERR_DATA, "no finite value among %lld, nothing to count",
                       (long long)values->count);
    if (isinf(values->max - values->min))
        return err_set(ERR_DATA, "%g to %g: too far apart for bins", values->min, values->max);
    double *e = edges(values->min, values->max, h->bins, mem), whole = 0;
    double *y = arena_calloc(mem, (size_t)(series * h->bins), sizeof *y);
    if (!e || !y)
        return -1;
    int64_t each = values->count / series;
    for (int64_t s = 0; s < series; s++) {
        double *own = y + s * h->bins;
        double total = count(own, values->v + s * each, each, e, h->bins);
        whole += total;
        if (h->density && !h->stack)
            to_density(own, h->bins, total, e, h->bins);
    }
    if (h->density && h->stack)
        to_density(y, series * h->bins, whole, e, h->bins);
    p->rows = series;
    p->cols = h->bins;
    p->v = y;
    p->edge = e;
    p->stack = h->stack;
    p->density = h->density;
    return 0;
}

int plot_line(struct plot_panel *p, const struct plot_values *values)
{
    p->cols = values->ndim ? values->dim[values->ndim - 1] : 1;
    p->rows = values->count / p->cols;
    if (p->rows > LINES_MAX)
        return err_set(ERR_DATA, "%lld lines, expected at most %d; --slice takes some",
                       (long long)p->rows, LINES_MAX);
    if (isnan(values->min))
        return err_set(ERR_DATA, "no finite value among %lld, nothing to draw",
                       (long long)values->count);
    p->v = values->v;
    p->min = values->min;
    p->max = values->max;
    return 0;
}
