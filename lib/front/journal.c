/* journal.c - see journal.h. */
#include "front/journal.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "front/line.h"
#include "front/screen.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- the file ---- */

/* Lines up to a step, of what is there; a line that was cut off goes too. */
static int read_kept(struct buf *kept, const char *path, int64_t step)
{
    struct buf all = { 0 };
    int rc = access(path, F_OK) ? 0 : io_read_file(&all, path, (size_t)1 << 30);
    const char *at = (const char *)all.data, *end = at + all.len;
    while (rc == 0 && at < end) {
        const char *nl = memchr(at, '\n', (size_t)(end - at));
        json_t *j = nl ? json_loadb(at, (size_t)(nl - at), 0, NULL) : NULL;
        if (j && json_integer_value(json_object_get(j, "step")) <= step)
            rc = buf_append(kept, at, (size_t)(nl + 1 - at));
        json_decref(j);
        at = nl ? nl + 1 : end;
    }
    buf_release(&all);
    return rc;
}

int journal_open(struct journal *j, int64_t step)
{
    struct buf kept = { 0 };
    j->first = step;
    j->tty = line_seen();
    if (!j->path)
        return 0;
    int rc = step ? read_kept(&kept, j->path, step) : 0;
    if (rc == 0)
        rc = io_write_file(j->path, kept.data ? (const char *)kept.data : "", kept.len);
    buf_release(&kept);
    if (rc == 0 && !(j->f = fopen(j->path, "ae")))
        rc = err_sys(ERR_IO, "%s", j->path);
    return rc;
}

void journal_start(struct journal *j)
{
    j->begun = j->interval = clock_seconds();
}

void journal_close(struct journal *j)
{
    if (j->tty && j->shown > 0)
        fputc('\n', stderr);
    if (j->f)
        fclose(j->f);
    j->f = NULL;
}

static int put(struct journal *j, json_t *line)
{
    int rc = 0;
    if (!line)
        return err_nomem("JSON");
    if (j->f && (json_dumpf(line, j->f, JSON_COMPACT | JSON_REAL_PRECISION(9)) < 0 ||
                 putc('\n', j->f) == EOF || fflush(j->f)))
        rc = err_sys(ERR_IO, "%s", j->path);
    json_decref(line);
    return rc;
}

/* ---- a step ---- */

static void set(json_t *o, const char *key, double v)
{
    if (isfinite(v))
        json_object_set_new(o, key, json_real(v));
}

static void add(double *sum, double v, int64_t n)
{
    *sum = n ? *sum + v : v;
}

static void gather(struct journal *j, const struct journal_step *s)
{
    const struct train_losses *l = &s->losses;
    int64_t n = j->steps++;
    add(&j->sum.itc, l->itc, n);
    add(&j->sum.itm, l->itm, n);
    add(&j->sum.itg, l->itg, n);
    add(&j->sum.lm, l->lm, n);
    add(&j->sum.align, l->align, n);
    add(&j->sum.sum, l->sum, n);
    add(&j->sum.itm_accuracy, l->itm_accuracy, n);
    j->pairs += s->pairs;
    j->targets += s->tokens;
}

static json_t *interval_line(const struct journal *j, const struct journal_step *s)
{
    double n = (double)j->steps, seconds = clock_seconds() - j->interval;
    const struct train_losses *l = &j->sum;
    json_t *o = json_pack("{s:I}", "step", (json_int_t)s->step);
    set(o, "epoch", s->epoch);
    set(o, "loss", l->sum / n);
    set(o, "itc", l->itc / n);
    set(o, "itm", l->itm / n);
    set(o, "itg", l->itg / n);
    set(o, "lm", l->lm / n);
    set(o, "align", l->align / n);
    set(o, "itm_accuracy", l->itm_accuracy / n);
    set(o, "lr", s->rate);
    set(o, "grad_norm", s->norm);
    set(o, "pairs_per_second", (double)j->pairs / seconds);
    set(o, "tokens_per_second", (double)j->targets / seconds);
    return o;
}

/* "  itc 0.1234", and nothing for a loss that is not of this run. */
static void add_loss(char *text, size_t size, const char *name, double v)
{
    size_t n = strlen(text);
    if (isfinite(v))
        snprintf(text + n, size - n, "  %s %.4f", name, v);
}

static void show(struct journal *j, const struct journal_step *s)
{
    double t = clock_seconds();
    int64_t done = s->step - j->first;
    if (!j->tty || (t - j->shown < 0.2 && s->step < j->total))
        return;
    j->shown = t;
    long left = (long)((t - j->begun) / (double)done * (double)(j->total - s->step));
    char losses[256] = "";
    add_loss(losses, sizeof losses, "itc", s->losses.itc);
    add_loss(losses, sizeof losses, "itm", s->losses.itm);
    add_loss(losses, sizeof losses, "itg", s->losses.itg);
    add_loss(losses, sizeof losses, "lm", s->losses.lm);
    add_loss(losses, sizeof losses, "align", s->losses.align);
    line_show("step %lld/%lld%s  %.0f tokens/s  %ld:%02ld:%02ld left", (long long)s->step,
              (long long)j->total, losses, (double)j->targets / (t - j->interval), left / 3600,
              left / 60 % 60, left % 60);
}

int journal_step(struct journal *j, const struct journal_step *s)
{
    gather(j, s);
    show(j, s);
    if (s->step % j->every && s->step < j->total)
        return 0;
    int rc = put(j, interval_line(j, s));
    j->interval = clock_seconds();
    j->steps = j->pairs = j->targets = 0;
    return rc;
}

static json_t *three(const double v[RECALL_KINDS])
{
    return json_pack("[f, f, f]", v[RECALL_1], v[RECALL_5], v[RECALL_10]);
}

int journal_recall(struct journal *j, int64_t step, const struct recall *r)
{
    if (j->tty) {
        line_clear();
        fprintf(stderr,
                "step %lld: recall@1/5/10: image to text %.3f %.3f %.3f, text to image %.3f "
                "%.3f %.3f; matching %.3f\n",
                (long long)step, r->image_to_text[0], r->image_to_text[1], r->image_to_text[2],
                r->text_to_image[0], r->text_to_image[1], r->text_to_image[2], r->itm_accuracy);
    }
    return put(j, json_pack("{s:I, s:o, s:o, s:f}", "step", (json_int_t)step, "image_to_text",
                            three(r->image_to_text), "text_to_image", three(r->text_to_image),
                            "eval_itm_accuracy", r->itm_accuracy));
}

/* ---- curves ---- */

#define CURVES 5
static const char *const curve_names[CURVES] = { "itc", "itm", "itg", "lm", "align" };

/* The interval lines of the file, as an array. */
static json_t *read_lines(const char *log)
{
    json_t *lines = json_array(), *j;
    FILE *f = fopen(log, "re");
    if (!f || !lines) {
        json_decref(lines);
        return err_sys(ERR_NOINPUT, "%s", log), NULL;
    }
    while ((j = json_loadf(f, JSON_DISABLE_EOF_CHECK, NULL)))
        if (!json_object_get(j, "loss") || json_array_append_new(lines, j) < 0)
            json_decref(j);
    fclose(f);
    return lines;
}

static int draw(const char *path, const struct plot_panel *p, int n)
{
    struct buf png = { 0 };
    int rc = screen_draw(&png, SCREEN_NONE, p, n, 0, 0);
    if (rc == 0)
        rc = io_write_file(path, png.data, png.len);
    buf_release(&png);
    return rc;
}

int journal_plot(const char *path, const char *log)
{
    struct arena mem = { 0 };
    struct plot_panel panel[CURVES];
    int n = 0;
    json_t *lines = read_lines(log);
    size_t points = lines ? json_array_size(lines) : 0;
    double *v = points ? arena_calloc(&mem, CURVES * points, sizeof *v) : NULL;
    for (int c = 0; v && c < CURVES; c++) {
        double *at = v + (size_t)n * points;
        if (!json_object_get(json_array_get(lines, 0), curve_names[c]))
            continue;
        for (size_t i = 0; i < points; i++)
            at[i] = json_number_value(
                json_object_get(json_array_get(lines, i), curve_names[c]));
        panel[n++] = (struct plot_panel){ .kind = PLOT_LINE,
                                          .title = curve_names[c],
                                          .rows = 1,
                                          .cols = (int64_t)points,
                                          .v = at };
    }
    json_decref(lines);
    int rc = !lines   ? -1
             : n == 0 ? err_set(ERR_DATA, "%s: no losses in it", log)
                      : draw(path, panel, n);
    arena_release(&mem);
    return rc;
}
