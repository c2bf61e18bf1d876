/* golden.h - checkpoints of the fixtures with what transformers makes of them, on every
 * instruction set this processor has. Results are compared by fixtures/README.md's tolerances.
 */
#ifndef LIB_GOLDEN_H
#define LIB_GOLDEN_H

#include "base/arena.h"
#include "base/pool.h"
#include "lib/tap.h"
#include "nn/nn.h"
#include "store/safetensors.h"
#include "store/store.h"

#include <stdbool.h>

struct golden {
    const char *name; /* of the checkpoint */
    struct store *store;
    struct safetensors file; /* golden/NAME/KIND.safetensors */
    struct arena mem;        /* the model's tables and the goldens as f32 */
    struct arena work;       /* nn's */
    struct nn nn;
    const char *isa;
};

static const char *const golden_isas[] = { "ref", "avx2", "avx512" };

/* false after a skip() if a file is absent or the processor lacks isa. */
__attribute__((unused)) static bool golden_open(struct golden *g, const char *name,
                                                const char *kind, const char *isa)
{
    char path[256];
    memset(g, 0, sizeof *g);
    g->name = name;
    g->isa = isa;
    snprintf(path, sizeof path, "golden/%s/%s.safetensors", name, kind);
    const char *found = tap_fixture(path);
    snprintf(path, sizeof path, "checkpoints/%s/config.json", name);
    const char *config = tap_fixture(path);
    if (!found || !config || nn_init(&g->nn, &g->work, NULL, isa) < 0) {
        skip(found && config ? err_msg() : path);
        return false;
    }
    char dir[1024];
    snprintf(dir, sizeof dir, "%.*s", (int)(strlen(config) - strlen("/config.json")), config);
    g->store = store_open(dir);
    if (g->store && safetensors_open(&g->file, found, &g->mem) == 0)
        return true;
    return ok(0, "%s: %s", name, err_msg());
}

__attribute__((unused)) static void golden_close(struct golden *g)
{
    safetensors_close(&g->file);
    store_close(g->store);
    arena_release(&g->mem);
    arena_release(&g->work);
}

/* A tensor as f32 (or as it is, if i64); data NULL if there is none of that name. */
__attribute__((unused, format(printf, 2, 3))) static struct tensor golden_get(struct golden *g,
                                                                              const char *fmt,
                                                                              ...)
{
    char name[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(name, sizeof name, fmt, ap);
    va_end(ap);
    for (size_t i = 0; i < g->file.count; i++) {
        struct tensor t = g->file.entries[i].tensor;
        if (strcmp(g->file.entries[i].name, name))
            continue;
        void *copy = arena_memdup(&g->mem, t.data, tensor_bytes(t)); /* aligned */
        t.data = copy;
        return t;
    }
    return (struct tensor){ 0 };
}

/* The part of the i-th name after prefix, NULL if it has another. */
__attribute__((unused)) static const char *golden_which(const struct golden *g, size_t i,
                                                        const char *prefix)
{
    size_t n = strlen(prefix);
    const char *name = g->file.entries[i].name;
    return strncmp(name, prefix, n) ? NULL : name + n;
}

__attribute__((unused)) static void golden_near(const struct golden *g, struct tensor got,
                                                struct tensor want, const char *what)
{
    char label[256];
    snprintf(label, sizeof label, "%s %s %s", g->name, g->isa, what);
    if (!got.data || !want.data || tensor_count(got) != tensor_count(want)) {
        ok(0, "%s: %s", label, got.data ? "other size" : err_msg());
        return;
    }
    near(got.data, want.data, (long)tensor_count(want), 2e-5, 1e-5, label);
}

/* A watch function's context: hidden states are compared as they come. */
struct golden_watch {
    struct golden *g;
    const char *format; /* of the name, with %d for the layer */
    int seen;
};

__attribute__((unused)) static void golden_watch(void *ctx, int layer, struct tensor hidden)
{
    struct golden_watch *w = ctx;
    char name[256];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(name, sizeof name, w->format, layer);
#pragma GCC diagnostic pop
    struct tensor want = golden_get(w->g, "%s", name);
    if (want.data) {
        golden_near(w->g, hidden, want, name);
        w->seen++;
    }
}

/* The same bits. */
__attribute__((unused)) static bool same_bits(struct tensor a, struct tensor b)
{
    return a.data && b.data && tensor_bytes(a) == tensor_bytes(b) &&
           memcmp(a.data, b.data, tensor_bytes(a)) == 0;
}

#endif
