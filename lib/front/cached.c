/* cached.c - see cached.h. */
#include "front/cached.h"

#include "base/err.h"
#include "cli/die.h"
#include "cli/env.h"
#include "nn/nn.h"
#include "stage/cachedir.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FORMAT                                                                                 \
    2 /* raised when results or entries change within a version: older ones are misses */

bool cached_dir(char *dir, size_t n)
{
    const char *v;
    int len = -1;
    if ((v = env_get("VQA_CACHE")))
        len = snprintf(dir, n, "%s", v);
    else if ((v = env_get("XDG_CACHE_HOME")))
        len = snprintf(dir, n, "%s/vqa", v);
    else if ((v = env_get("HOME")))
        len = snprintf(dir, n, "%s/.cache/vqa", v);
    return len >= 0 && (size_t)len < n;
}

int cached_max(uint64_t *max)
{
    const char *v = env_get("VQA_CACHE_MAX");
    *max = 0;
    if (v && !opt_size(max, v))
        return err_set(ERR_USAGE, "VQA_CACHE_MAX: '%s', expected a size as 500M or 20G", v);
    return 0;
}

/* The directory to write to, into c->dir; NULL if there is none or it must not be used. */
static const char *find_dir(struct cached *c, const struct cached_args *a)
{
    if (!a->dir)
        return NULL;
    if (!*a->dir && !cached_dir(c->dir, sizeof c->dir)) {
        cli_warn("no place for a cache: set VQA_CACHE or HOME, or give --cache=DIR");
        return NULL;
    }
    if (*a->dir && (size_t)snprintf(c->dir, sizeof c->dir, "%s", a->dir) >= sizeof c->dir)
        return NULL;
    return c->dir;
}

/* A directory whose entries cannot be trusted is not read either. */
static const char *trusted(const char *dir)
{
    if (!dir || cachedir_check(dir) == 0)
        return dir;
    cli_warn("cache: %s; going on without it", err_msg());
    err_clear();
    return NULL;
}

static const char *memo_dir(char path[CACHEDIR_PATH], const char *dir)
{
    int n = dir ? snprintf(path, CACHEDIR_PATH, "%s/models", dir) : -1;
    return n > 0 && n < CACHEDIR_PATH ? path : NULL;
}

/* The digest of the part of the checkpoint that is read. The cache is made now, if it can
 * be, for it to be remembered in. */
static int digest_model(char hex[SHA256_HEX], const struct cached_stage *s, const char *dir,
                        const char *ro)
{
    char a[CACHEDIR_PATH], b[CACHEDIR_PATH];
    const struct identity_memo memo = { memo_dir(a, dir), memo_dir(b, ro) };
    if (dir && cachedir_make(dir) < 0)
        err_clear(); /* said when an entry cannot be written */
    return identity_digest_part(hex, s->store, &s->part, &memo);
}

/* The instruction set, the C library, whose exp() and erf() differ in last bits, and what the
 * weights were made. */
static int write_numerics(struct buf *out, enum quant_scheme weights)
{
    char libc[64] = "", kernels[NN_KERNELS];
    nn_kernels(kernels, env_cpu());
    confstr(_CS_GNU_LIBC_VERSION, libc, sizeof libc);
    return buf_printf(out, "numerics %.*s, %s%s%s\n", (int)strcspn(kernels, " "), kernels, libc,
                      weights ? ", weights " : "", weights ? quant_words[weights] : "");
}

static int write_context(struct cached *c, const struct cached_stage *s, const char *digest)
{
    if (buf_printf(&c->context, "program %s\nversion %s, entries %d\nmodel %s\n", s->program,
                   VQA_VERSION, FORMAT, digest) < 0 ||
        write_numerics(&c->context, store_made(s->store)) < 0 ||
        buf_puts(&c->context, s->facts) < 0 ||
        buf_printf(&c->note, "directory %s\n", store_dir(s->store)) < 0)
        return -1;
    return buf_str(&c->context) && buf_str(&c->note) ? 0 : -1;
}

int cached_open(struct cached *c, const struct cached_args *a, const struct cached_stage *s)
{
    uint64_t max = a->max;
    char digest[SHA256_HEX];
    if (a->max && !a->dir && !a->off)
        return err_set(ERR_USAGE, "--cache-max: expected --cache with it");
    if (!cached_asked(a))
        return 0;
    if (max == 0 && cached_max(&max) < 0)
        return -1;
    const char *dir = trusted(find_dir(c, a)), *ro = trusted(a->ro);
    c->usable = (struct cached_args){ .dir = dir, .ro = ro, .max = max };
    if (!dir && !ro)
        return 0;
    if (digest_model(digest, s, dir, ro) < 0 || write_context(c, s, digest) < 0)
        return -1;
    c->cache = cache_open(&(struct cache_config){ .dir = dir,
                                                  .ro = ro,
                                                  .max = max,
                                                  .context = (const char *)c->context.data,
                                                  .note = (const char *)c->note.data,
                                                  .program = s->program,
                                                  .model = s->fingerprint,
                                                  .say = cli_warn });
    return c->cache ? 0 : -1;
}

void cached_close(struct cached *c)
{
    cache_close(c->cache);
    buf_release(&c->context);
    buf_release(&c->note);
    *c = (struct cached){ 0 };
}

void cached_report(const struct cached *c)
{
    if (c->cache)
        cli_warn("%llu from the cache, %llu computed", (unsigned long long)c->hits,
                 (unsigned long long)c->misses);
}
