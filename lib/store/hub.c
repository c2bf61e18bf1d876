/* hub.c - see hub.h. */
#include "store/hub.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/io.h"

#include "store/json.h"

#include <dirent.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

/* ---- what there is ---- */

static int is_commit_entry(const struct dirent *e)
{
    return is_commit(e->d_name);
}

static int is_model_entry(const struct dirent *e)
{
    return !strncmp(e->d_name, "models--", 8) && strstr(e->d_name + 8, "--");
}

static void free_entries(struct dirent **e, int n)
{
    for (int i = 0; i < n; i++)
        free(e[i]);
    if (n >= 0)
        free(e);
}

static int each_snapshot(const char *repo, const char *name, hub_fn *fn, void *ctx)
{
    char dir[4096], main[COMMIT + 1];
    if (path(dir, sizeof dir, "%s/snapshots", repo) < 0)
        return -1;
    struct dirent **e;
    int n = scandir(dir, &e, is_commit_entry, alphasort), rc = 0;
    bool known = choose(main, repo, NULL) == 0;
    for (int i = 0; i < n && rc == 0; i++) {
        rc = path(dir, sizeof dir, "%s/snapshots/%s", repo, e[i]->d_name);
        struct hub_snapshot s = { name, e[i]->d_name, dir,
                                  known && !strcmp(main, e[i]->d_name) };
        if (rc == 0)
            rc = fn(ctx, &s);
    }
    free_entries(e, n);
    return rc;
}

/* models--ORG--NAME: an ORG has no "--" in it. */
static int each_model(const char *cache, const char *entry, hub_fn *fn, void *ctx)
{
    char repo[4096], name[300];
    const char *org = entry + 8, *gap = strstr(org, "--");
    if (path(repo, sizeof repo, "%s/%s", cache, entry) < 0 ||
        path(name, sizeof name, "%.*s/%s", (int)(gap - org), org, gap + 2) < 0)
        return -1;
    return hub_is_name(name) ? each_snapshot(repo, name, fn, ctx) : 0;
}

int hub_each(const char *cache, hub_fn *fn, void *ctx)
{
    struct dirent **e;
    int n = scandir(cache, &e, is_model_entry, alphasort), rc = 0;
    for (int i = 0; i < n && rc == 0; i++)
        rc = each_model(cache, e[i]->d_name, fn, ctx);
    free_entries(e, n);
    return rc;
}

/* ---- hashes ---- */

static bool take_hash(char hex[65], const char *s)
{
    size_t n = strspn(s, "0123456789abcdef");
    if (s[n] || (n != 40 && n != 64))
        return false;
    memcpy(hex, s, n + 1);
    return true;
}

static bool hash_of_link(char hex[65], const char *file)
{
    char target[4096];
    ssize_t n = readlink(file, target, sizeof target - 1);
    if (n <= 0)
        return false;
    target[n] = '\0';
    const char *slash = strrchr(target, '/');
    return take_hash(hex, slash ? slash + 1 : target);
}

/* {"files": {NAME: {"blob_id": git's, "lfs_sha256": of the content}}} */
static bool hash_of_tree(char hex[65], const char *dir, const char *file)
{
    char name[4096];
    const char *commit = strrchr(dir, '/');
    if (!commit || !is_commit(commit + 1) ||
        path(name, sizeof name, "%s/../../trees%s.json", dir, commit) < 0 || !io_is_file(name))
        return false;
    json_t *tree = store_json_read(name, (size_t)64 << 20, 8);
    json_t *entry = json_object_get(json_object_get(tree, "files"), file);
    const char *sha256 = json_string_value(json_object_get(entry, "lfs_sha256"));
    const char *git = json_string_value(json_object_get(entry, "blob_id"));
    bool known = (sha256 || git) && take_hash(hex, sha256 ? sha256 : git);
    json_decref(tree);
    return known;
}

/* hf download --local-dir: the second line is the hash. */
static bool hash_of_metadata(char hex[65], const char *dir, const char *file)
{
    char name[4096];
    struct buf b;
    buf_init(&b);
    bool known = false;
    if (path(name, sizeof name, "%s/.cache/huggingface/download/%s.metadata", dir, file) == 0 &&
        io_is_file(name) && io_read_file(&b, name, 4096) == 0 && buf_str(&b)) {
        char *line = strchr((char *)b.data, '\n');
        if (line++) {
            line[strcspn(line, "\r\n")] = '\0';
            known = take_hash(hex, line);
        }
    }
    buf_release(&b);
    return known;
}

int hub_expected_hash(char hex[65], const char *dir, const char *file)
{
    char name[4096];
    if (path(name, sizeof name, "%s/%s", dir, file) < 0)
        return 0;
    return hash_of_link(hex, name) || hash_of_tree(hex, dir, file) ||
           hash_of_metadata(hex, dir, file);
}
