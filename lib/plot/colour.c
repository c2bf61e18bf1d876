/* colour.c - values as colours: see plot.h. The points are those of viridis (Smith and van der
 * Walt, 2015, CC0), with straight lines between them. */
#include "base/err.h"
#include "plot/plot.h"

#include <math.h>
#include <string.h>

static const unsigned char viridis[][3] = {
    { 68, 1, 84 },    { 71, 13, 96 },   { 72, 24, 106 },  { 72, 35, 116 },  { 71, 45, 123 },
    { 69, 55, 129 },  { 66, 64, 134 },  { 62, 73, 137 },  { 59, 82, 139 },  { 55, 91, 141 },
    { 51, 99, 141 },  { 47, 107, 142 }, { 44, 114, 142 }, { 41, 122, 142 }, { 38, 130, 142 },
    { 35, 137, 142 }, { 33, 144, 140 }, { 31, 151, 139 }, { 31, 159, 136 }, { 33, 166, 133 },
    { 39, 173, 129 }, { 49, 181, 123 }, { 62, 188, 116 }, { 77, 194, 108 }, { 92, 200, 99 },
    { 110, 206, 88 }, { 130, 211, 77 }, { 149, 216, 64 }, { 170, 220, 50 }, { 192, 223, 37 },
    { 213, 226, 26 }, { 234, 229, 26 }, { 253, 231, 37 }
};
#define LAST ((int)(sizeof viridis / sizeof viridis[0]) - 1)

void plot_colour(unsigned char rgb[3], double x)
{
    double at = fmin(fmax(x, 0), 1) * LAST;
    int i = at < LAST ? (int)at : LAST - 1;
    for (int c = 0; c < 3; c++) {
        double a = viridis[i][c], b = viridis[i + 1][c];
        rgb[c] = (unsigned char)(a + (b - a) * (at - i) + 0.5);
    }
}

int plot_heat(struct plot_panel *p, const struct plot_values *values, struct arena *mem)
{
    char shape[TENSOR_SHAPE_MAX];
    if (values->ndim != 2) {
        struct tensor like = { .ndim = values->ndim };
        memcpy(like.dim, values->dim, sizeof like.dim);
        return err_set(ERR_DATA, "%s: expected two axes; --slice takes some of more",
                       tensor_shape_str(shape, like));
    }
    unsigned char *rgb = arena_alloc(mem, (size_t)values->count * 3);
    if (!rgb)
        return -1;
    p->rows = p->height = values->dim[0];
    p->cols = p->width = values->dim[1];
    p->v = values->v;
    p->min = values->min;
    p->max = values->max;
    p->bar = p->max > p->min;
    p->rgb = rgb;
    double span = p->max - p->min;
    for (int64_t i = 0; i < values->count; i++) {
        if (isfinite(p->v[i]))
            plot_colour(rgb + 3 * i, span > 0 ? (p->v[i] - p->min) / span : 0.5);
        else
            memset(rgb + 3 * i, 255, 3);
    }
    return 0;
}

int plot_stack_rows(struct plot_panel *out, const struct plot_panel *p, int n,
                    struct arena *mem)
{
    struct plot_values all = { .ndim = 2, .dim = { n, 0 }, .min = INFINITY, .max = -INFINITY };
    const char **label = arena_calloc(mem, (size_t)n, sizeof *label);
    for (int i = 0; i < n; i++)
        all.dim[1] = p[i].cols > all.dim[1] ? p[i].cols : all.dim[1];
    all.count = n * all.dim[1];
    all.v = arena_alloc(mem, (size_t)all.count * sizeof *all.v);
    if (!label || !all.v)
        return -1;
    for (int i = 0; i < n; i++) {
        label[i] = p[i].label ? p[i].label[0] : NULL;
        for (int64_t x = 0; x < all.dim[1]; x++)
            all.v[i * all.dim[1] + x] = x < p[i].cols ? p[i].v[x] : NAN;
        all.min = fmin(all.min, p[i].min); /* of a NaN and a number, the number */
        all.max = fmax(all.max, p[i].max);
    }
    *out = (struct plot_panel){ .kind = PLOT_MATRIX, .title = p[0].title, .label = label };
    return plot_heat(out, &all, mem);
}
