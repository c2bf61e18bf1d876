/* cache.c - see cache.h. */
#include "front/cache.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/io.h"
#include "cli/die.h"
#include "cli/opt.h"
#include "front/cached.h"
#include "front/format.h"
#include "stage/cachedir.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ABOUT_BYTES ((size_t)65536)

struct args {
    const char *dir, *older;
    uint64_t max;
    bool json;
};

static const struct opt opts[] = {
    OPT_MAYBE(struct args, dir, "cache", "DIR", "the cache in DIR, not the usual one"),
    OPT_FLAG(struct args, json, 0, "json", "one JSON document"),
    OPT_STR(struct args, older, 0, "older", "AGE", "prune what was not used for 30d, 12h"),
    OPT_SIZE(struct args, max, "cache-max", "SIZE", "prune to SIZE, as 20G"), OPT_END
};

struct run {
    const struct args *a;
    char dir[CACHEDIR_PATH];
    const char *group; /* the operand of rm */
};

static int path(const struct run *r)
{
    if (r->a->json)
        return format_print_json(json_pack("{s:s}", "dir", r->dir));
    puts(r->dir);
    return 0;
}

/* ---- ls ---- */

struct group {
    char name[64];
    char *program, *model; /* of its description, or NULL */
    uint64_t entries, bytes;
    time_t used;
};

struct groups {
    struct group *v;
    size_t n;
    const char *dir;
};

/* "WORD rest of the line", the rest; NULL if no line begins so. */
static char *fact(const char *about, const char *word)
{
    size_t n = strlen(word);
    for (const char *line = about; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (!strncmp(line, word, n) && line[n] == ' ')
            return strndup(line + n + 1, strcspn(line + n + 1, "\n"));
    }
    return NULL;
}

static void describe(struct group *g, const char *dir)
{
    char path[CACHEDIR_PATH];
    struct buf about = { 0 };
    int n = snprintf(path, sizeof path, "%s/emb/v1/%s/about", dir, g->name);
    if (n > 0 && n < CACHEDIR_PATH && io_read_file(&about, path, ABOUT_BYTES) == 0 &&
        buf_str(&about)) {
        g->program = fact((const char *)about.data, "program");
        g->model = fact((const char *)about.data, "directory");
    }
    buf_release(&about);
}

/* Entries of a group follow one another. */
static struct group *group_of(struct groups *gs, const char *name)
{
    if (gs->n && !strcmp(gs->v[gs->n - 1].name, name))
        return &gs->v[gs->n - 1];
    struct group *v = realloc(gs->v, (gs->n + 1) * sizeof *v);
    if (!v)
        return err_null(ERR_OS, "out of memory for the list");
    gs->v = v;
    struct group *g = &v[gs->n++];
    *g = (struct group){ 0 };
    snprintf(g->name, sizeof g->name, "%s", name);
    describe(g, gs->dir);
    return g;
}

static int count(void *ctx, const struct cachedir_file *f)
{
    struct group *g = f->is_entry ? group_of(ctx, f->group) : NULL;
    if (!g)
        return f->is_entry ? -1 : 0;
    g->entries++;
    g->bytes += f->size;
    g->used = f->used.tv_sec > g->used ? f->used.tv_sec : g->used;
    return 0;
}

static int last_used_first(const void *a, const void *b)
{
    const struct group *x = a, *y = b;
    return x->used == y->used ? strcmp(x->name, y->name) : x->used < y->used ? 1 : -1;
}

static void print_group(const struct group *g)
{
    char day[32];
    struct tm tm;
    strftime(day, sizeof day, "%Y-%m-%d", localtime_r(&g->used, &tm));
    printf("%s  %-10s %8llu entries %10.1f MB  %s  %s\n", g->name,
           g->program ? g->program : "-", (unsigned long long)g->entries,
           (double)g->bytes / 1e6, day, g->model ? g->model : "-");
}

static json_t *group_json(const struct group *g)
{
    return json_pack("{s:s, s:s?, s:s?, s:I, s:I, s:I}", "group", g->name, "program",
                     g->program, "model", g->model, "entries", (json_int_t)g->entries, "bytes",
                     (json_int_t)g->bytes, "used", (json_int_t)g->used);
}

static int print_groups(const struct run *r, struct groups *gs)
{
    json_t *all = r->a->json ? json_array() : NULL;
    if (gs->n)
        qsort(gs->v, gs->n, sizeof *gs->v, last_used_first);
    for (size_t i = 0; i < gs->n; i++)
        if (!r->a->json)
            print_group(&gs->v[i]);
        else
            json_array_append_new(all, group_json(&gs->v[i]));
    return r->a->json ? format_print_json(all) : 0;
}

static int ls(const struct run *r)
{
    struct groups gs = { .dir = r->dir };
    int rc = cachedir_each(r->dir, count, &gs);
    if (rc == 0)
        rc = print_groups(r, &gs);
    for (size_t i = 0; i < gs.n; i++) {
        free(gs.v[i].program);
        free(gs.v[i].model);
    }
    free(gs.v);
    return rc;
}

/* ---- du ---- */

static int add(void *ctx, const struct cachedir_file *f)
{
    struct cachedir_usage *u = ctx;
    u->entries += f->is_entry;
    u->bytes += f->size;
    return 0;
}

static int du(const struct run *r)
{
    struct cachedir_usage u = { 0 };
    if (cachedir_each(r->dir, add, &u) < 0)
        return -1;
    if (r->a->json)
        return format_print_json(json_pack("{s:s, s:I, s:I}", "dir", r->dir, "entries",
                                           (json_int_t)u.entries, "bytes",
                                           (json_int_t)u.bytes));
    printf("%llu\t%s\n", (unsigned long long)u.bytes, r->dir);
    return 0;
}

/* ---- verify ---- */

struct verdict {
    json_t *bad; /* an array, or NULL: text */
    uint64_t entries, failed;
};

static int check(void *ctx, const struct cachedir_file *f)
{
    struct verdict *v = ctx;
    char key[CACHEDIR_PATH];
    if (!f->is_entry)
        return 0;
    v->entries++;
    snprintf(key, sizeof key, "%.*s", (int)(strlen(f->name) - strlen(".msgpack")), f->name);
    if (cache_verify(f->path, key) == 0)
        return 0;
    v->failed++;
    if (!v->bad)
        printf("bad\t%s\t%s\n", f->path, err_msg());
    else
        json_array_append_new(v->bad,
                              json_pack("{s:s, s:s}", "path", f->path, "reason", err_msg()));
    err_clear();
    return 0;
}

static int verify(const struct run *r)
{
    struct verdict v = { .bad = r->a->json ? json_array() : NULL };
    int rc = cachedir_each(r->dir, check, &v);
    if (rc == 0 && v.bad)
        rc = format_print_json(json_pack("{s:s, s:I, s:o}", "dir", r->dir, "entries",
                                         (json_int_t)v.entries, "bad", v.bad));
    else if (rc == 0)
        printf("%llu entries, %llu bad\n", (unsigned long long)v.entries,
               (unsigned long long)v.failed);
    return rc == 0 && v.failed
               ? err_set(ERR_DATA, "%s: %llu bad", r->dir, (unsigned long long)v.failed)
               : rc;
}

/* ---- less of it ---- */

/* "30d", "12h", "30" (days), in seconds. */
static int64_t parse_age(const char *s)
{
    char *end;
    long v = strtol(s, &end, 10);
    int64_t unit = *end == 'h' ? 3600 : 86400;
    bool known = *end == '\0' || ((*end == 'h' || *end == 'd') && !end[1]);
    if (end == s || !known || v < 0 || v > 100000)
        cli_usage_error("--older: '%s', expected days or hours as 30d or 12h", s);
    return v * unit;
}

static int tell(const struct run *r, const struct cachedir_usage *u)
{
    if (r->a->json)
        return format_print_json(
            json_pack("{s:s, s:I, s:I, s:I, s:I}", "dir", r->dir, "removed",
                      (json_int_t)u->removed, "removed_bytes", (json_int_t)u->removed_bytes,
                      "entries", (json_int_t)u->entries, "bytes", (json_int_t)u->bytes));
    printf("%llu entries removed, %.1f MB\n", (unsigned long long)u->removed,
           (double)u->removed_bytes / 1e6);
    return 0;
}

/* Nothing is removed from a directory that is no cache. */
static int need_cache(const struct run *r)
{
    if (!io_is_dir(r->dir) || cachedir_is(r->dir))
        return 0;
    return err_set(ERR_NOINPUT, "%s: no CACHEDIR.TAG, so not a cache", r->dir);
}

static int prune(const struct run *r)
{
    int lock;
    struct cachedir_usage u;
    uint64_t max = r->a->max;
    int64_t older = r->a->older ? parse_age(r->a->older) : -1;
    if (!max && !r->a->older && cached_max(&max) < 0)
        return -1;
    if (need_cache(r) < 0)
        return -1;
    cachedir_lock(&lock, r->dir, true);
    int rc = cachedir_prune(&u, r->dir, older, max ? max : UINT64_MAX);
    cachedir_unlock(lock);
    return rc < 0 ? -1 : tell(r, &u);
}

static int rm(const struct run *r)
{
    struct cachedir_usage u;
    if (need_cache(r) < 0 || cachedir_remove(&u, r->dir, r->group) < 0)
        return -1;
    return tell(r, &u);
}

/* ---- the subcommand ---- */

static const struct {
    const char *name;
    int (*run)(const struct run *r);
} verbs[] = {
    { "path", path },     { "ls", ls },       { "du", du },
    { "verify", verify }, { "prune", prune }, { "rm", rm },
};

static void find_dir(struct run *r)
{
    const char *dir = r->a->dir;
    if (dir && *dir ? (size_t)snprintf(r->dir, sizeof r->dir, "%s", dir) >= sizeof r->dir
                    : !cached_dir(r->dir, sizeof r->dir))
        cli_die_with(err_set(ERR_NOINPUT, "no place for a cache: set VQA_CACHE or HOME, or "
                                          "give --cache=DIR"));
}

int front_cache(int argc, char **argv)
{
    struct args a = { 0 };
    struct run r = { .a = &a };
    int i = cli_start(&(struct cli){ .name = "vqa cache",
                                     .usage = "path|ls|du|verify [OPTION...]\n"
                                              "prune [--older AGE] [--cache-max SIZE]\n"
                                              "rm [GROUP]",
                                     .about = "What the cache of embeddings holds, whether it "
                                              "is sound, and less of it.",
                                     .opts = opts },
                      argc, argv, &a);
    const char *verb = i < argc ? argv[i++] : "";
    if (i < argc && !strcmp(verb, "rm"))
        r.group = argv[i++];
    if (i < argc)
        cli_usage_error("unexpected operand '%s'", argv[i]);
    if ((a.older || a.max) && strcmp(verb, "prune"))
        cli_usage_error("--older and --cache-max say what prune removes");
    find_dir(&r);
    for (size_t k = 0; k < sizeof verbs / sizeof *verbs; k++)
        if (!strcmp(verb, verbs[k].name))
            return cli_finish(verbs[k].run(&r));
    cli_usage_error("'%s': expected path, ls, du, verify, prune or rm", verb);
}
