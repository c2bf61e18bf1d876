/* slice.c - the part of a tensor that is drawn: see plot.h. */
#include "base/err.h"
#include "plot/plot.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A whole number at *s, if there is one: moves *s past it. */
static bool number(int64_t *v, const char **s)
{
    char *end;
    if (!strchr("-0123456789", **s) || !**s)
        return false;
    *v = strtoll(*s, &end, 10);
    bool any = end != *s;
    *s = end;
    return any;
}

/* One of "3", "1:3", ":", "::2" at *s. */
static bool range(struct plot_range *r, const char **s)
{
    *r = (struct plot_range){ .step = 1 };
    r->has_from = number(&r->from, s);
    if (**s != ':') {
        r->index = true;
        return r->has_from;
    }
    ++*s;
    r->has_to = number(&r->to, s);
    if (**s != ':')
        return true;
    ++*s;
    return !**s || **s == ',' || (number(&r->step, s) && r->step > 0);
}

int plot_slice_parse(struct plot_slice *s, const char *text)
{
    const char *at = text;
    *s = (struct plot_slice){ 0 };
    do {
        if (s->n == TENSOR_DIMS)
            return err_set(ERR_USAGE, "slice '%s': more than %d axes", text, TENSOR_DIMS);
        if (!range(&s->axis[s->n++], &at) || (*at && *at != ','))
            return err_set(ERR_USAGE,
                           "slice '%s': expected for each axis an index or FROM:TO[:STEP], "
                           "as 0,:,10:20",
                           text);
    } while (*at++ == ',');
    return 0;
}

/* A place counted from the end if it is negative, within [0, dim]. */
static int64_t clamp(int64_t i, int64_t dim)
{
    i = i < 0 ? i + dim : i;
    return i < 0 ? 0 : i > dim ? dim : i;
}

/* Where the axis begins, how many places it keeps. */
static int along(int64_t *from, int64_t *count, const struct plot_range *r, int axis,
                 int64_t dim)
{
    if (!r->index) {
        *from = r->has_from ? clamp(r->from, dim) : 0;
        int64_t to = r->has_to ? clamp(r->to, dim) : dim;
        *count = to > *from ? (to - *from - 1) / r->step + 1 : 0;
        return 0;
    }
    *from = r->from < 0 ? r->from + dim : r->from;
    *count = 1;
    if (*from < 0 || *from >= dim)
        return err_set(ERR_DATA, "index %lld: axis %d has %lld", (long long)r->from, axis,
                       (long long)dim);
    return 0;
}

static void summarize(struct plot_values *p)
{
    p->min = INFINITY;
    p->max = -INFINITY;
    for (int64_t i = 0; i < p->count; i++) {
        double v = p->v[i];
        p->bad += !isfinite(v);
        if (isfinite(v)) {
            p->min = fmin(p->min, v);
            p->max = fmax(p->max, v);
        }
    }
    if (p->bad == p->count)
        p->min = p->max = NAN;
}

/* The slice made whole: every axis of four (those of the tensor come last). */
struct walk {
    int64_t from[TENSOR_DIMS], count[TENSOR_DIMS], step[TENSOR_DIMS], stride[TENSOR_DIMS];
};

static int plan(struct walk *w, struct plot_values *out, struct tensor t,
                const struct plot_slice *s)
{
    static const struct plot_range whole = { .step = 1 };
    int64_t stride = 1;
    for (int i = TENSOR_DIMS - 1, a = t.ndim - 1; i >= 0; i--, a--) {
        const struct plot_range *r = s && a >= 0 && a < s->n ? &s->axis[a] : &whole;
        int64_t dim = a >= 0 ? t.dim[a] : 1;
        if (along(&w->from[i], &w->count[i], r, a, dim) < 0)
            return -1;
        w->step[i] = r->step;
        w->stride[i] = stride;
        stride *= dim;
    }
    out->count = w->count[0] * w->count[1] * w->count[2] * w->count[3];
    for (int a = 0; a < t.ndim; a++)
        if (!s || a >= s->n || !s->axis[a].index)
            out->dim[out->ndim++] = w->count[a + TENSOR_DIMS - t.ndim];
    return 0;
}

/* Counts places up, the last axis fastest. */
static void gather(double *to, struct tensor t, const struct walk *w, int64_t count)
{
    int64_t at[TENSOR_DIMS] = { 0 }, place = 0;
    for (int i = 0; i < TENSOR_DIMS; i++)
        place += w->from[i] * w->stride[i];
    for (int64_t n = 0; n < count; n++) {
        to[n] = tensor_at(t, place);
        for (int i = TENSOR_DIMS - 1; i >= 0; i--) {
            place += w->step[i] * w->stride[i];
            if (++at[i] < w->count[i])
                break;
            place -= w->count[i] * w->step[i] * w->stride[i];
            at[i] = 0;
        }
    }
}

int plot_values_take(struct plot_values *out, struct tensor t, const struct plot_slice *s,
                     struct arena *mem)
{
    char shape[TENSOR_SHAPE_MAX];
    struct walk w;
    *out = (struct plot_values){ 0 };
    if (s && s->n > t.ndim)
        return err_set(ERR_DATA, "the slice has %d axes, the shape is %s", s->n,
                       tensor_shape_str(shape, t));
    if (plan(&w, out, t, s) < 0)
        return -1;
    if (out->count == 0)
        return err_set(ERR_DATA, "%s: empty, nothing to draw", tensor_shape_str(shape, t));
    if (out->count > PLOT_VALUES_MAX)
        return err_set(ERR_DATA, "%s: %lld values, at most %lld are drawn; --slice takes some",
                       tensor_shape_str(shape, t), (long long)out->count,
                       (long long)PLOT_VALUES_MAX);
    double *to = out->v = arena_alloc(mem, (size_t)out->count * sizeof *to);
    if (!to)
        return -1;
    gather(to, t, &w, out->count);
    summarize(out);
    return 0;
}
