/* text.c - panels as characters: blocks for a terminal, tables for programs. See plot.h. */
#include "plot/plot.h"

#include <math.h>

/* ---- blocks ---- */

/* The mean colour of the picture's part that lies under cell (x, y) of w by h. */
static void mean_colour(double rgb[3], const struct plot_panel *p, int64_t x, int64_t y,
                        int64_t w, int64_t h)
{
    int64_t x0 = x * p->width / w, x1 = (x + 1) * p->width / w;
    int64_t y0 = y * p->height / h, y1 = (y + 1) * p->height / h;
    x1 += x1 == x0; /* cells smaller than the picture's */
    y1 += y1 == y0;
    for (int c = 0; c < 3; c++) {
        rgb[c] = 0;
        for (int64_t j = y0; j < y1; j++)
            for (int64_t i = x0; i < x1; i++)
                rgb[c] += p->rgb[3 * (j * p->width + i) + c];
        rgb[c] /= (double)((x1 - x0) * (y1 - y0));
    }
}

static int put_half_blocks(struct buf *out, const struct plot_panel *p, int64_t x, int64_t y,
                           int64_t w, int64_t h)
{
    double up[3], down[3];
    mean_colour(up, p, x, 2 * y, w, 2 * h);
    mean_colour(down, p, x, 2 * y + 1, w, 2 * h);
    return buf_printf(out, "\033[38;2;%.0f;%.0f;%.0f;48;2;%.0f;%.0f;%.0fm\xe2\x96\x80", up[0],
                      up[1], up[2], down[0], down[1], down[2]);
}

static int put_ascii(struct buf *out, const struct plot_panel *p, int64_t x, int64_t y,
                     int64_t w, int64_t h)
{
    static const char ramp[] = " .:-=+*#%@";
    double rgb[3];
    mean_colour(rgb, p, x, y, w, h);
    double bright = (0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]) / 255;
    return buf_putc(out, ramp[(int)fmin(bright * 10, 9)]);
}

/* Characters are about twice as high as wide; small pictures become at most eight times larger.
 */
static void fit(int64_t *w, int64_t *h, const struct plot_panel *p, int width, int height)
{
    double scale = fmin(
        fmin((double)width / (double)p->width, 2.0 * height / (double)p->height), 8);
    *w = (int64_t)fmax(1, floor(scale * (double)p->width));
    *h = (int64_t)fmax(1, floor(scale * (double)p->height / 2));
}

int plot_blocks(struct buf *out, const struct plot_panel *p, int width, int height, bool colour)
{
    int64_t w, h;
    int rc = 0;
    fit(&w, &h, p, width, height);
    for (int64_t y = 0; y < h && rc == 0; y++) {
        for (int64_t x = 0; x < w && rc == 0; x++)
            rc = (colour ? put_half_blocks : put_ascii)(out, p, x, y, w, h);
        if (rc == 0)
            rc = buf_puts(out, colour ? "\033[0m\n" : "\n");
    }
    return rc;
}

/* ---- tables ---- */

static int put_name(struct buf *out, const struct plot_panel *p, int64_t i)
{
    return p->label && p->label[i] ? buf_printf(out, "\t%s", p->label[i])
                                   : buf_printf(out, "\t%lld", (long long)i);
}

/* A row for each bin or point, a column for each series. */
static int put_series(struct buf *out, const struct plot_panel *p)
{
    int rc = buf_puts(out, p->edge ? "from\tto" : "index");
    for (int64_t s = 0; s < p->rows && rc == 0; s++)
        rc = put_name(out, p, s);
    for (int64_t i = 0; i < p->cols && rc == 0; i++) {
        rc = p->edge ? buf_printf(out, "\n%.17g\t%.17g", p->edge[i], p->edge[i + 1])
                     : buf_printf(out, "\n%lld", (long long)i);
        for (int64_t s = 0; s < p->rows && rc == 0; s++)
            rc = buf_printf(out, "\t%.17g", p->v[s * p->cols + i]);
    }
    return rc < 0 ? -1 : buf_putc(out, '\n');
}

static int put_cells(struct buf *out, const struct plot_panel *p)
{
    int rc = 0;
    for (int64_t i = 0; i < p->rows * p->cols && rc == 0; i++)
        rc = buf_printf(out, "%.17g%c", p->v[i], (i + 1) % p->cols ? '\t' : '\n');
    return rc;
}

static int put_pixels(struct buf *out, const struct plot_panel *p)
{
    int rc = 0;
    for (int64_t i = 0; i < p->height * p->width && rc == 0; i++)
        rc = buf_printf(out, "%d,%d,%d%c", p->rgb[3 * i], p->rgb[3 * i + 1], p->rgb[3 * i + 2],
                        (i + 1) % p->width ? '\t' : '\n');
    return rc;
}

int plot_table(struct buf *out, const struct plot_panel *p)
{
    int rc = buf_puts(out, "# ");
    for (const char *s = p->title; *s && rc == 0; s++)
        rc = buf_putc(out, *s == '\n' ? ' ' : *s);
    if (rc < 0 || buf_putc(out, '\n') < 0)
        return -1;
    if (!plot_is_image(p))
        return put_series(out, p);
    return p->v ? put_cells(out, p) : put_pixels(out, p);
}
