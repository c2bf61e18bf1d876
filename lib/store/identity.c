/* identity.c - see identity.h. */
#include "store/identity.h"

#include "base/buf.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/io.h"
#include "store/open.h"

#include <glob.h>
#include <jansson.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES  (PATH_MAX + 256)
#define YOUNG_SECONDS   2 /* a file system's clock may tick this slowly */
#define MEMO_FILE_BYTES ((size_t)16384)

static int digest_text(char hex[SHA256_HEX], const char *s)
{
    unsigned char out[SHA256_BYTES];
    struct sha256 *h = sha256_new();
    if (!h)
        return -1;
    sha256_update(h, s, strlen(s));
    int rc = sha256_peek(h, out);
    sha256_free(h);
    sha256_hex(hex, out);
    return rc;
}

/* ---- what is remembered ---- */

/* The file as it is now, in a line. */
static bool describe(char line[LINE_MAX_BYTES], const char *path, const struct stat *st)
{
    char real[PATH_MAX];
    if (!realpath(path, real))
        return false;
    snprintf(line, LINE_MAX_BYTES, "%lld bytes, inode %llu, times %lld.%09ld %lld.%09ld, %s",
             (long long)st->st_size, (unsigned long long)st->st_ino,
             (long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec, (long long)st->st_ctim.tv_sec,
             st->st_ctim.tv_nsec, real);
    return !strchr(line, '\n');
}

static bool memo_path(char path[PATH_MAX], const char *memo, const char *line)
{
    char hex[SHA256_HEX];
    if (!memo || digest_text(hex, line) < 0)
        return false;
    int n = snprintf(path, PATH_MAX, "%s/%.32s", memo, hex);
    return n > 0 && n < PATH_MAX;
}

/* "DIGEST LINE\nDIGEST-OF-THAT\n": a memo that rotted, or another file's, is none. */
static int memo_text(struct buf *b, const char *hex, const char *line)
{
    char check[SHA256_HEX];
    buf_clear(b);
    if (buf_printf(b, "%s %s\n", hex, line) < 0 || !buf_str(b) ||
        digest_text(check, (const char *)b->data) < 0 || buf_printf(b, "%s\n", check) < 0)
        return -1;
    return buf_str(b) ? 0 : -1;
}

static bool recall(char hex[SHA256_HEX], const char *memo, const char *line)
{
    char path[PATH_MAX];
    struct buf got = { 0 }, want = { 0 };
    bool found = memo_path(path, memo, line) && io_is_file(path) &&
                 io_read_file(&got, path, MEMO_FILE_BYTES) == 0 && got.len > SHA256_HEX;
    if (found) {
        memcpy(hex, got.data, SHA256_HEX - 1);
        hex[SHA256_HEX - 1] = '\0';
        found = strspn(hex, "0123456789abcdef") == SHA256_HEX - 1 &&
                memo_text(&want, hex, line) == 0 && want.len == got.len &&
                !memcmp(want.data, got.data, got.len);
    }
    buf_release(&got);
    buf_release(&want);
    return found;
}

static void remember(const char *hex, const char *memo, const char *line, const struct stat *st)
{
    char path[PATH_MAX];
    struct buf text = { 0 };
    time_t now = time(NULL);
    if (now - st->st_mtime <= YOUNG_SECONDS || now - st->st_ctime <= YOUNG_SECONDS ||
        !memo_path(path, memo, line))
        return;
    if ((mkdir(memo, 0777) == 0 || io_is_dir(memo)) && memo_text(&text, hex, line) == 0)
        io_write_file(path, text.data, text.len);
    buf_release(&text);
}

/* ---- files ---- */

/* The name of the blob that a snapshot's file links to. */
static bool blob_name(char hex[SHA256_HEX], const char *path)
{
    char target[PATH_MAX];
    ssize_t n = readlink(path, target, sizeof target - 1);
    if (n < SHA256_HEX)
        return false;
    target[n] = '\0';
    const char *name = target + n - (SHA256_HEX - 1);
    if (name[-1] != '/' || strspn(name, "0123456789abcdef") != SHA256_HEX - 1)
        return false;
    memcpy(hex, name, SHA256_HEX);
    return true;
}

static int digest_of(char hex[SHA256_HEX], const char *path, const struct identity_memo *memo)
{
    char line[LINE_MAX_BYTES];
    struct stat st, after;
    if (blob_name(hex, path))
        return 0;
    if (stat(path, &st) < 0)
        return err_sys(ERR_NOINPUT, "%s", path);
    bool known = describe(line, path, &st);
    if (known && (recall(hex, memo->dir, line) || recall(hex, memo->ro, line)))
        return 0;
    if (digest_file(hex, path, DIGEST_SHA256) < 0)
        return -1;
    if (known && memo->dir && stat(path, &after) == 0 && after.st_mtime == st.st_mtime &&
        after.st_size == st.st_size)
        remember(hex, memo->dir, line, &st);
    return 0;
}

typedef int file_fn(void *ctx, const char *path);

/* Calls fn for config.json and each weights file. */
static int each_file(const char *dir, file_fn *fn, void *ctx)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/model.safetensors", dir) >= PATH_MAX)
        return err_set(ERR_NOINPUT, "%.80s...: name too long", dir);
    bool single = io_is_file(path);
    snprintf(path, sizeof path, "%.*s/config.json", PATH_MAX - 16, dir);
    if (fn(ctx, path) < 0)
        return -1;
    snprintf(path, sizeof path, "%.*s/%s.safetensors", PATH_MAX - 32, dir,
             single ? "model" : "*");
    glob_t g;
    int rc = glob(path, 0, NULL, &g) ? err_set(ERR_NOINPUT, "%s: no weights", dir) : 0;
    for (size_t i = 0; rc == 0 && i < g.gl_pathc; i++)
        rc = fn(ctx, g.gl_pathv[i]);
    globfree(&g);
    return rc;
}

struct lines {
    struct buf text;
    const struct identity_memo *memo;
    struct stat youngest; /* of the files described */
};

static int add_digest(void *ctx, const char *path)
{
    struct lines *l = ctx;
    char hex[SHA256_HEX];
    if (digest_of(hex, path, l->memo) < 0)
        return -1;
    return buf_printf(&l->text, "%s %s\n", strrchr(path, '/') + 1, hex);
}

int identity_digest(char hex[SHA256_HEX], const char *dir, const struct identity_memo *memo)
{
    struct lines l = { .memo = memo };
    int rc = each_file(dir, add_digest, &l);
    if (rc == 0)
        rc = buf_str(&l.text) ? digest_text(hex, (const char *)l.text.data) : -1;
    buf_release(&l.text);
    return rc;
}

/* ---- a part ---- */

static int add_description(void *ctx, const char *path)
{
    struct lines *l = ctx;
    char line[LINE_MAX_BYTES];
    struct stat st;
    if (stat(path, &st) < 0)
        return err_sys(ERR_NOINPUT, "%s", path);
    if (!describe(line, path, &st))
        return err_set(ERR_NOINPUT, "%s: a name like this is not remembered", path);
    if (st.st_mtime > l->youngest.st_mtime)
        l->youngest.st_mtime = st.st_mtime;
    if (st.st_ctime > l->youngest.st_ctime)
        l->youngest.st_ctime = st.st_ctime;
    return buf_printf(&l->text, "%s\n", line);
}

/* All files as they are now, in a line that stands for them. */
static bool describe_all(char line[LINE_MAX_BYTES], struct lines *l, const char *dir,
                         const char *section)
{
    char hex[SHA256_HEX];
    bool rc = each_file(dir, add_description, l) == 0 && buf_str(&l->text) &&
              digest_text(hex, (const char *)l->text.data) == 0;
    if (rc)
        snprintf(line, LINE_MAX_BYTES, "%s of files %s", section, hex);
    buf_clear(&l->text);
    return rc;
}

static int add_config(struct sha256 *h, const json_t *config, const char *key)
{
    json_t *value = json_object_get(config, key);
    char *text = value ? json_dumps(value, JSON_SORT_KEYS | JSON_COMPACT | JSON_ENCODE_ANY)
                       : NULL;
    if (value && !text)
        return err_nomem("JSON");
    sha256_update(h, key, strlen(key) + 1);
    sha256_update(h, text ? text : "", text ? strlen(text) + 1 : 0);
    free(text);
    return 0;
}

/* Whether there are tensors for each prefix. */
static bool digest_tensors(struct sha256 *h, const struct weights *w,
                           const struct identity_part *part)
{
    bool all = true;
    for (int i = 0; part->prefix[i] && all; i++)
        all = weights_digest_part(h, w, part->prefix[i]);
    return all;
}

/* 1, or 0 if there is no such part. */
static int digest_part(char hex[SHA256_HEX], struct store *s, const struct identity_part *part)
{
    unsigned char out[SHA256_BYTES];
    const struct weights *w = store_weights(s);
    struct sha256 *h = w ? sha256_new() : NULL;
    if (!h)
        return -1;
    int rc = -1;
    if (add_config(h, s->config, "architectures") == 0 &&
        add_config(h, s->config, "quantization_config") == 0 &&
        add_config(h, s->config, part->section) == 0)
        rc = json_object_get(s->config, part->section) && digest_tensors(h, w, part);
    if (rc > 0 && sha256_peek(h, out) < 0)
        rc = -1;
    sha256_free(h);
    if (rc > 0)
        sha256_hex(hex, out);
    return rc;
}

int identity_digest_part(char hex[SHA256_HEX], struct store *s,
                         const struct identity_part *part, const struct identity_memo *memo)
{
    char line[LINE_MAX_BYTES], after[LINE_MAX_BYTES];
    struct lines l = { 0 };
    bool known = describe_all(line, &l, s->dir, part->section);
    int rc = known && (recall(hex, memo->dir, line) || recall(hex, memo->ro, line))
                 ? 1
                 : digest_part(hex, s, part);
    if (rc > 0 && known && memo->dir && describe_all(after, &l, s->dir, part->section) &&
        !strcmp(line, after))
        remember(hex, memo->dir, line, &l.youngest);
    buf_release(&l.text);
    if (rc >= 0)
        err_clear();
    return rc > 0 ? 0 : rc < 0 ? -1 : identity_digest(hex, s->dir, memo);
}
