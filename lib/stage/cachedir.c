/* cachedir.c - see cachedir.h. */
#include "stage/cachedir.h"

#include "base/err.h"
#include "base/io.h"
#include "base/math.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define TEMP_SECONDS 3600 /* no writer takes so long for one entry */
#define BINS         1024
#define NANO         1000000000LL

static const char tag[] =
    "Signature: 8a477f597d28d172789f06886806bc55\n"
    "# Embeddings kept by vqatools: 'vqa cache' lists and removes them.\n";

/* ---- the directory itself ---- */

/* Making what is there already fails in several ways (on a read-only file system with EROFS).
 */
static int make_one(const char *path, unsigned mode)
{
    if (mkdir(path, mode) == 0 || errno == EEXIST)
        return 0;
    int why = errno;
    if (io_is_dir(path))
        return 0;
    errno = why;
    return err_sys(ERR_IO, "%s", path);
}

int cachedir_mkdirs(const char *dir, unsigned mode)
{
    char path[CACHEDIR_PATH];
    size_t n = strlen(dir);
    if (n >= sizeof path)
        return err_set(ERR_IO, "%.80s...: name too long", dir);
    memcpy(path, dir, n + 1);
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (make_one(path, mode) < 0)
            return -1;
        *slash = '/';
    }
    return make_one(path, mode);
}

static bool tag_path(char path[CACHEDIR_PATH], const char *dir)
{
    int n = snprintf(path, CACHEDIR_PATH, "%s/CACHEDIR.TAG", dir);
    return n > 0 && n < CACHEDIR_PATH;
}

int cachedir_make(const char *dir)
{
    char path[CACHEDIR_PATH];
    if (cachedir_mkdirs(dir, 0700) < 0)
        return -1;
    if (!tag_path(path, dir))
        return err_set(ERR_IO, "%.80s...: name too long", dir);
    return io_is_file(path) ? 0 : io_write_file(path, tag, sizeof tag - 1);
}

int cachedir_check(const char *dir)
{
    struct stat st;
    if (stat(dir, &st) < 0)
        return 0;
    if (!S_ISDIR(st.st_mode))
        return err_set(ERR_IO, "%s: not a directory", dir);
    if (st.st_mode & S_IWOTH)
        return err_set(ERR_NOPERM, "%s: everybody may write there (chmod o-w)", dir);
    return 0;
}

bool cachedir_is(const char *dir)
{
    char path[CACHEDIR_PATH];
    return tag_path(path, dir) && io_is_file(path);
}

/* ---- walking ---- */

struct walk {
    const char *group;
    cachedir_fn *fn;
    void *ctx;
};
typedef int each_fn(struct walk *w, const char *path, const char *name);

/* fn for each name in dir but those that begin with a dot, unless hidden. */
static int each_in(struct walk *w, const char *dir, bool hidden, each_fn *fn)
{
    DIR *d = opendir(dir);
    if (!d && errno != ENOENT && errno != ENOTDIR)
        return err_sys(ERR_IO, "%s", dir);
    int rc = 0;
    for (struct dirent *e; d && rc == 0 && (e = readdir(d));) {
        char path[CACHEDIR_PATH];
        int n = snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        if ((e->d_name[0] != '.' || hidden) && n > 0 && n < CACHEDIR_PATH)
            rc = fn(w, path, e->d_name);
    }
    if (d)
        closedir(d);
    return rc;
}

static bool ends_in(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n > m && !strcmp(s + n - m, end);
}

static int visit_file(struct walk *w, const char *path, const char *name)
{
    struct stat st;
    bool temp = !strncmp(name, ".tmp.", 5), entry = !temp && ends_in(name, ".msgpack");
    if ((!temp && !entry) || lstat(path, &st) < 0 || !S_ISREG(st.st_mode))
        return 0;
    struct cachedir_file f = { path, w->group, name, entry, (uint64_t)st.st_size, st.st_mtim };
    return w->fn(w->ctx, &f);
}

static int visit_shard(struct walk *w, const char *path, const char *name)
{
    (void)name;
    return each_in(w, path, true, visit_file);
}

static int visit_group(struct walk *w, const char *path, const char *name)
{
    w->group = name;
    return each_in(w, path, false, visit_shard);
}

int cachedir_each(const char *dir, cachedir_fn *fn, void *ctx)
{
    char path[CACHEDIR_PATH];
    struct walk w = { .fn = fn, .ctx = ctx };
    int n = snprintf(path, sizeof path, "%s/emb/v1", dir);
    if (n < 0 || n >= CACHEDIR_PATH)
        return err_set(ERR_IO, "%.80s...: name too long", dir);
    return each_in(&w, path, false, visit_group);
}

/* ---- keeping it small ---- */

static int64_t nanoseconds(struct timespec t)
{
    return (int64_t)t.tv_sec * NANO + t.tv_nsec;
}

struct prune {
    struct cachedir_usage *u;
    int64_t now, older;  /* seconds */
    int64_t first, last; /* nanoseconds: the entries' times */
    uint64_t bin[BINS];  /* bytes of the entries by their time, from first to last */
    int64_t cut;         /* bins below it go */
    uint64_t max;
};

static void drop(struct cachedir_usage *u, const struct cachedir_file *f)
{
    if (unlink(f->path) == 0 && f->is_entry) {
        u->removed++;
        u->removed_bytes += f->size;
    }
}

/* The first walk: what is too old goes, the rest is counted. */
static int survey(void *ctx, const struct cachedir_file *f)
{
    struct prune *p = ctx;
    int64_t at = nanoseconds(f->used), age = p->now - f->used.tv_sec;
    if (f->is_entry ? p->older >= 0 && age >= p->older : age > TEMP_SECONDS) {
        drop(p->u, f);
        return 0;
    }
    if (!f->is_entry)
        return 0;
    p->first = p->u->entries ? math_min(p->first, at) : at;
    p->last = p->u->entries ? math_max(p->last, at) : at;
    p->u->entries++;
    p->u->bytes += f->size;
    return 0;
}

static int bin_of(const struct prune *p, const struct cachedir_file *f)
{
    int64_t width = (p->last - p->first) / BINS + 1, at = nanoseconds(f->used) - p->first;
    return (int)math_max(0, math_min(BINS - 1, at / width));
}

static int fill_bins(void *ctx, const struct cachedir_file *f)
{
    struct prune *p = ctx;
    if (f->is_entry)
        p->bin[bin_of(p, f)] += f->size;
    return 0;
}

static int evict(void *ctx, const struct cachedir_file *f)
{
    struct prune *p = ctx;
    if (!f->is_entry || bin_of(p, f) >= p->cut || p->u->bytes <= p->max)
        return 0;
    drop(p->u, f);
    p->u->bytes -= math_min((int64_t)f->size, (int64_t)p->u->bytes);
    p->u->entries--;
    return 0;
}

/* Times are sorted into bins and the oldest bins go: three walks, but no list of all entries.
 */
static int shrink(struct prune *p, const char *dir)
{
    if (cachedir_each(dir, fill_bins, p) < 0)
        return -1;
    for (uint64_t left = p->u->bytes; left > p->max && p->cut < BINS; p->cut++)
        left -= p->bin[p->cut] < left ? p->bin[p->cut] : left;
    return cachedir_each(dir, evict, p);
}

int cachedir_prune(struct cachedir_usage *u, const char *dir, int64_t older, uint64_t max)
{
    struct prune p = { .u = u, .now = time(NULL), .older = older, .max = max };
    *u = (struct cachedir_usage){ 0 };
    if (cachedir_each(dir, survey, &p) < 0)
        return -1;
    return u->bytes > max ? shrink(&p, dir) : 0;
}

bool cachedir_lock(int *lock, const char *dir, bool wait)
{
    *lock = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*lock < 0 || flock(*lock, wait ? LOCK_EX : LOCK_EX | LOCK_NB) == 0 ||
        errno != EWOULDBLOCK)
        return true;
    close(*lock);
    return false;
}

void cachedir_unlock(int lock)
{
    if (lock >= 0)
        close(lock);
}

/* ---- removing it ---- */

struct removal {
    struct cachedir_usage *u;
    const char *group;
};

static int remove_file(void *ctx, const struct cachedir_file *f)
{
    const struct removal *r = ctx;
    if (!r->group || !strcmp(r->group, f->group))
        drop(r->u, f);
    return 0;
}

static int remove_shard(struct walk *w, const char *path, const char *name)
{
    (void)w;
    (void)name;
    rmdir(path); /* one that got a new entry meanwhile stays */
    return 0;
}

static int remove_group(struct walk *w, const char *path, const char *name)
{
    char about[CACHEDIR_PATH];
    const struct removal *r = w->ctx;
    if (r->group && strcmp(r->group, name))
        return 0;
    each_in(w, path, false, remove_shard);
    int n = snprintf(about, sizeof about, "%s/about", path);
    if (n > 0 && n < CACHEDIR_PATH)
        unlink(about);
    rmdir(path);
    return 0;
}

int cachedir_remove(struct cachedir_usage *u, const char *dir, const char *group)
{
    char path[CACHEDIR_PATH];
    struct removal r = { u, group };
    struct walk w = { .ctx = &r };
    *u = (struct cachedir_usage){ 0 };
    if (cachedir_each(dir, remove_file, &r) < 0)
        return -1;
    snprintf(path, sizeof path, "%s/emb/v1", dir);
    return each_in(&w, path, false, remove_group);
}
