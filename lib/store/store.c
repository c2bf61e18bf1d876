/* store.c - see store.h. */
#include "store/store.h"

#include "base/err.h"
#include "base/io.h"
#include "store/json.h"
#include "store/lavis.h"
#include "store/open.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONFIG_MAX   ((size_t)4 << 20)
#define CONFIG_DEPTH 32

static int read_config(struct store *s)
{
    char path[4096];
    int n = snprintf(path, sizeof path, "%s/config.json", s->dir);
    if (n < 0 || (size_t)n >= sizeof path)
        return err_set(ERR_NOINPUT, "%s: name too long", s->dir);
    if (io_read_file(&s->config_text, path, CONFIG_MAX) < 0)
        return -1;
    s->config = store_json_parse(s->config_text.data, s->config_text.len, CONFIG_DEPTH);
    return s->config ? 0 : err_wrap("%s", path);
}

struct store *store_open(const char *dir)
{
    if (!io_is_dir(dir))
        return err_null(ERR_NOINPUT, "%s: no such model directory", dir);
    struct store *s = calloc(1, sizeof *s);
    if (!s || !(s->dir = strdup(dir))) {
        free(s);
        return err_null(ERR_OS, "out of memory opening %s", dir);
    }
    if (read_config(s) == 0)
        return s;
    store_close(s);
    return NULL;
}

void store_close(struct store *s)
{
    if (!s)
        return;
    weights_close(s->weights);
    free(s->even.factor);
    json_decref(s->config);
    buf_release(&s->config_text);
    free(s->dir);
    free(s);
}

const char *store_dir(const struct store *s)
{
    return s->dir;
}

void store_quantize(struct store *s, struct quant q, struct pool *pool, store_progress *told,
                    void *ctx)
{
    s->quant = q;
    s->pool = pool;
    s->told = told;
    s->told_ctx = ctx;
}

enum quant_scheme store_made(const struct store *s)
{
    return s->quant.scheme;
}

const struct weights *store_weights(struct store *s)
{
    if (!s->weights && store_check_quantization(s) == 0)
        s->weights = weights_open(s->dir);
    return s->weights;
}

const struct safetensors_entry *store_entry(const struct weights *w, const char *name)
{
    char other[256];
    const struct safetensors_entry *e = weights_find(w, name);
    return e || !lavis_name(other, sizeof other, name) ? e : weights_find(w, other);
}

void store_on_bind(struct store *s, store_bind_fn *fn, void *ctx)
{
    s->on_bind = fn;
    s->on_bind_ctx = ctx;
}

int store_find(struct tensor *t, struct store *s, const char *name)
{
    const struct weights *w = store_weights(s);
    if (!w)
        return -1;
    const struct safetensors_entry *e = store_entry(w, name);
    if (!e)
        return 0;
    return safetensors_tensor(t, e) < 0 ? -1 : 1;
}

int store_each(struct store *s, store_each_fn *fn, void *ctx)
{
    const struct weights *w = store_weights(s);
    const struct safetensors_entry *e;
    int rc = w ? 0 : -1;
    for (size_t i = 0; rc == 0 && (e = weights_at(w, i)); i++) {
        struct tensor t;
        rc = safetensors_tensor(&t, e) < 0 ? -1 : fn(ctx, e->name, t);
        weights_forget(w);
    }
    return rc;
}

const char *store_fingerprint(struct store *s)
{
    if (*s->fingerprint)
        return s->fingerprint;
    const struct weights *w = store_weights(s);
    struct sha256 *h = w ? sha256_new() : NULL;
    if (!h)
        return NULL;
    unsigned char digest[SHA256_BYTES];
    char line[64];
    snprintf(line, sizeof line, "config.json %zu\n", s->config_text.len);
    sha256_update(h, line, strlen(line));
    sha256_update(h, s->config_text.data, s->config_text.len);
    weights_digest(h, w);
    if (s->quant.scheme) {
        snprintf(line, sizeof line, "weights %s\n", quant_words[s->quant.scheme]);
        sha256_update(h, line, strlen(line));
    }
    if (sha256_peek(h, digest) == 0)
        sha256_hex(s->fingerprint, digest);
    sha256_free(h);
    return *s->fingerprint ? s->fingerprint : NULL;
}
