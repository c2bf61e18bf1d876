/* overlay.c - see overlay.h. */
#include "front/overlay.h"

#include "base/err.h"
#include "base/io.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define SIDE        400 /* pixels of a picture's longer side on the page */
#define IMAGE_BYTES ((size_t)256 << 20)

/* Weights of the patches for each query, and what they lie over. */
struct overlay {
    int64_t queries, side; /* side * side patches */
    double *weight;        /* (queries, side, side) */
    int width, height;     /* of the picture as drawn */
    unsigned char *rgb;    /* (height, width, 3) */
    double x, y, w, h;     /* the part of it that the encoder was given */
};

/* ---- the map ---- */

/* Without a class token, or after it. */
static int64_t side_of(int64_t tokens)
{
    int64_t side = (int64_t)sqrt((double)tokens);
    return side > 0 && (side * side == tokens || side * side == tokens - 1) ? side : 0;
}

/* The mean over layers and heads, a row of patches for each query. */
static int take_map(struct overlay *o, const struct plot_values *v, struct arena *mem)
{
    int64_t tokens = v->ndim ? v->dim[v->ndim - 1] : 0;
    o->queries = v->ndim > 1 ? v->dim[v->ndim - 2] : 1;
    o->side = side_of(tokens);
    if (!o->side)
        return err_set(ERR_DATA,
                       "%lld places along the last axis, expected a square number of patches, "
                       "or one more",
                       (long long)tokens);
    int64_t patches = o->side * o->side, maps = v->count / (o->queries * tokens);
    o->weight = arena_calloc(mem, (size_t)(o->queries * patches), sizeof *o->weight);
    if (!o->weight)
        return -1;
    for (int64_t row = 0; row < maps * o->queries; row++) {
        const double *from = v->v + (row + 1) * tokens - patches;
        double *to = o->weight + row % o->queries * patches;
        for (int64_t i = 0; i < patches; i++)
            to[i] += from[i] / (double)maps;
    }
    return 0;
}

static void mean_of_queries(struct overlay *o)
{
    int64_t patches = o->side * o->side;
    for (int64_t i = 0; i < patches; i++) {
        for (int64_t q = 1; q < o->queries; q++)
            o->weight[i] += o->weight[q * patches + i];
        o->weight[i] /= (double)o->queries;
    }
    o->queries = 1;
}

/* ---- the picture ---- */

/* The whole, or with CLIP's processor what is left after the shorter side's crop. */
static void seen_part(struct overlay *o, const struct image_processor *p,
                      const struct image *im)
{
    double sx = (double)o->width / im->w, sy = (double)o->height / im->h;
    o->w = o->width;
    o->h = o->height;
    if (!p->shortest_edge)
        return;
    double zoom = (double)p->shortest_edge / (im->w < im->h ? im->w : im->h);
    o->w = p->width / zoom * sx;
    o->h = p->height / zoom * sy;
    o->x = (o->width - o->w) / 2;
    o->y = (o->height - o->h) / 2;
}

static int take_picture(struct overlay *o, const struct image_processor *p, const char *path,
                        struct arena *mem)
{
    struct buf file = { 0 };
    struct image im;
    if (io_read_file(&file, path, IMAGE_BYTES) < 0)
        return -1;
    int rc = image_decode(&im, file.data, file.len, &(struct image_limits){ 0 });
    buf_release(&file);
    if (rc < 0)
        return err_wrap("%s", path);
    double zoom = (double)SIDE / (im.w > im.h ? im.w : im.h);
    o->width = (int)fmax(1, lrint(im.w * zoom));
    o->height = (int)fmax(1, lrint(im.h * zoom));
    o->rgb = arena_alloc(mem, (size_t)o->width * (size_t)o->height * 3);
    rc = o->rgb ? image_scale(o->rgb, o->width, o->height, &im, IMAGE_RESIZE_PILLOW) : -1;
    seen_part(o, p, &im);
    image_release(&im);
    return rc;
}

static const char *picture_of(const struct panels *p)
{
    const struct opt_list *l = &p->args->overlay;
    if (l->n == 1)
        return l->v[0];
    return p->records < l->n ? l->v[p->records]
                             : err_null(ERR_USAGE,
                                        "--overlay: %d pictures, expected one, or one for each "
                                        "record",
                                        l->n);
}

/* ---- one over the other ---- */

/* Keys' cubic convolution with a = -1/2, as in the processor's bicubic. */
static double cubic(double x)
{
    x = fabs(x);
    return x < 1 ? (1.5 * x - 2.5) * x * x + 1 : x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
}

/* The map at (x, y) in patches, their middles at halves; at the rim the last patch goes on. */
static double at(const double *map, int64_t side, double x, double y)
{
    double sum = 0;
    int64_t left = (int64_t)floor(x - 0.5) - 1, top = (int64_t)floor(y - 0.5) - 1;
    for (int64_t j = top; j < top + 4; j++)
        for (int64_t i = left; i < left + 4; i++) {
            int64_t col = i < 0 ? 0 : i >= side ? side - 1 : i;
            int64_t row = j < 0 ? 0 : j >= side ? side - 1 : j;
            sum += cubic(x - 0.5 - (double)i) * cubic(y - 0.5 - (double)j) *
                   map[row * side + col];
        }
    return sum;
}

/* The picture's grey under the colour: its own colours would make others than the bar has. */
static void blend(unsigned char *to, const unsigned char *from, double share)
{
    unsigned char colour[3];
    plot_colour(colour, share);
    double grey = 0.299 * from[0] + 0.587 * from[1] + 0.114 * from[2];
    for (int c = 0; c < 3; c++)
        to[c] = (unsigned char)(0.45 * grey + 0.55 * colour[c] + 0.5);
}

static void paint(unsigned char *to, const struct overlay *o, const double *map, double min,
                  double max)
{
    for (int64_t i = 0; i < (int64_t)o->width * o->height; i++) {
        const unsigned char *from = o->rgb + 3 * i;
        double x = ((double)(i % o->width) + 0.5 - o->x) / o->w;
        double y = ((double)(i / o->width) + 0.5 - o->y) / o->h;
        if (x < 0 || x >= 1 || y < 0 || y >= 1) {
            for (int c = 0; c < 3; c++)
                to[3 * i + c] = (unsigned char)(255 - (255 - from[c]) / 3);
            continue;
        }
        double v = at(map, o->side, x * (double)o->side, y * (double)o->side);
        blend(to + 3 * i, from, max > min ? (v - min) / (max - min) : 0.5);
    }
}

static int put_panel(struct panels *p, struct record *rec, const struct overlay *o, int64_t q,
                     const char *what)
{
    int64_t patches = o->side * o->side;
    const double *map = o->weight + q * patches;
    double min = INFINITY, max = -INFINITY;
    for (int64_t i = 0; i < patches; i++) {
        if (!isfinite(map[i]))
            return err_set(ERR_DATA, "%s: patch %lld is not finite", what, (long long)i);
        min = fmin(min, map[i]);
        max = fmax(max, map[i]);
    }
    unsigned char *rgb = arena_alloc(&p->mem, (size_t)o->width * (size_t)o->height * 3);
    struct plot_panel *panel = rgb ? panels_new(p, PLOT_RGB) : NULL;
    if (!panel)
        return -1;
    paint(rgb, o, map, min, max);
    panel->rows = panel->cols = o->side;
    panel->v = map;
    panel->min = min;
    panel->max = max;
    panel->bar = max > min;
    panel->width = o->width;
    panel->height = o->height;
    panel->rgb = rgb;
    panel->title = panels_title(p, rec, "%s  %.3g .. %.3g", what, min, max);
    return panel->title ? 0 : -1;
}

/* What a row of the map is for. */
static const char *row_word(const char *field)
{
    return strncmp(field, "answer_", 7) ? "query" : "token";
}

int overlay_add(struct panels *p, struct record *rec, const char *field, struct tensor map)
{
    struct overlay o = { 0 };
    struct plot_values v;
    char what[100];
    const char *path = picture_of(p);
    int query = p->args->query;
    if (!path || plot_values_take(&v, map, p->slice.n ? &p->slice : NULL, &p->mem) < 0 ||
        take_map(&o, &v, &p->mem) < 0)
        return path ? err_wrap("%s", field) : -1;
    if (query >= o.queries)
        return err_set(ERR_DATA, "%s: query %d, expected 0 to %lld", field, query,
                       (long long)o.queries - 1);
    if (take_picture(&o, &p->processor, path, &p->mem) < 0)
        return -1;
    if (query == PANELS_EACH && o.queries > PANELS_MAX)
        return err_set(ERR_USAGE, "%s: %lld queries, more than %d plots; expected --query",
                       field, (long long)o.queries, PANELS_MAX);
    bool single = o.queries == 1;
    if (query == PANELS_MEAN)
        mean_of_queries(&o);
    for (int64_t q = query < 0 ? 0 : query; q < (query < 0 ? o.queries : query + 1); q++) {
        if (single || query == PANELS_MEAN)
            snprintf(what, sizeof what, "%.70s%s", field, single ? "" : ", mean of all");
        else
            snprintf(what, sizeof what, "%.70s, %s %lld", field, row_word(field), (long long)q);
        if (put_panel(p, rec, &o, q, what) < 0)
            return -1;
    }
    return 0;
}
