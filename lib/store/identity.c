/* identity.c - see identity.h. */
#include "store/identity.h"

#include "base/buf.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/io.h"

#include <glob.h>
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

static int add_file(struct buf *lines, const char *path, const struct identity_memo *memo)
{
    char hex[SHA256_HEX];
    const char *slash = strrchr(path, '/');
    if (digest_of(hex, path, memo) < 0)
        return -1;
    return buf_printf(lines, "%s %s\n", slash ? slash + 1 : path, hex);
}

static int add_weights(struct buf *lines, const char *dir, const struct identity_memo *memo)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/model.safetensors", dir);
    if (n < 0 || n >= PATH_MAX)
        return err_set(ERR_NOINPUT, "%.80s...: name too long", dir);
    if (io_is_file(path))
        return add_file(lines, path, memo);
    snprintf(path, sizeof path, "%s/*.safetensors", dir);
    glob_t g;
    int rc = glob(path, 0, NULL, &g) ? err_set(ERR_NOINPUT, "%s: no weights", dir) : 0;
    for (size_t i = 0; rc == 0 && i < g.gl_pathc; i++)
        rc = add_file(lines, g.gl_pathv[i], memo);
    globfree(&g);
    return rc;
}

int identity_digest(char hex[SHA256_HEX], const char *dir, const struct identity_memo *memo)
{
    char path[PATH_MAX];
    struct buf lines = { 0 };
    snprintf(path, sizeof path, "%.*s/config.json", PATH_MAX - 16, dir);
    int rc = add_file(&lines, path, memo);
    if (rc == 0 && (rc = add_weights(&lines, dir, memo)) == 0)
        rc = buf_str(&lines) ? digest_text(hex, (const char *)lines.data) : -1;
    buf_release(&lines);
    return rc;
}
