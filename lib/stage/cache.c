/* cache.c - see cache.h. */
#include "stage/cache.h"

#include "base/err.h"
#include "base/io.h"
#include "stage/cachedir.h"
#include "wire/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define GROUP_DIGITS  16
#define TOUCH_SECONDS 3600 /* a stamp of last use need not be finer */
#define ROOM_NUM      3    /* a cache that is full is cut to 3/4, not to begin again at once */
#define ROOM_DEN      4

struct cache {
    struct cache_config c;
    unsigned char context[SHA256_BYTES];
    char *group, *ro_group; /* DIR/emb/v1/GROUP */
    bool writes;            /* until the first failure */
    uint64_t held;          /* bytes in dir as of the last count, and what was written since */
    bool counted;
};

/* ---- opening ---- */

static int digest(unsigned char out[SHA256_BYTES], const void *p, size_t n)
{
    struct sha256 *h = sha256_new();
    if (!h)
        return -1;
    sha256_update(h, p, n);
    int rc = sha256_peek(h, out);
    sha256_free(h);
    return rc;
}

static char *group_path(const struct cache *c, const char *dir)
{
    char path[CACHEDIR_PATH], hex[SHA256_HEX];
    sha256_hex(hex, c->context);
    int n = snprintf(path, sizeof path, "%s/emb/v1/%.*s", dir, GROUP_DIGITS, hex);
    if (n < 0 || n >= CACHEDIR_PATH - 128)
        return err_null(ERR_IO, "%.80s...: name too long", dir);
    char *copy = strdup(path);
    return copy ? copy : err_null(ERR_OS, "out of memory for the cache");
}

struct cache *cache_open(const struct cache_config *config)
{
    struct cache *c = calloc(1, sizeof *c);
    if (!c)
        return err_null(ERR_OS, "out of memory for the cache");
    c->c = *config;
    c->writes = config->dir != NULL;
    if (digest(c->context, config->context, strlen(config->context)) == 0 &&
        (!config->dir || (c->group = group_path(c, config->dir))) &&
        (!config->ro || (c->ro_group = group_path(c, config->ro))))
        return c;
    cache_close(c);
    return NULL;
}

void cache_close(struct cache *c)
{
    if (!c)
        return;
    free(c->group);
    free(c->ro_group);
    free(c);
}

/* ---- keys ---- */

int cache_key(struct cache_key *key, const struct cache *c, const char *kind, const void *p,
              size_t n)
{
    unsigned char out[SHA256_BYTES];
    char head[128];
    struct sha256 *h = sha256_new();
    if (!h)
        return -1;
    int len = snprintf(head, sizeof head, "%s\n%zu\n", kind, n);
    sha256_update(h, c->context, sizeof c->context);
    sha256_update(h, head, (size_t)len);
    sha256_update(h, p, n);
    int rc = sha256_peek(h, out);
    sha256_free(h);
    sha256_hex(key->hex, out);
    return rc;
}

static void entry_path(char path[CACHEDIR_PATH], const char *group, const char *key)
{
    snprintf(path, CACHEDIR_PATH, "%s/%.2s/%s.msgpack", group, key, key);
}

/* ---- reading ---- */

static bool has_id(const struct record *rec, const char *key)
{
    const char *s;
    size_t n;
    return record_get_str(&s, &n, rec, "id") > 0 && n == strlen(key) && !memcmp(s, key, n);
}

/* The stream's one record into rec. */
static int read_stream(struct record *rec, struct wire_reader *r, const char *key)
{
    struct record more;
    size_t n;
    if (wire_start(r) < 0)
        return -1;
    if (!wire_reader_via(r, &n))
        return err_set(ERR_DATA, "no header, expected a stream with header and end");
    int got = wire_read(r, rec);
    if (got <= 0)
        return got < 0 ? -1 : err_set(ERR_DATA, "no record in it");
    if (record_is_error(rec) || !has_id(rec, key))
        return err_set(ERR_DATA, "the entry of another key");
    record_init(&more);
    got = wire_read(r, &more);
    record_release(&more);
    return got > 0 ? err_set(ERR_DATA, "several records in it") : got;
}

static int read_fd(struct record *rec, int fd, const char *path, const char *key)
{
    struct wire_reader *r = wire_reader_new(fd, path, NULL);
    int rc = r ? read_stream(rec, r, key) : -1;
    wire_reader_free(r);
    return rc;
}

static int open_entry(struct stat *st, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return err_sys(ERR_NOINPUT, "%s", path);
    if (fstat(fd, st) == 0 && S_ISREG(st->st_mode))
        return fd;
    close(fd);
    return err_set(ERR_DATA, "%s: not a regular file", path);
}

/* For eviction: the file's own time says when it was used last. */
static void touch(int fd, const struct stat *st)
{
    if (time(NULL) - st->st_mtime > TOUCH_SECONDS)
        futimens(fd, NULL);
}

static bool get_from(struct tensor *t, struct record *rec, const char *group, const char *key,
                     const char *field, bool ours)
{
    char path[CACHEDIR_PATH];
    struct stat st;
    if (!group)
        return false;
    entry_path(path, group, key);
    int fd = open_entry(&st, path);
    if (fd < 0)
        return false;
    record_clear(rec);
    bool hit = read_fd(rec, fd, path, key) == 0 && record_get_tensor(t, rec, field) > 0;
    if (hit && ours)
        touch(fd, &st);
    close(fd);
    return hit;
}

int cache_get(struct tensor *t, struct record *rec, const struct cache *c,
              const struct cache_key *key, const char *field)
{
    struct err_saved before;
    err_save(&before);
    int hit = get_from(t, rec, c->group, key->hex, field, c->writes) ||
              get_from(t, rec, c->ro_group, key->hex, field, false);
    err_restore(&before);
    return hit;
}

int cache_verify(const char *path, const char *key)
{
    struct stat st;
    struct record rec;
    int fd = open_entry(&st, path);
    if (fd < 0)
        return -1;
    record_init(&rec);
    int rc = read_fd(&rec, fd, path, key);
    record_release(&rec);
    close(fd);
    return rc;
}

/* ---- writing ---- */

static int describe(const struct cache *c, const char *path)
{
    struct buf b = { 0 };
    int rc = buf_puts(&b, c->c.context);
    if (rc == 0 && (rc = buf_puts(&b, c->c.note ? c->c.note : "")) == 0)
        rc = io_write_file(path, b.data, b.len);
    buf_release(&b);
    return rc;
}

/* An entry's directory, with those above it and the group's description. Permissions below DIR
 * are the umask's, so that a group can share it. */
static int make_place(const struct cache *c, const char *key)
{
    char path[CACHEDIR_PATH];
    if (cachedir_make(c->c.dir) < 0 || cachedir_check(c->c.dir) < 0)
        return -1;
    snprintf(path, sizeof path, "%s/%.2s", c->group, key);
    if (cachedir_mkdirs(path, 0777) < 0)
        return -1;
    snprintf(path, sizeof path, "%s/about", c->group);
    return io_is_file(path) ? 0 : describe(c, path);
}

/* A file of its own name beside the entry's place. */
static int open_temp(char path[CACHEDIR_PATH], const struct cache *c, const char *key)
{
    uint64_t random;
    if (getrandom(&random, sizeof random, 0) != sizeof random)
        return err_sys(ERR_OS, "getrandom");
    snprintf(path, CACHEDIR_PATH, "%s/%.2s/.tmp.%016llx", c->group, key,
             (unsigned long long)random);
    return open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
}

/* The same; what is missing of the directories is made first. */
static int make_temp(char path[CACHEDIR_PATH], const struct cache *c, const char *key)
{
    int fd = open_temp(path, c, key);
    if (fd < 0 && errno == ENOENT) {
        if (make_place(c, key) < 0)
            return -1;
        fd = open_temp(path, c, key);
    }
    return fd < 0 ? err_sys(ERR_IO, "%s", c->c.dir) : fd;
}

static int write_stream(const struct cache *c, int fd, const char *key, const char *field,
                        struct tensor t)
{
    struct wire_producer me = { c->c.program, VQA_VERSION, c->c.model, NULL };
    struct wire_writer *w = wire_writer_new(fd, NULL, &me);
    struct record rec;
    record_init(&rec);
    int rc = w && record_put_str(&rec, "id", key, strlen(key)) == 0 &&
                     record_put_tensor(&rec, field, t) == 0 && wire_write(w, &rec) == 0 &&
                     wire_finish(w) == 0
                 ? 0
                 : -1;
    record_release(&rec);
    wire_writer_free(w);
    return rc;
}

/* Gives the entry's size. */
static int64_t publish(const struct cache *c, const char *key, const char *field,
                       struct tensor t)
{
    char temp[CACHEDIR_PATH], path[CACHEDIR_PATH];
    int fd = make_temp(temp, c, key);
    if (fd < 0)
        return -1;
    int rc = write_stream(c, fd, key, field, t) < 0 ? err_wrap("%s", c->c.dir) : 0;
    int64_t size = lseek(fd, 0, SEEK_CUR);
    if (close(fd) < 0 && rc == 0)
        rc = err_sys(ERR_IO, "close");
    entry_path(path, c->group, key);
    if (rc == 0 && rename(temp, path) < 0)
        rc = err_sys(ERR_IO, "%s", path);
    if (rc < 0)
        unlink(temp);
    return rc < 0 ? -1 : size;
}

static int prune(struct cache *c)
{
    struct cachedir_usage u;
    if (cachedir_prune(&u, c->c.dir, -1, UINT64_MAX) < 0)
        return -1;
    if (u.bytes > c->c.max &&
        cachedir_prune(&u, c->c.dir, -1, c->c.max / ROOM_DEN * ROOM_NUM) < 0)
        return -1;
    c->counted = true;
    c->held = u.bytes;
    return 0;
}

/* Others may write here too: their entries are counted when the sum of ours says it is time. If
 * one of them prunes just now, we look again after our next entry. */
static int keep_small(struct cache *c)
{
    int lock;
    if (!c->c.max || (c->counted && c->held <= c->c.max) ||
        !cachedir_lock(&lock, c->c.dir, false))
        return 0;
    int rc = prune(c);
    cachedir_unlock(lock);
    return rc;
}

void cache_put(struct cache *c, const struct cache_key *key, const char *field, struct tensor t)
{
    struct err_saved before;
    if (!c->writes)
        return;
    err_save(&before);
    int64_t size = publish(c, key->hex, field, t);
    c->held += size > 0 ? (uint64_t)size : 0;
    if (size < 0 || keep_small(c) < 0) {
        c->writes = false;
        if (c->c.say)
            c->c.say("cache: %s; going on without writing to it", err_msg());
    }
    err_restore(&before);
}
