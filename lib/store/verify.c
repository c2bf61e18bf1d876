/* verify.c - see verify.h. */
#include "store/verify.h"

#include "base/digest.h"
#include "base/err.h"
#include "store/hub.h"
#include "store/store.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define DEPTH 4

/* ---- walking ---- */

typedef int walk_fn(void *ctx, const char *path, const char *name, const struct stat *st);

static int visible(const struct dirent *e)
{
    return e->d_name[0] != '.';
}

static int walk(const char *dir, const char *below, int depth, walk_fn *fn, void *ctx);

/* st is NULL for a link that leads nowhere. */
static int visit(const char *dir, const char *below, const char *entry, int depth, walk_fn *fn,
                 void *ctx)
{
    char path[4096], name[1024];
    int n = snprintf(name, sizeof name, "%s%s%s", below, *below ? "/" : "", entry);
    int m = snprintf(path, sizeof path, "%s/%s", dir, name);
    if (n >= (int)sizeof name || m >= (int)sizeof path)
        return err_set(ERR_NOINPUT, "%.200s: name too long", dir);
    struct stat st;
    bool there = stat(path, &st) == 0;
    if (there && S_ISDIR(st.st_mode))
        return depth ? walk(dir, name, depth - 1, fn, ctx) : 0;
    return fn(ctx, path, name, there ? &st : NULL);
}

static int walk(const char *dir, const char *below, int depth, walk_fn *fn, void *ctx)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", dir, below);
    struct dirent **e;
    int n = scandir(path, &e, visible, alphasort), rc = 0;
    if (n < 0)
        return err_sys(ERR_NOINPUT, "%s", path);
    for (int i = 0; i < n; i++) {
        if (rc == 0)
            rc = visit(dir, below, e[i]->d_name, depth, fn, ctx);
        free(e[i]);
    }
    free(e);
    return rc;
}

/* ---- sizes ---- */

static int add_size(void *ctx, const char *path, const char *name, const struct stat *st)
{
    (void)path;
    (void)name;
    if (st && S_ISREG(st->st_mode))
        *(int64_t *)ctx += st->st_size;
    return 0;
}

int64_t verify_size(const char *dir)
{
    int64_t total = 0;
    return walk(dir, "", DEPTH, add_size, &total) < 0 ? 0 : total;
}

/* ---- hashes ---- */

struct verify {
    const char *dir;
    verify_fn *fn;
    void *ctx;
};

static enum verify_state compare(char why[256], const char *dir, const char *path,
                                 const char *name)
{
    char want[65], got[SHA256_HEX];
    if (!hub_expected_hash(want, dir, name)) {
        snprintf(why, 256, "no hash is recorded for it");
        return VERIFY_UNKNOWN;
    }
    enum digest_kind kind = strlen(want) == 64 ? DIGEST_SHA256 : DIGEST_GIT_SHA1;
    if (digest_file(got, path, kind) < 0) {
        snprintf(why, 256, "%s", err_msg());
        return VERIFY_BAD;
    }
    if (!strcmp(got, want))
        return VERIFY_OK;
    snprintf(why, 256, "%s %s, expected %s", kind == DIGEST_SHA256 ? "SHA-256" : "git hash",
             got, want);
    return VERIFY_BAD;
}

static int check(void *ctx, const char *path, const char *name, const struct stat *st)
{
    struct verify *v = ctx;
    char why[256] = "";
    struct verify_file f = { .name = name, .size = st ? st->st_size : 0, .why = why };
    if (st && S_ISREG(st->st_mode))
        f.state = compare(why, v->dir, path, name);
    else {
        f.state = VERIFY_BAD;
        snprintf(why, sizeof why, st ? "not a regular file" : "its blob is missing");
    }
    return v->fn(v->ctx, &f);
}

/* Headers, index and shards: what a stage would say. */
static int check_whole(const struct verify *v)
{
    struct tensor t;
    struct store *s = store_open(v->dir);
    int opened = s ? store_find(&t, s, "") : -1;
    store_close(s);
    if (opened >= 0)
        return 0;
    struct verify_file f = { .name = ".", .state = VERIFY_BAD, .why = err_msg() };
    return v->fn(v->ctx, &f);
}

int verify_each(const char *dir, verify_fn *fn, void *ctx)
{
    struct verify v = { dir, fn, ctx };
    int rc = walk(dir, "", DEPTH, check, &v);
    return rc ? rc : check_whole(&v);
}
