/* draw.c - see draw.h. */
#include "front/draw.h"

#include "base/err.h"
#include "base/io.h"
#include "base/outfile.h"
#include "cli/die.h"
#include "front/draw_source.h"
#include "front/screen.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct draw {
    const struct draw_args *a;
    enum screen_kind kind;
    bool each;    /* what a record shows is written at once, not all on one page */
    bool pattern; /* ... to a file of its own */
    struct panels page;
    int64_t files; /* written so far */
    int failed;
};

/* ---- where it goes ---- */

int draw_is_pattern(const char *out)
{
    const char *at = out ? strchr(out, '%') : NULL;
    if (!at)
        return 0;
    size_t digits = strspn(at + 1, "0123456789");
    if (digits > 2 || (digits && at[1] != '0') || at[1 + digits] != 'd' || strchr(at + 1, '%'))
        return err_set(ERR_USAGE, "--output %s: expected one %%d, or with zeros %%03d", out);
    return 1;
}

/* The number in place of the pattern's %d. */
static int file_name(char *name, size_t n, const char *pattern, int64_t number)
{
    const char *at = strchr(pattern, '%'), *rest = strchr(at, 'd') + 1;
    int width = atoi(at + 1);
    int len = snprintf(name, n, "%.*s%0*lld%s", (int)(at - pattern), pattern, width,
                       (long long)number, rest);
    return len >= 0 && (size_t)len < n ? 0
                                       : err_set(ERR_IO, "%.80s...: name too long", pattern);
}

static int to_file(const char *path, const struct buf *b)
{
    struct outfile f;
    if (outfile_open(&f, path) < 0)
        return -1;
    if (io_write_full(f.fd, b->data, b->len) == 0)
        return outfile_publish(&f);
    outfile_discard(&f);
    return err_wrap("%s", path);
}

static int write_out(struct draw *d, const struct buf *b)
{
    char name[4096];
    if (!d->a->out)
        return io_write_full(STDOUT_FILENO, b->data, b->len) < 0 ? err_wrap("standard output")
                                                                 : 0;
    if (!d->pattern)
        return to_file(d->a->out, b);
    return file_name(name, sizeof name, d->a->out, d->files) < 0 ? -1 : to_file(name, b);
}

/* ---- pages ---- */

static int draw_page(struct draw *d, struct buf *out)
{
    int rc = 0;
    if (!d->a->data)
        return screen_draw(out, d->kind, d->page.v, d->page.n, d->a->width, d->a->height);
    for (int i = 0; i < d->page.n && rc == 0; i++)
        rc = plot_table(out, &d->page.v[i]);
    return rc;
}

/* Writes what is on the page, if anything. */
static int flush(struct draw *d)
{
    struct buf out = { 0 };
    if (d->page.n == 0)
        return 0;
    int rc = d->pattern ? 0 : panels_join_rows(&d->page);
    if (rc == 0 && (rc = draw_page(d, &out)) == 0)
        rc = write_out(d, &out);
    buf_release(&out);
    d->files++;
    panels_clear(&d->page);
    return rc;
}

/* A record that cannot be drawn is told of, and the others go on. */
static int put(struct draw *d, struct record *rec)
{
    struct record_error e;
    if (record_get_error(&e, rec)) {
        cli_report(record_id(rec), e.message);
        d->failed = 1;
        return 0;
    }
    if (panels_add(&d->page, rec) == 0)
        return d->each ? flush(d) : 0;
    if (err_kind() != ERR_DATA)
        return err_wrap("%s", record_id(rec));
    cli_report(record_id(rec), err_msg());
    d->failed = 1;
    return 0;
}

static int read_all(struct draw *d, char *path)
{
    struct draw_source s;
    struct record rec;
    record_init(&rec);
    int rc = draw_source_open(&s, path, d->a->p.field) < 0 ? -1 : 1;
    while (rc > 0 && (rc = draw_source_next(&s, &rec)) > 0)
        rc = put(d, &rec) < 0 ? -1 : 1;
    record_release(&rec);
    draw_source_close(&s);
    return rc;
}

static int finish(struct draw *d)
{
    if (flush(d) < 0)
        return -1;
    if (d->files)
        return d->failed;
    int rc = err_set(ERR_DATA, "no records: nothing to draw");
    if (d->failed)
        err_set_said();
    return rc;
}

int draw_run(const struct draw_args *a, char **files, int n)
{
    struct draw d = { .a = a };
    int rc = draw_is_pattern(a->out);
    d.pattern = rc > 0;
    d.kind = a->out ? SCREEN_NONE : screen_choose(a->terminal);
    d.each = d.pattern || (d.kind != SCREEN_NONE && !a->p.matrix);
    if (rc >= 0)
        rc = panels_init(&d.page, &a->p);
    for (int i = 0; rc >= 0 && i < (n ? n : 1); i++)
        rc = read_all(&d, n ? files[i] : NULL);
    rc = rc < 0 ? -1 : finish(&d);
    panels_release(&d.page);
    return rc;
}
