/* panels.c - see panels.h. */
#include "front/panels.h"

#include "base/err.h"
#include "front/model.h"
#include "front/overlay.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define CHANNELS_MAX 8 /* more than these along the first axis are no channels */

/* ---- the page ---- */

int panels_init(struct panels *p, const struct panels_args *args)
{
    char dir[4096];
    p->args = args;
    p->n = 0;
    p->records = 0;
    p->processor = (struct image_processor){ .resize = IMAGE_RESIZE_PILLOW };
    arena_init(&p->mem);
    if (args->slice && plot_slice_parse(&p->slice, args->slice) < 0)
        return -1;
    if (!args->rgb && !args->overlay.n)
        return 0;
    if (front_model(dir, sizeof dir, args->model) < 0)
        return -1;
    return image_processor_read(&p->processor, dir);
}

void panels_release(struct panels *p)
{
    arena_release(&p->mem);
}

void panels_clear(struct panels *p)
{
    p->n = 0;
    arena_reset(&p->mem);
}

struct plot_panel *panels_new(struct panels *p, enum plot_kind kind)
{
    if (p->n == PANELS_MAX)
        return err_null(ERR_USAGE,
                        "more than %d plots on one page; -o plot-%%d.png writes a file for "
                        "each record",
                        PANELS_MAX);
    p->v[p->n] = (struct plot_panel){ .kind = kind };
    return &p->v[p->n++];
}

/* The record's id and prompt, if there is one, and below them what fmt says. */
const char *panels_title(struct panels *p, struct record *rec, const char *fmt, ...)
{
    char text[800];
    const char *prompt;
    size_t len = 0;
    bool asked = record_get_str(&prompt, &len, rec, "prompt") > 0 && len;
    va_list ap;
    va_start(ap, fmt);
    int n = snprintf(text, sizeof text, "%s%s%.*s\n", record_id(rec), asked ? ": " : "",
                     (int)(len < 80 ? len : 80), asked ? prompt : "");
    for (int i = 0; i < n - 1; i++)
        if (text[i] == '\n')
            text[i] = ' ';
    vsnprintf(text + n, sizeof text - (size_t)n, fmt, ap);
    va_end(ap);
    return arena_strndup(&p->mem, text, strlen(text));
}

/* ---- which field ---- */

/* A tensor, or an encoded picture. */
static bool drawable(const struct record_field *f)
{
    return f->type == RECORD_TENSOR ||
           (f->type == RECORD_BIN && image_is(f->str, f->str_len < 64 ? f->str_len : 64));
}

static const struct record_field *the_only(const struct record *rec)
{
    const struct record_field *only = NULL;
    for (int i = 0; i < rec->n; i++) {
        const struct record_field *f = &rec->field[i];
        if (!drawable(f))
            continue;
        if (only)
            return err_null(ERR_USAGE, "several tensors (%.*s, %.*s); expected --field",
                            (int)only->key_len, only->key, (int)f->key_len, f->key);
        only = f;
    }
    return only ? only : err_null(ERR_DATA, "no tensor and no picture in it");
}

static const struct record_field *choose_field(const struct panels *p, const struct record *rec)
{
    static const char *const pictures[] = { "pixel_values", "image", NULL };
    static const char *const maps[] = { "answer_rollout", "attention_rollout",
                                        "cross_attentions", NULL };
    const char *const *usual = p->args->rgb ? pictures : maps;
    const char *name = p->args->field;
    bool any = p->args->rgb || p->args->overlay.n;
    for (; any && !name && *usual; usual++)
        if (record_has(rec, *usual))
            name = *usual;
    if (!name)
        return the_only(rec);
    const struct record_field *f = record_find(rec, name);
    if (!f)
        return err_null(ERR_DATA, "no field %s", name);
    return drawable(f) ? f : err_null(ERR_DATA, "%s: neither a tensor nor a picture", name);
}

/* An encoded picture as u8 (3, H, W). */
static int decode(struct tensor *t, const struct record_field *f, struct arena *mem)
{
    struct image im;
    if (image_decode(&im, f->str, f->str_len, &(struct image_limits){ 0 }) < 0)
        return -1;
    size_t count = (size_t)im.w * (size_t)im.h;
    unsigned char *to = arena_alloc(mem, 3 * count);
    for (size_t i = 0; to && i < 3 * count; i++)
        to[i] = im.rgb[i % count * 3 + i / count];
    *t = tensor_3d(to, DT_U8, 3, im.h, im.w);
    image_release(&im);
    return to ? 0 : -1;
}

static int get_tensor(struct tensor *t, const struct record_field *f, struct arena *mem)
{
    if (f->type == RECORD_BIN)
        return decode(t, f, mem);
    *t = f->tensor;
    return 0;
}

/* ---- which part ---- */

/* The N-th along the third axis from the end, and the first of those before it. */
static int channel_slice(struct plot_slice *s, struct tensor t, int channel)
{
    char shape[TENSOR_SHAPE_MAX];
    if (t.ndim < 3)
        return err_set(ERR_DATA, "%s: no channels, expected (C, H, W)",
                       tensor_shape_str(shape, t));
    *s = (struct plot_slice){ .n = t.ndim - 2 };
    for (int i = 0; i < s->n; i++)
        s->axis[i] = (struct plot_range){ .index = true, .step = 1 };
    s->axis[s->n - 1].from = channel;
    return 0;
}

/* Whether the plot is of a plane, and more must be cut away from the tensor. */
static bool wants_plane(const struct panels_args *a)
{
    return !a->rgb && !a->hist && !a->line;
}

static int choose_slice(struct plot_slice *s, const struct panels *p, struct tensor t)
{
    *s = p->slice;
    if (p->args->channel >= 0)
        return channel_slice(s, t, p->args->channel);
    if (!p->args->slice && t.ndim > 2 && wants_plane(p->args))
        return channel_slice(s, t, 0);
    return 0;
}

/* "[0,:,2]" */
static void slice_words(char *to, size_t n, const struct plot_slice *s, const char *given)
{
    size_t len = 0;
    to[0] = '\0';
    if (given) {
        snprintf(to, n, "[%s]", given);
        return;
    }
    for (int i = 0; i < s->n; i++)
        len += (size_t)snprintf(to + len, n - len, "%s%lld", i ? "," : "[",
                                (long long)s->axis[i].from);
    if (s->n)
        snprintf(to + len, n - len, "]");
}

/* ---- each kind ---- */

/* "channel 0", "channel 1", ... */
static const char **numbered(struct panels *p, const char *what, int64_t n)
{
    const char **name = arena_calloc(&p->mem, (size_t)n, sizeof *name);
    for (int64_t i = 0; name && i < n; i++) {
        char text[32];
        int len = snprintf(text, sizeof text, "%s %lld", what, (long long)i);
        name[i] = arena_strndup(&p->mem, text, (size_t)len);
        if (!name[i])
            return NULL;
    }
    return name;
}

static int64_t channels_of(const struct plot_values *v)
{
    bool batch = v->ndim == 4 && v->dim[0] == 1;
    int64_t c = batch ? v->dim[1] : v->ndim == 3 ? v->dim[0] : 1;
    return c <= CHANNELS_MAX ? c : 1;
}

static int hist_panel(struct panels *p, struct plot_panel *panel, const struct plot_values *v)
{
    int64_t series = channels_of(v);
    if (plot_hist(panel, v, series, &p->args->bins, &p->mem) < 0)
        return -1;
    if (series > 1)
        panel->label = numbered(p, "channel", series);
    return series > 1 && !panel->label ? -1 : 0;
}

static int line_panel(struct panels *p, struct plot_panel *panel, const struct plot_values *v)
{
    if (plot_line(panel, v) < 0)
        return -1;
    if (panel->rows > 1)
        panel->label = numbered(p, "row", panel->rows);
    return panel->rows > 1 && !panel->label ? -1 : 0;
}

/* How the prompt or, without one, the record is called beside its row. */
static int name_row(struct panels *p, struct plot_panel *panel, struct record *rec)
{
    const char *s;
    size_t n;
    if (record_get_str(&s, &n, rec, "prompt") <= 0 || n == 0) {
        s = record_id(rec);
        n = strlen(s);
    }
    panel->label = arena_calloc(&p->mem, 1, sizeof *panel->label);
    if (!panel->label)
        return -1;
    panel->label[0] = arena_strndup(&p->mem, s, n < 60 ? n : 60);
    return panel->label[0] ? 0 : -1;
}

static int matrix_panel(struct panels *p, struct plot_panel *panel, struct record *rec,
                        struct plot_values *v)
{
    if (v->ndim < 2) { /* a row */
        v->dim[1] = v->count;
        v->dim[0] = 1;
        v->ndim = 2;
    }
    if (plot_heat(panel, v, &p->mem) < 0)
        return -1;
    return panel->rows == 1 ? name_row(p, panel, rec) : 0;
}

static unsigned char level(double v, const struct image_processor *p, int c, bool raw)
{
    return raw ? image_level(&(struct image_processor){ 0 }, v, c) : image_level(p, v, c);
}

static int rgb_panel(struct panels *p, struct plot_panel *panel, const struct plot_values *v,
                     bool raw)
{
    const int64_t *dim = v->dim + (v->ndim == 4 && v->dim[0] == 1);
    bool last = dim[0] != 3 && dim[2] == 3; /* (H, W, 3) */
    if (v->ndim - (dim - v->dim) != 3 || (dim[0] != 3 && !last))
        return err_set(ERR_DATA, "expected three channels, (3, H, W)");
    int64_t h = dim[last ? 0 : 1], w = dim[last ? 1 : 2], count = h * w;
    unsigned char *rgb = arena_alloc(&p->mem, (size_t)count * 3);
    if (!rgb)
        return -1;
    for (int64_t i = 0; i < count; i++)
        for (int c = 0; c < 3; c++)
            rgb[3 * i + c] = level(v->v[last ? 3 * i + c : c * count + i], &p->processor, c,
                                   raw);
    panel->rgb = rgb;
    panel->height = h;
    panel->width = w;
    return 0;
}

static enum plot_kind kind_of(const struct panels_args *a, const struct plot_values *v)
{
    if (a->rgb || a->hist)
        return a->rgb ? PLOT_RGB : PLOT_HIST;
    if (a->line || (v->ndim < 2 && !a->matrix))
        return PLOT_LINE;
    return a->matrix ? PLOT_MATRIX : PLOT_HEAT;
}

static int fill(struct panels *p, struct plot_panel *panel, struct record *rec,
                struct plot_values *v, enum dtype type)
{
    switch (panel->kind) {
    case PLOT_RGB:
        return rgb_panel(p, panel, v, type == DT_U8);
    case PLOT_HIST:
        return hist_panel(p, panel, v);
    case PLOT_LINE:
        return line_panel(p, panel, v);
    case PLOT_MATRIX:
        return matrix_panel(p, panel, rec, v);
    case PLOT_HEAT:
        break;
    }
    return plot_heat(panel, v, &p->mem);
}

static int name_panel(struct panels *p, struct plot_panel *panel, struct record *rec,
                      const char *what, struct tensor t, const struct plot_values *v)
{
    char shape[TENSOR_SHAPE_MAX], range[64] = "no finite value", bad[40] = "";
    if (!isnan(v->min))
        snprintf(range, sizeof range, "%.5g .. %.5g", v->min, v->max);
    if (v->bad)
        snprintf(bad, sizeof bad, ", %lld not finite", (long long)v->bad);
    panel->title = panels_title(p, rec, "%s  %s %s  %s%s", what, dtype_name(t.dtype),
                                tensor_shape_str(shape, t), range, bad);
    return panel->title ? 0 : -1;
}

static int add_one(struct panels *p, struct record *rec, const char *name, struct tensor t)
{
    char words[80], what[160];
    struct plot_slice s;
    struct plot_values v;
    if (choose_slice(&s, p, t) < 0 || plot_values_take(&v, t, s.n ? &s : NULL, &p->mem) < 0)
        return err_wrap("%s", name);
    struct plot_panel *panel = panels_new(p, kind_of(p->args, &v));
    if (!panel)
        return -1;
    slice_words(words, sizeof words, &s, p->args->slice);
    snprintf(what, sizeof what, "%.70s%s", name, words);
    struct plot_values whole = v; /* a row's shape changes */
    if (fill(p, panel, rec, &v, t.dtype) < 0)
        return err_wrap("%s", what);
    return name_panel(p, panel, rec, what, t, &whole);
}

int panels_add(struct panels *p, struct record *rec)
{
    int before = p->n;
    struct tensor t;
    const struct record_field *f = choose_field(p, rec);
    if (!f || get_tensor(&t, f, &p->mem) < 0)
        return -1;
    const char *name = arena_strndup(&p->mem, f->key, f->key_len);
    if (!name)
        return -1;
    int rc = p->args->overlay.n ? overlay_add(p, rec, name, t) : add_one(p, rec, name, t);
    if (rc < 0) {
        p->n = before;
        return rc;
    }
    snprintf(p->field, sizeof p->field, "%s", name);
    p->records++;
    return 0;
}

int panels_join_rows(struct panels *p)
{
    for (int i = 0; i < p->n; i++)
        if (p->v[i].kind != PLOT_MATRIX || p->v[i].rows != 1)
            return 0;
    if (p->n < 2)
        return 0;
    struct plot_panel all;
    if (plot_stack_rows(&all, p->v, p->n, &p->mem) < 0)
        return -1;
    char text[200];
    snprintf(text, sizeof text, "%s of %d records  %.5g .. %.5g", p->field, p->n, all.min,
             all.max);
    all.title = arena_strndup(&p->mem, text, strlen(text));
    p->v[0] = all;
    p->n = 1;
    return all.title ? 0 : -1;
}
