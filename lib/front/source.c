/* source.c - see source.h. */
#include "front/source.h"

#include "base/err.h"
#include "base/io.h"
#include "base/math.h"
#include "cli/die.h"
#include "front/names.h"
#include "front/sidecar.h"
#include "front/tar.h"
#include "image/image.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define STDIN_BYTES ((size_t)1 << 28)
#define HEAD        64 /* bytes that tell an image */

/* A directory being walked. */
struct level {
    struct level *up;
    char *path;
    struct dirent **entry;
    int n, at;
};

struct source {
    const struct source_args *a;
    int next; /* operand */
    struct names list;
    struct level *dir;
    struct buf path; /* the present file's */
    struct tar tar;
    enum sidecar skip;
};

static int open_all(struct source *s, const struct source_args *a)
{
    s->skip = sidecar_of(a->skip);
    if (a->skip && (s->skip == SIDECAR_NONE || a->tar))
        return a->tar
                   ? err_set(ERR_USAGE, "--skip-existing: no files lie beside those of --tar")
                   : err_set(ERR_USAGE,
                             "--skip-existing: '%s', expected txt, xmp or "
                             "xmp:stem",
                             a->skip);
    if (a->tar && (a->count || a->list || a->recursive))
        return err_set(ERR_USAGE, "--tar: expected no other images, no -T and no -r with it");
    if (a->tar)
        return tar_open(&s->tar, a->tar);
    return a->list ? names_open(&s->list, a->list, a->null) : 0;
}

struct source *source_new(const struct source_args *a)
{
    struct source *s = calloc(1, sizeof *s);
    if (!s)
        return err_null(ERR_OS, "out of memory for a list of files");
    s->a = a;
    if (open_all(s, a) == 0)
        return s;
    source_free(s);
    return NULL;
}

static void pop(struct source *s)
{
    struct level *l = s->dir;
    s->dir = l->up;
    while (l->at < l->n)
        free(l->entry[l->at++]);
    free(l->entry);
    free(l->path);
    free(l);
}

void source_free(struct source *s)
{
    if (!s)
        return;
    while (s->dir)
        pop(s);
    names_close(&s->list);
    tar_close(&s->tar);
    buf_release(&s->path);
    free(s);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int not_dots(const struct dirent *e)
{
    return strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
}

/* Begins a directory: 1, or 0 if it cannot be read. */
static int push(struct source *s, const char *path)
{
    struct level *l = calloc(1, sizeof *l);
    if (!l || !(l->path = strdup(path))) {
        free(l);
        return err_nomem("a directory");
    }
    l->n = scandir(path, &l->entry, not_dots, by_name);
    if (l->n < 0) {
        bool memory = errno == ENOMEM;
        free(l->path);
        free(l);
        return memory ? err_nomem("a directory") : 0;
    }
    l->up = s->dir;
    s->dir = l;
    return 1;
}

/* The next entry's path into s->path. */
static int entry_path(struct source *s)
{
    struct level *l = s->dir;
    struct dirent *e = l->entry[l->at++];
    size_t n = strlen(l->path);
    buf_clear(&s->path);
    int rc = buf_printf(&s->path, "%s%s%s", l->path, n && l->path[n - 1] == '/' ? "" : "/",
                        e->d_name);
    free(e);
    return rc < 0 || !buf_str(&s->path) ? -1 : 0;
}

/* Whether a found file is to be taken: an image, or something to complain about. */
static bool wanted(const char *path)
{
    unsigned char head[HEAD];
    struct stat st;
    if (stat(path, &st) < 0 || !S_ISREG(st.st_mode))
        return false;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return true; /* an image perhaps, that cannot be read */
    ssize_t n = io_read_full(fd, head, sizeof head);
    close(fd);
    return n < 0 || image_is(head, (size_t)n);
}

/* Walks on to the next file: 1, or 0 when this directory and those below it are done. */
static int walk(struct source *s)
{
    while (s->dir) {
        struct stat st;
        if (s->dir->at == s->dir->n) {
            pop(s);
            continue;
        }
        if (entry_path(s) < 0)
            return -1;
        const char *path = (const char *)s->path.data;
        bool dir = lstat(path, &st) == 0 && S_ISDIR(st.st_mode);
        int down = dir ? push(s, path) : 0;
        if (down < 0)
            return -1;
        if (!down && (dir || wanted(path)))
            return 1;
    }
    return 0;
}

/* The next name that was given, an operand or one of the list: 1, 0 at the end, -1. */
static int next_name(const char **name, struct source *s)
{
    *name = NULL;
    if (s->next < s->a->count)
        *name = s->a->names[s->next++];
    int got = *name ? 1 : s->a->list ? names_next(name, &s->list) : 0;
    return got < 0 ? err_wrap("%s", s->a->list) : got;
}

static int put(struct record *rec, const char *path, bool is_file)
{
    struct arena *mem = record_mem(rec);
    size_t n = strlen(path);
    const char *copy = arena_strndup(mem, path, n);
    if (!copy || record_put_str(rec, "id", copy, n) < 0)
        return -1;
    if (is_file && record_put_str(rec, "path", copy, n) < 0)
        return -1;
    return 1;
}

/* Standard input's bytes travel in the record: there is no path to read them from later. */
static int put_stdin(struct record *rec)
{
    struct buf b = { 0 };
    int rc = put(rec, "-", false);
    if (rc > 0 && io_read_file(&b, "-", STDIN_BYTES) < 0)
        rc = err_wrap("standard input");
    void *copy = rc > 0 ? arena_memdup(record_mem(rec), b.data, b.len) : NULL;
    if (rc > 0 && (!copy || record_put_bin(rec, "image", copy, b.len) < 0))
        rc = -1;
    buf_release(&b);
    return rc;
}

/* ---- members of an archive ---- */

/* A member that is named as a picture is one, or something to complain about. */
static bool named_as_picture(const char *name)
{
    static const char *const endings[] = { "jpg", "jpeg", "png",  "webp", "gif", "bmp",
                                           "pnm", "pbm",  "pgm",  "ppm",  "tif", "tiff",
                                           "jp2", "jxl",  "heic", "heif", "avif" };
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && i < sizeof endings / sizeof *endings; i++)
        if (!strcasecmp(dot + 1, endings[i]))
            return true;
    return false;
}

/* webdataset's key: all up to the first dot of the last part. A name that begins with a dot
 * there (as ._a.jpg, of other systems' archivers) has none: 0. */
static size_t key_length(const char *name)
{
    const char *slash = strrchr(name, '/'), *base = slash ? slash + 1 : name;
    return *base == '.' || !*base ? 0 : (size_t)(base - name) + strcspn(base, ".");
}

/* The rest of a member whose first n bytes are in head: the record's, or its failure. */
static int put_member(struct source *s, struct record *rec, const unsigned char *head, size_t n)
{
    struct arena *mem = record_mem(rec);
    const char *name = (const char *)s->tar.name.data;
    const char *id = arena_strndup(mem, name, key_length(name));
    if (!id || record_put_str(rec, "id", id, strlen(id)) < 0)
        return -1;
    if (s->a->only_names)
        return 1;
    if (s->tar.size > STDIN_BYTES) {
        err_set(ERR_DATA, "%s: %llu bytes, more than the limit of %zu", name,
                (unsigned long long)s->tar.size, STDIN_BYTES);
        cli_report(id, err_msg());
        return record_put_error(rec, "img-encode") < 0 ? -1 : 1;
    }
    unsigned char *p = arena_alloc(mem, (size_t)s->tar.size + 1);
    if (!p)
        return -1;
    memcpy(p, head, n);
    if (tar_read(&s->tar, p + n, (size_t)s->tar.size - n) < 0 ||
        record_put_bin(rec, "image", p, (size_t)s->tar.size) < 0)
        return -1;
    return 1;
}

static int next_member(struct source *s, struct record *rec)
{
    unsigned char head[HEAD];
    int got;
    while ((got = tar_next(&s->tar)) > 0) {
        const char *name = (const char *)s->tar.name.data;
        size_t n = (size_t)math_min((int64_t)s->tar.size, HEAD);
        if (!key_length(name))
            continue;
        if (tar_read(&s->tar, head, n) < 0)
            return -1;
        if (image_is(head, n) || named_as_picture(name))
            return put_member(s, rec, head, n);
    }
    return got;
}

/* ---- files ---- */

/* The next file's path: 1 with *is_stdin set for "-" among the operands, 0, -1. */
static int next_path(const char **path, bool *is_stdin, struct source *s)
{
    *is_stdin = false;
    for (;;) {
        int got = walk(s);
        if (got < 0)
            return -1;
        *path = (const char *)s->path.data;
        if (got > 0)
            return 1;
        bool operand = s->next < s->a->count;
        const char *name;
        if ((got = next_name(&name, s)) <= 0)
            return got;
        *path = name;
        *is_stdin = operand && !strcmp(name, "-");
        int down = s->a->recursive && io_is_dir(name) ? push(s, name) : 0;
        if (down < 0)
            return -1;
        if (!down)
            return 1;
    }
}

int source_next(struct source *s, struct record *rec)
{
    const char *path;
    bool is_stdin;
    int got;
    if (s->a->tar)
        return next_member(s, rec);
    while ((got = next_path(&path, &is_stdin, s)) > 0) {
        if (is_stdin)
            return put_stdin(rec);
        if (s->skip == SIDECAR_NONE || !sidecar_is_there(path, s->skip))
            return put(rec, path, true);
    }
    return got;
}

bool source_ready(struct source *s)
{
    if (s->a->tar)
        return tar_ready(&s->tar);
    return s->dir || s->next < s->a->count || !s->a->list || names_ready(&s->list);
}
