/* script.c - a page of panels as a program for gnuplot, its data inline: see plot.h. */
#include "base/utf8.h"
#include "plot/plot.h"

#include <math.h>
#include <string.h>

#define TEXT_CELLS 64   /* a matrix with more rows or columns has no numbers in its cells */
#define SIDE_MOST  1200 /* a larger picture is made smaller: nobody sees more on a page */
#define DOTS_CELLS 64   /* a line with more points has no dots on it */

/* matplotlib's cycle; three series are the channels of a picture. */
static const char *const cycle[] = { "1f77b4", "ff7f0e", "2ca02c", "d62728", "9467bd",
                                     "8c564b", "e377c2", "7f7f7f", "bcbd22", "17becf" };
static const char *const channels[] = { "d62728", "2ca02c", "1f77b4" };

static const char *colour_of(const struct plot_panel *p, int64_t series)
{
    return p->rows == 3 ? channels[series] : cycle[series % 10];
}

/* Text from anywhere as a string of gnuplot: whatever could mean something to it (a quote, a
 * back quote, a macro) is an octal escape, and control characters are question marks. percent:
 * what stands for one. */
static int put_string(struct buf *out, const char *s, size_t n, const char *percent)
{
    static const char harmless[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                   "0123456789 .,:_()[]/-";
    int rc = buf_putc(out, '"');
    for (size_t i = 0, len; i < n && rc == 0; i += len) {
        len = utf8_char(s + i, n - i);
        bool plain = len && (unsigned char)s[i] >= 0x20 && s[i] != 0x7f;
        len += len == 0;
        if (s[i] == '%')
            rc = buf_puts(out, percent);
        else if (!plain || strchr(harmless, s[i]))
            rc = buf_putc(out, plain ? s[i] : '?');
        else
            for (size_t k = 0; k < len && rc == 0; k++)
                rc = buf_printf(out, "\\%03o", (unsigned char)s[i + k]);
    }
    return rc < 0 ? -1 : buf_putc(out, '"');
}

static int put_quoted(struct buf *out, const char *s, size_t n)
{
    return put_string(out, s, n, "\\045");
}

static int put_title(struct buf *out, const struct plot_panel *p)
{
    const char *s = p->title;
    size_t n = strcspn(s, "\n");
    if (buf_puts(out, "set title ") < 0 || put_quoted(out, s, n) < 0)
        return -1;
    if (s[n] &&
        (buf_puts(out, ".\"\\n\".") < 0 || put_quoted(out, s + n + 1, strlen(s + n + 1)) < 0))
        return -1;
    return buf_puts(out, " noenhanced\n");
}

static int put_palette(struct buf *out)
{
    int rc = buf_puts(out, "set palette defined (");
    for (int i = 0; i <= 32 && rc == 0; i++) {
        unsigned char c[3];
        plot_colour(c, i / 32.0);
        rc = buf_printf(out, "%s%d '#%02x%02x%02x'", i ? ", " : "", i, c[0], c[1], c[2]);
    }
    return rc < 0 ? -1 : buf_puts(out, ")\n");
}

/* ---- pictures ---- */

static bool has_numbers(const struct plot_panel *p)
{
    return p->kind == PLOT_MATRIX && p->rows <= TEXT_CELLS && p->cols <= TEXT_CELLS;
}

static int64_t finite_cells(const struct plot_panel *p)
{
    int64_t n = 0;
    for (int64_t i = 0; i < p->rows * p->cols; i++)
        n += isfinite(p->v[i]) != 0;
    return n;
}

/* Column, row, value and a colour that is read on the cell's. */
static int put_numbers(struct buf *out, const struct plot_panel *p)
{
    int rc = 0;
    for (int64_t i = 0; i < p->rows * p->cols && rc == 0; i++) {
        const unsigned char *c = p->rgb + 3 * i;
        bool dark = 0.299 * c[0] + 0.587 * c[1] + 0.114 * c[2] < 128;
        double row[4] = { (double)(i % p->cols), (double)(i / p->cols), p->v[i],
                          dark ? 0xffffff : 0 };
        if (isfinite(p->v[i]))
            rc = buf_append(out, row, sizeof row);
    }
    return rc;
}

/* Pixels of a picture under a map are not those of a file: nobody counts them. */
static int put_tics(struct buf *out, const struct plot_panel *p)
{
    if (p->kind == PLOT_RGB && p->v)
        return buf_puts(out, "unset xtics\nunset ytics\n");
    if (!p->label)
        return buf_puts(out, "set xtics auto out nomirror\nset ytics auto out nomirror\n");
    int rc = buf_puts(out, "set xtics auto out nomirror\nset ytics out nomirror (");
    for (int64_t i = 0; i < p->rows && rc == 0; i++) {
        const char *s = p->label[i] ? p->label[i] : "";
        rc = put_string(out, s, strlen(s), "\\045\\045"); /* a tic's name is a format */
        if (rc == 0)
            rc = buf_printf(out, " %lld%s", (long long)i, i + 1 < p->rows ? ", " : "");
    }
    return rc < 0 ? -1 : buf_puts(out, ") noenhanced\n");
}

static int put_bar(struct buf *out, const struct plot_panel *p)
{
    return p->bar ? buf_printf(out, "set colorbox\nset cbrange [%.17g:%.17g]\n", p->min, p->max)
                  : buf_puts(out, "unset colorbox\n");
}

/* The mean of k by k pixels at (x, y), fewer at the rim. */
static void mean_pixel(unsigned char mean[3], const struct plot_panel *p, int64_t x, int64_t y,
                       int64_t k)
{
    int64_t sum[3] = { 0 }, n = 0;
    for (int64_t j = y; j < y + k && j < p->height; j++)
        for (int64_t i = x; i < x + k && i < p->width; i++, n++)
            for (int c = 0; c < 3; c++)
                sum[c] += p->rgb[3 * (j * p->width + i) + c];
    for (int c = 0; c < 3; c++)
        mean[c] = (unsigned char)((sum[c] + n / 2) / n);
}

static int put_pixels(struct buf *out, const struct plot_panel *p, int64_t k)
{
    if (k == 1)
        return buf_append(out, p->rgb, (size_t)(p->width * p->height) * 3);
    for (int64_t y = 0; y < p->height; y += k)
        for (int64_t x = 0; x < p->width; x += k) {
            unsigned char mean[3];
            mean_pixel(mean, p, x, y, k);
            if (buf_append(out, mean, 3) < 0)
                return -1;
        }
    return 0;
}

static int put_image(struct buf *out, const struct plot_panel *p, bool bare)
{
    double aspect = (double)p->height / (double)p->width;
    int64_t k = ((p->width > p->height ? p->width : p->height) - 1) / SIDE_MOST + 1;
    bool square = bare || (aspect > 0.2 && aspect < 5);
    if (buf_printf(out,
                   "set xrange [-0.5:%lld.5]\nset yrange [%lld.5:-0.5]\nset size %s\n"
                   "unset key\n",
                   (long long)p->width - 1, (long long)p->height - 1,
                   square ? "ratio -1" : "noratio") < 0)
        return -1;
    if (!bare && (put_tics(out, p) < 0 || put_bar(out, p) < 0))
        return -1;
    int rc = buf_printf(out,
                        "plot '-' binary endian=little array=(%lld,%lld) dx=%lld dy=%lld "
                        "origin=(%g,%g) format='%%uchar' with rgbimage%s",
                        (long long)((p->width + k - 1) / k),
                        (long long)((p->height + k - 1) / k), (long long)k, (long long)k,
                        (double)(k - 1) / 2, (double)(k - 1) / 2,
                        p->bar && !bare ? ", NaN with points palette" : "");
    bool numbers = !bare && has_numbers(p) && finite_cells(p);
    if (rc == 0 && numbers)
        rc = buf_printf(out,
                        ", '-' binary endian=little record=(%lld) "
                        "format='%%float64%%float64%%float64%%float64' "
                        "using 1:2:(sprintf('%%.5g',$3)):4 with labels font ',8' "
                        "tc rgb variable",
                        (long long)finite_cells(p));
    if (rc < 0 || buf_putc(out, '\n') < 0 || put_pixels(out, p, k) < 0)
        return -1;
    return (numbers && put_numbers(out, p) < 0) ? -1 : buf_putc(out, '\n');
}

/* ---- series ---- */

/* Where the s-th series of a histogram begins and ends in bin i. */
static double top(const struct plot_panel *p, int64_t s, int64_t i)
{
    double y = p->v[s * p->cols + i];
    for (int64_t below = 0; p->stack && below < s; below++)
        y += p->v[below * p->cols + i];
    return y;
}

static int put_style(struct buf *out, const struct plot_panel *p, int64_t s, bool text)
{
    const char *name = p->label ? p->label[s] : NULL;
    int rc;
    if (p->kind == PLOT_LINE)
        rc = buf_printf(out, "with %s lc '#%s' ",
                        p->cols > DOTS_CELLS ? "lines lw 1.5"
                                             : "linespoints lw 1.5 pt 7 ps 0.5",
                        colour_of(p, s));
    else if (text)
        rc = buf_printf(out, "with boxes fs solid lc '#%s' ", colour_of(p, s));
    else
        rc = buf_printf(out, "with fillsteps fs %s lc '#%s' ",
                        p->stack || p->rows == 1 ? "solid 0.9 noborder"
                                                 : "transparent solid 0.6 noborder",
                        colour_of(p, s));
    if (rc < 0 || !name)
        return rc < 0 ? -1 : buf_puts(out, "notitle");
    return buf_puts(out, "title ") < 0 || put_quoted(out, name, strlen(name)) < 0
               ? -1
               : buf_puts(out, " noenhanced");
}

/* x and y of the s-th series: a histogram's steps end with one more, at its last edge; as text
 * its boxes have their middles. */
static int put_points(struct buf *out, const struct plot_panel *p, int64_t s, bool text)
{
    int64_t n = p->cols + (p->edge && !text);
    int rc = 0;
    for (int64_t i = 0; i < n && rc == 0; i++) {
        double y = i < p->cols ? top(p, s, i) : 0;
        double xy[2] = { (double)i, isfinite(y) ? y : NAN };
        if (p->edge)
            xy[0] = text ? (p->edge[i] + p->edge[i + 1]) / 2 : p->edge[i];
        rc = buf_append(out, xy, sizeof xy);
    }
    return rc;
}

/* A stack is drawn from its top, so that what lies below covers it. */
static int64_t nth(const struct plot_panel *p, int64_t k)
{
    return p->stack ? p->rows - 1 - k : k;
}

static int put_axes(struct buf *out, const struct plot_panel *p)
{
    int rc = buf_puts(
        out, "set size noratio\nset xtics auto out nomirror\nset ytics auto out nomirror\n");
    if (rc == 0)
        rc = buf_printf(out, "set key outside top center horizontal %s samplen 1\n",
                        p->stack ? "invert" : "noinvert");
    if (rc == 0 && p->edge)
        rc = buf_printf(out,
                        "set xrange [%.17g:%.17g]\nset yrange [0:*]\nset xlabel 'value'\n"
                        "set ylabel '%s'\n",
                        p->edge[0], p->edge[p->cols], p->density ? "density" : "count");
    else if (rc == 0)
        rc = buf_printf(out,
                        "set xrange [%g:%g]\nset yrange [*:*]\nset xlabel 'index'\n"
                        "set ylabel 'value'\n",
                        p->cols > 1 ? 0 : -0.5, p->cols > 1 ? (double)p->cols - 1 : 0.5);
    return rc;
}

static int put_series(struct buf *out, const struct plot_panel *p, bool text)
{
    if (put_axes(out, p) < 0)
        return -1;
    int64_t points = p->cols + (p->edge && !text);
    int rc = buf_puts(out, "plot ");
    for (int64_t k = 0; k < p->rows && rc == 0; k++) {
        rc = buf_printf(out,
                        "%s'-' binary endian=little record=(%lld) "
                        "format='%%float64%%float64' using 1:2 ",
                        k ? ", " : "", (long long)points);
        if (rc == 0)
            rc = put_style(out, p, nth(p, k), text);
    }
    if (rc == 0)
        rc = buf_putc(out, '\n');
    for (int64_t k = 0; k < p->rows && rc == 0; k++)
        rc = put_points(out, p, nth(p, k), text);
    return rc < 0 ? -1 : buf_putc(out, '\n');
}

/* ---- the page ---- */

static int clamp(double v, int least, int most)
{
    return v < least ? least : v > most ? most : (int)v;
}

/* Pixels that suit one panel of the grid. */
static void panel_size(int *w, int *h, const struct plot_panel *p, bool alone)
{
    double aspect = (double)p->height / (double)(p->width ? p->width : 1);
    *w = alone ? 760 : 400;
    if (has_numbers(p))
        *w = clamp(44.0 * (double)p->cols + 260, *w, 2000);
    *h = clamp(*w * (alone ? 0.6 : 0.75), 100, 8192);
    if (plot_is_image(p))
        *h = clamp((*w - 130) * aspect + 90, alone ? 240 : 200, *w * 3 / 2);
    if (has_numbers(p))
        *h = clamp(26.0 * (double)p->rows + 110, 200, 2000);
}

static void page_size(int *w, int *h, const struct plot_panel *p, int n, int across,
                      const struct plot_canvas *c)
{
    if (c->width > 0 && c->height > 0) {
        *w = c->width;
        *h = c->height;
        return;
    }
    panel_size(w, h, p, n == 1);
    *w = clamp((double)*w * across, 100, 8192);
    *h = clamp((double)*h * ((n + across - 1) / across), 100, 8192);
}

/* The plot ends a pixel before the canvas does: that rim gets the last pixel's colour. */
static int put_bare(struct buf *out, const struct plot_panel *p)
{
    int64_t scale = 640 / (p->width > p->height ? p->width : p->height) + 1;
    const unsigned char *last = p->rgb + (p->width * p->height - 1) * 3;
    return buf_printf(out,
                      "set terminal png truecolor size %lld,%lld background '#%02x%02x%02x'\n"
                      "unset border\nunset tics\nunset colorbox\n"
                      "set margins at screen 0, at screen 1, at screen 0, at screen 1\n",
                      (long long)(p->width * scale), (long long)(p->height * scale), last[0],
                      last[1], last[2]);
}

static int put_page(struct buf *out, const struct plot_panel *p, int n,
                    const struct plot_canvas *c)
{
    int w, h, across = (int)ceil(sqrt(n));
    if (c->target == PLOT_BARE)
        return put_bare(out, p);
    if (c->target == PLOT_TEXT)
        return buf_printf(out, "set terminal dumb %d,%d noenhanced %s\nset tics out nomirror\n",
                          c->width, c->height, c->colour ? "ansi256" : "mono");
    page_size(&w, &h, p, n, across, c);
    if (buf_printf(out,
                   "set terminal pngcairo noenhanced font 'sans,%d' size %d,%d\n"
                   "set tics out nomirror\n",
                   n > 1 ? 9 : 10, w, h) < 0 ||
        put_palette(out) < 0)
        return -1;
    return n > 1 ? buf_printf(out,
                              "set title font ',8'\nset key font ',8'\n"
                              "set multiplot layout %d,%d\n",
                              (n + across - 1) / across, across)
                 : 0;
}

int plot_script(struct buf *out, const struct plot_panel *p, int n, const struct plot_canvas *c)
{
    if (buf_puts(out, "set encoding utf8\n") < 0 || put_page(out, p, n, c) < 0)
        return -1;
    for (int i = 0; i < n; i++) {
        if (c->target != PLOT_BARE && put_title(out, &p[i]) < 0)
            return -1;
        if ((plot_is_image(&p[i]) ? put_image(out, &p[i], c->target == PLOT_BARE)
                                  : put_series(out, &p[i], c->target == PLOT_TEXT)) < 0)
            return -1;
        if (buf_puts(out, "unset xlabel\nunset ylabel\n") < 0)
            return -1;
    }
    return n > 1 ? buf_puts(out, "unset multiplot\n") : 0;
}
