/* batch.c - see batch.h. */
#include "front/batch.h"

#include "base/buf.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/io.h"
#include "base/signals.h"
#include "cli/env.h"
#include "front/cached.h"
#include "front/model.h"
#include "front/source.h"
#include "stage/cachedir.h"
#include "store/identity.h"
#include "store/json.h"

#include <errno.h>
#include <glob.h>
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SHARDS_MAX  99999
#define STATS_BYTES ((size_t)65536)

/* ---- which part ---- */

int batch_check(const struct batch_args *a)
{
    if (!a->out && (a->shard || a->retry))
        return err_set(ERR_USAGE, "--%s: expected -o DIR with it",
                       a->shard ? "shard" : "retry-failed");
    return 0;
}

static long slurm(const char *name, long otherwise)
{
    const char *v = env_get(name);
    return v ? strtol(v, NULL, 10) : otherwise;
}

/* The task's place in its array, whatever numbers the array has. */
static int slurm_shard(struct batch *b)
{
    long id = slurm("SLURM_ARRAY_TASK_ID", -1), first = slurm("SLURM_ARRAY_TASK_MIN", 0),
         step = slurm("SLURM_ARRAY_TASK_STEP", 1), n = slurm("SLURM_ARRAY_TASK_COUNT", 0);
    if (id < 0 || n < 1 || n > SHARDS_MAX || step < 1 || (id - first) % step ||
        (id - first) / step >= n || id < first)
        return err_set(ERR_USAGE, "--shard slurm: not in a task of an array "
                                  "(SLURM_ARRAY_TASK_ID, _MIN, _STEP, _COUNT)");
    b->shard = (int)((id - first) / step);
    b->shards = (int)n;
    return 0;
}

static int parse_shard(struct batch *b, const char *s)
{
    char rest;
    b->shards = 1;
    if (!s)
        return 0;
    if (!strcmp(s, "slurm"))
        return slurm_shard(b);
    if (sscanf(s, "%d/%d%c", &b->shard, &b->shards, &rest) != 2 || b->shard < 0 ||
        b->shards > SHARDS_MAX || b->shard >= b->shards)
        return err_set(ERR_USAGE, "--shard: '%s', expected I/N with I from 0 to N-1, or slurm",
                       s);
    return 0;
}

/* ---- files ---- */

static int open_file(struct batch_file *f, const struct batch *b, const char *suffix)
{
    snprintf(f->path, sizeof f->path, "%s%s", b->base, suffix);
    if (outfile_open(&f->out, f->path) < 0)
        return -1;
    int fd = dup(f->out.fd);
    f->f = fd < 0 ? NULL : fdopen(fd, "w+");
    return f->f ? 0 : err_sys(ERR_OS, "%s", f->path);
}

static int sync_file(struct batch_file *f)
{
    int bad = fflush(f->f) || ferror(f->f) || fsync(f->out.fd);
    bad |= fclose(f->f) != 0;
    f->f = NULL;
    return bad ? err_sys(ERR_IO, "%s", f->path) : 0;
}

static void close_file(struct batch_file *f)
{
    if (f->f)
        fclose(f->f);
    f->f = NULL;
    outfile_discard(&f->out);
}

FILE *batch_create(struct batch *b, const char *suffix)
{
    struct batch_file *f = &b->file[b->files++];
    return open_file(f, b, suffix) < 0 ? NULL : f->f;
}

void batch_close(struct batch *b)
{
    for (int i = 0; i < b->files; i++)
        close_file(&b->file[i]);
    close_file(&b->names);
}

/* ---- the part's names ---- */

static int next_name(const char **s, size_t *n, struct source *src, struct record *rec)
{
    record_clear(rec);
    int got = source_next(src, rec);
    return got > 0 ? record_get_str(s, n, rec, "id") : got;
}

static int64_t count_names(const struct source_args *a)
{
    struct source *src = source_new(a);
    struct record rec;
    const char *s;
    size_t n;
    int64_t count = 0;
    int got = src ? 1 : -1;
    record_init(&rec);
    while (got > 0 && (got = next_name(&s, &n, src, &rec)) > 0)
        count++;
    record_release(&rec);
    source_free(src);
    return got < 0 ? -1 : count;
}

static int put_name(struct batch *b, struct sha256 *h, const char *s, size_t n)
{
    if (fwrite(s, 1, n, b->names.f) != n || fputc('\0', b->names.f) == EOF)
        return err_sys(ERR_IO, "%s", b->names.path);
    sha256_update(h, s, n);
    sha256_update(h, "", 1);
    b->images++;
    return 0;
}

/* Names [from, to) of the source into the list and the digest. */
static int take_names(struct batch *b, struct sha256 *h, const struct source_args *a,
                      int64_t from, int64_t to)
{
    struct source *src = source_new(a);
    struct record rec;
    const char *s;
    size_t n;
    int got = src ? 1 : -1;
    record_init(&rec);
    for (int64_t i = 0; got > 0 && i < to && (got = next_name(&s, &n, src, &rec)) > 0; i++)
        if (i >= from && put_name(b, h, s, n) < 0)
            got = -1;
    record_release(&rec);
    source_free(src);
    if (got >= 0 && fflush(b->names.f))
        got = err_sys(ERR_IO, "%s", b->names.path);
    return got < 0 ? -1 : 0;
}

/* What standard input gives can be read once, and the names are counted before. */
static int check_input(const struct batch *b, const struct source_args *a)
{
    if (a->tar && !strcmp(a->tar, "-"))
        return err_set(ERR_USAGE,
                       "-o lists the images first: expected --tar FILE, not standard "
                       "input");
    if (b->shards > 1 && a->tar)
        return err_set(ERR_USAGE, "--shard: an archive is not cut; give each task one of its "
                                  "own");
    if (b->shards > 1 && a->list && !strcmp(a->list, "-"))
        return err_set(ERR_USAGE, "--shard counts the images first: expected -T FILE, not "
                                  "standard input");
    return 0;
}

static int list_names(struct batch *b, struct sha256 *h, const struct source_args *a)
{
    int64_t all = INT64_MAX, from = 0, to = INT64_MAX;
    if (check_input(b, a) < 0)
        return -1;
    if (b->shards > 1) {
        if ((all = count_names(a)) < 0)
            return -1;
        from = all * b->shard / b->shards;
        to = all * (b->shard + 1) / b->shards;
    }
    return take_names(b, h, a, from, to);
}

/* ---- the mark ---- */

static int digest_model(char hex[SHA256_HEX], const char *model)
{
    char dir[4096], cache[4096], memo[CACHEDIR_PATH] = "";
    if (front_model(dir, sizeof dir, model) < 0)
        return -1;
    if (cached_dir(cache, sizeof cache - 8) && cachedir_is(cache))
        snprintf(memo, sizeof memo, "%.4000s/models", cache);
    return identity_digest(hex, dir, &(struct identity_memo){ *memo ? memo : NULL, NULL });
}

static int digest_work(struct batch *b, struct sha256 *h, const char *asked, const char *model)
{
    char hex[SHA256_HEX];
    unsigned char out[SHA256_BYTES];
    if (digest_model(hex, model) < 0)
        return -1;
    sha256_update(h, hex, strlen(hex));
    sha256_update(h, asked, strlen(asked));
    sha256_update(h, VQA_VERSION, strlen(VQA_VERSION));
    if (sha256_peek(h, out) < 0)
        return -1;
    sha256_hex(b->work, out);
    return 0;
}

static bool files_are_whole(const struct batch *b, const json_t *stats)
{
    const char *suffix;
    json_t *want;
    json_object_foreach(json_object_get(stats, "sha256"), suffix, want)
    {
        char path[4096], hex[SHA256_HEX];
        snprintf(path, sizeof path, "%s%.32s", b->base, suffix);
        if (!json_is_string(want) || digest_file(hex, path, DIGEST_SHA256) < 0 ||
            strcmp(hex, json_string_value(want)))
            return false;
    }
    return json_object_size(json_object_get(stats, "sha256")) > 0;
}

/* 1: to be done; 0: done. */
static int check_mark(struct batch *b)
{
    char path[4096];
    snprintf(path, sizeof path, "%s.stats.json", b->base);
    if (!io_is_file(path) || b->a->overwrite)
        return 1;
    json_t *stats = store_json_read(path, STATS_BYTES, 4);
    const char *work = json_string_value(json_object_get(stats, "work"));
    int rc = 1;
    if (work && strcmp(work, b->work))
        rc = err_set(ERR_DATA,
                     "%s: made of other images, options or another model; "
                     "--overwrite replaces it",
                     path);
    else if (work && files_are_whole(b, stats)) {
        b->errors = (uint64_t)json_integer_value(json_object_get(stats, "errors"));
        rc = b->a->retry && b->errors;
    }
    json_decref(stats);
    if (rc >= 0)
        err_clear();
    return rc;
}

/* What programs of this host that were killed at this part have left. */
static void sweep(const struct batch *b)
{
    char pattern[4096], host[65] = "";
    glob_t g;
    gethostname(host, sizeof host - 1);
    snprintf(pattern, sizeof pattern, "%s.*.tmp.%s.*", b->base, host);
    if (glob(pattern, GLOB_NOSORT, NULL, &g) == 0)
        for (size_t i = 0; i < g.gl_pathc; i++) {
            long pid = strtol(strrchr(g.gl_pathv[i], '.') + 1, NULL, 10);
            if (pid > 0 && kill((pid_t)pid, 0) < 0 && errno == ESRCH)
                unlink(g.gl_pathv[i]);
        }
    globfree(&g);
}

int batch_open(struct batch *b, const struct batch_args *a, const struct stages_images *im,
               const char *asked, const char *model)
{
    const struct source_args s = { .names = im->names,
                                   .count = im->count,
                                   .list = im->files_from,
                                   .null = im->null,
                                   .recursive = im->recursive,
                                   .tar = im->tar,
                                   .only_names = true };
    b->a = a;
    if (parse_shard(b, a->shard) < 0 || cachedir_mkdirs(a->out, 0777) < 0)
        return -1;
    int n = snprintf(b->base, sizeof b->base, "%s/part-%05d-of-%05d", a->out, b->shard,
                     b->shards);
    if (n < 0 || n >= (int)sizeof b->base)
        return err_set(ERR_IO, "%.80s...: name too long", a->out);
    sweep(b);
    struct sha256 *h = sha256_new();
    int rc = h && open_file(&b->names, b, ".names") == 0 && list_names(b, h, &s) == 0 &&
                     digest_work(b, h, asked, model) == 0
                 ? check_mark(b)
                 : -1;
    sha256_free(h);
    return rc;
}

void batch_images(const struct batch *b, struct stages_images *im)
{
    if (im->tar)
        return;
    im->files_from = b->names.out.tmp;
    im->null = true;
    im->recursive = false;
    im->count = 0;
}

static int put_digest(json_t *sums, const struct batch *b, const struct batch_file *f)
{
    char hex[SHA256_HEX];
    if (digest_file(hex, f->path, DIGEST_SHA256) < 0)
        return -1;
    json_object_set_new(sums, f->path + strlen(b->base), json_string(hex));
    return 0;
}

static int write_mark(const struct batch *b, json_t *sums, uint64_t records, uint64_t errors)
{
    char path[4096];
    json_t *j = json_pack("{s:i, s:i, s:I, s:I, s:I, s:s, s:s, s:O}", "shard", b->shard,
                          "shards", b->shards, "images", (json_int_t)b->images, "records",
                          (json_int_t)records, "errors", (json_int_t)errors, "version",
                          VQA_VERSION, "work", b->work, "sha256", sums);
    char *text = j ? json_dumps(j, JSON_INDENT(1)) : NULL;
    snprintf(path, sizeof path, "%s.stats.json", b->base);
    int rc = text ? io_write_file(path, text, strlen(text)) : err_nomem("JSON");
    free(text);
    json_decref(j);
    return rc;
}

int batch_publish(struct batch *b, uint64_t records, uint64_t errors)
{
    json_t *sums = json_object();
    int rc = sums ? 0 : err_nomem("JSON");
    for (int i = 0; rc == 0 && i < b->files; i++)
        if (sync_file(&b->file[i]) < 0 || outfile_publish(&b->file[i].out) < 0 ||
            put_digest(sums, b, &b->file[i]) < 0)
            rc = -1;
    if (rc == 0)
        rc = write_mark(b, sums, records, errors);
    json_decref(sums);
    return rc;
}

/* ---- signals ---- */

/* A handler has no other way to learn of them. */
static struct {
    volatile sig_atomic_t signal;
    pid_t pid[PIPELINE_STAGES];
    int n;
} stop;

static void on_signal(int sig)
{
    stop.signal = sig;
    for (int i = 0; i < stop.n; i++)
        kill(stop.pid[i], SIGTERM);
}

void batch_stop_on_signal(const struct pipeline *p)
{
    memcpy(stop.pid, p->pid, sizeof stop.pid);
    stop.n = p->n;
    signals_catch(on_signal);
}

static bool stopped(int status)
{
    if (!stop.signal && status != 128 + SIGTERM)
        return false;
    err_set(ERR_TEMP, "stopped by a signal; run it again to go on from what the cache holds");
    return true;
}

int batch_wait(struct pipeline *p, int rc)
{
    int status = pipeline_wait(p);
    pipeline_release(p);
    if (stopped(status))
        return -1;
    if (status > 1 && rc == 0)
        return err_set(ERR_BUG, "a stage ended with status %d", status);
    return rc;
}
