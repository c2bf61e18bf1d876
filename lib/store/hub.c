/* hub.c - see hub.h. */
#include "store/hub.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/io.h"

#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define COMMIT 40

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           c == '-' || c == '_' || c == '.';
}

/* One part of a name: it cannot be empty, hidden, or lead upwards. Gives its length, 0 if it is
 * not one. */
static size_t part(const char *s)
{
    size_t n = 0;
    while (is_name_char(s[n]))
        n++;
    return *s == '.' ? 0 : n;
}

static bool is_revision(const char *s)
{
    size_t n;
    while ((n = part(s)) && s[n] == '/')
        s += n + 1;
    return n && !s[n];
}

bool hub_is_name(const char *word)
{
    size_t org = part(word), name = org && word[org] == '/' ? part(word + org + 1) : 0;
    const char *rest = word + org + 1 + name;
    return name && (!*rest || (*rest == '@' && is_revision(rest + 1)));
}

static bool is_commit(const char *s)
{
    return strlen(s) == COMMIT && strspn(s, "0123456789abcdef") == COMMIT;
}

__attribute__((format(printf, 3, 4))) static int path(char *out, size_t n, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int len = vsnprintf(out, n, fmt, ap);
    va_end(ap);
    return len >= 0 && (size_t)len < n ? 0
                                       : err_set(ERR_NOINPUT, "%.80s...: name too long", out);
}

/* CACHE/models--ORG--NAME */
static int repository(char *dir, size_t n, const char *cache, const char *name)
{
    int org = (int)strcspn(name, "/"), own = (int)strcspn(name + org + 1, "@");
    if (path(dir, n, "%s/models--%.*s--%.*s", cache, org, name, own, name + org + 1) < 0)
        return -1;
    int full = org + 1 + own;
    return io_is_dir(dir) ? 0
                          : err_set(ERR_NOINPUT,
                                    "%.*s: not in %s; 'fetch-model %s' or 'hf download %.*s' "
                                    "brings it",
                                    full, name, cache, name, full, name);
}

/* The commit that refs/REV holds: 1, 0 if there is no such ref. */
static int read_ref(char commit[COMMIT + 1], const char *repo, const char *rev)
{
    char file[4096];
    if (path(file, sizeof file, "%s/refs/%s", repo, rev) < 0)
        return -1;
    if (!io_is_file(file))
        return 0;
    struct buf b;
    buf_init(&b);
    int rc = io_read_file(&b, file, 256);
    const char *text = rc < 0 ? NULL : buf_str(&b);
    if (text)
        snprintf(commit, COMMIT + 1, "%.*s", (int)strcspn(text, " \r\n"), text);
    buf_release(&b);
    if (!text)
        return -1;
    return is_commit(commit) ? 1 : err_set(ERR_DATA, "%s: expected a commit", file);
}

/* The only snapshot there is; -1 with err set if there are none or several. */
static int only_snapshot(char commit[COMMIT + 1], const char *repo)
{
    char dir[4096];
    if (path(dir, sizeof dir, "%s/snapshots", repo) < 0)
        return -1;
    DIR *d = opendir(dir);
    int n = 0;
    for (struct dirent *e; d && (e = readdir(d));)
        if (is_commit(e->d_name) && n++ == 0)
            memcpy(commit, e->d_name, COMMIT + 1);
    if (d)
        closedir(d);
    if (n > 1)
        return err_set(ERR_NOINPUT, "%s: %d snapshots and no refs/main; name one: @COMMIT",
                       repo, n);
    return n ? 0 : err_set(ERR_NOINPUT, "%s: no snapshot in it: an unfinished download", repo);
}

static int choose(char commit[COMMIT + 1], const char *repo, const char *rev)
{
    if (rev && is_commit(rev)) {
        memcpy(commit, rev, COMMIT + 1);
        return 0;
    }
    int got = read_ref(commit, repo, rev ? rev : "main");
    if (got != 0)
        return got < 0 ? -1 : 0;
    return rev ? err_set(ERR_NOINPUT, "%s: no revision %s in refs/", repo, rev)
               : only_snapshot(commit, repo);
}

int hub_find(char *dir, size_t n, const char *cache, const char *name)
{
    char repo[4096], commit[COMMIT + 1];
    const char *at = strchr(name, '@');
    if (!hub_is_name(name))
        return err_set(ERR_NOINPUT, "%s: expected ORG/NAME[@REV]", name);
    if (repository(repo, sizeof repo, cache, name) < 0 ||
        choose(commit, repo, at ? at + 1 : NULL) < 0 ||
        path(dir, n, "%s/snapshots/%s", repo, commit) < 0)
        return -1;
    return io_is_dir(dir)
               ? 0
               : err_set(ERR_NOINPUT, "%s: no such snapshot; 'fetch-model %s' brings it", dir,
                         name);
}
