/* opt.c - the language model against transformers, and its cache against itself. */
#include "model/opt.h"

#include "lib/golden.h"

#include <stdint.h>

/* Reads n rows of x as sequence seq; the logits of all rows, or of the last. */
static struct tensor read_rows(const struct opt_lm *m, struct golden *g, struct opt_cache *c,
                               int seq, struct tensor x, bool all)
{
    struct tensor logits = { 0 };
    struct opt_span span = { seq, x.dim[0] };
    err_clear();
    if (opt_forward(&logits, m, &g->nn, c, &span, 1, x, all) < 0)
        return (struct tensor){ 0 };
    return logits;
}

static struct tensor rows(struct tensor x, int64_t from, int64_t n)
{
    return tensor_2d((float *)x.data + from * x.dim[1], DT_F32, n, x.dim[1]);
}

/* What the goldens were fed: embeddings with image rows, or ids. */
static struct tensor input(const struct opt_lm *m, struct golden *g)
{
    struct tensor x = golden_get(g, "inputs_embeds"), ids = golden_get(g, "input_ids");
    if (!x.data)
        opt_embed(&x, m, &g->nn, ids.data, ids.dim[0]);
    return x;
}

/* transformers' last hidden state is the one after the final norm: our layers + 1. */
static void watch(void *ctx, int layer, struct tensor hidden)
{
    struct golden_watch *w = ctx;
    int layers = w->seen;
    if (layer == layers)
        return;
    struct tensor want = golden_get(w->g, "hidden_states/%d", layer > layers ? layers : layer);
    golden_near(w->g, hidden, want, "hidden_states");
}

static void compare_prefill(struct opt_lm *m, struct golden *g)
{
    struct tensor x = input(m, g), all = golden_get(g, "logits");
    struct opt_cache *c = opt_cache_new(m, 1, (int)x.dim[0]);
    struct golden_watch w = { g, "", opt_info(m).layers };
    opt_set_watch(m, watch, &w);
    struct tensor got = read_rows(m, g, c, 0, x, all.data != NULL);
    opt_set_watch(m, NULL, NULL);
    golden_near(g, got, all.data ? all : golden_get(g, "logits_last"), "logits");
    opt_cache_free(c);
}

/* Image rows, then bos: what generate() starts from without a prompt. */
static void compare_first_step(struct opt_lm *m, struct golden *g, struct golden *q)
{
    struct tensor want = golden_get(g, "first_step_logits/astronaut.png|");
    struct tensor image = golden_get(q, "language_model_inputs/astronaut.png"), bos;
    if (!want.data || !image.data)
        return;
    int64_t id = opt_info(m).bos;
    opt_embed(&bos, m, &g->nn, &id, 1);
    struct opt_cache *c = opt_cache_new(m, 1, (int)image.dim[0] + 1);
    read_rows(m, g, c, 0, image, false);
    golden_near(g, read_rows(m, g, c, 0, bos, false), want, "first_step_logits");
    opt_cache_free(c);
}

static void test_model(const char *name, const char *isa)
{
    struct golden g, q;
    if (!golden_open(&g, name, "opt", isa))
        return;
    struct opt_lm *m = opt_open(g.store, &g.mem);
    if (ok(m != NULL, "%s %s opens (%s)", name, isa, m ? "" : err_msg())) {
        compare_prefill(m, &g);
        char path[128];
        snprintf(path, sizeof path, "golden/%s/qformer.safetensors", name);
        if (tap_fixture(path) && golden_open(&q, name, "qformer", isa)) {
            compare_first_step(m, &g, &q);
            golden_close(&q);
        }
    }
    golden_close(&g);
}

/* A row's bits do not depend on which rows are read with it. */
static void compare_steps(struct opt_lm *m, struct golden *g, const char *isa)
{
    struct tensor x = input(m, g);
    int n = (int)x.dim[0];
    struct opt_cache *c = opt_cache_new(m, 3, n);
    struct tensor whole = read_rows(m, g, c, 0, x, true), step = { 0 };
    for (int t = 0; t < n; t++)
        step = read_rows(m, g, c, 1, rows(x, t, 1), false);
    ok(same_bits(rows(whole, n - 1, 1), step), "%s: token by token, the bits of one prefill",
       isa);
    read_rows(m, g, c, 2, rows(x, 0, n - 3), false);
    ok(same_bits(rows(whole, n - 3, 3), read_rows(m, g, c, 2, rows(x, n - 3, 3), true)),
       "%s: a prefill in two pieces, too", isa);
    struct tensor more;
    struct opt_span span = { 0, 1 };
    fails(opt_forward(&more, m, &g->nn, c, &span, 1, rows(x, 0, 1), false), ERR_DATA,
          "positions, expected at most");
    ok(opt_cache_length(c, 0) == n, "a refused span leaves the cache as it was");
    opt_cache_free(c);
}

/* Three sequences of different lengths and pasts in one call. */
static void compare_spans(struct opt_lm *m, struct golden *g, const char *isa, int threads)
{
    struct tensor x = input(m, g), alone[3], together = { 0 };
    int64_t E = x.dim[1];
    const struct opt_span spans[] = { { 2, 3 }, { 0, 1 }, { 1, 2 } };
    struct opt_cache *c = opt_cache_new(m, 3, 32), *d = opt_cache_new(m, 3, 32);
    for (int s = 0; s < 3; s++) {
        read_rows(m, g, c, s, rows(x, 0, 1 + s), false);
        read_rows(m, g, d, s, rows(x, 0, 1 + s), false);
    }
    float *joined = arena_calloc(&g->mem, (size_t)(6 * E), sizeof *joined), *p = joined;
    for (int i = 0; i < 3; i++) {
        struct tensor part = rows(x, i, spans[i].n);
        memcpy(p, part.data, tensor_bytes(part));
        p += spans[i].n * E;
        alone[i] = read_rows(m, g, d, spans[i].seq, part, false);
    }
    g->nn.pool = pool_new(threads);
    opt_forward(&together, m, &g->nn, c, spans, 3, tensor_2d(joined, DT_F32, 6, E), false);
    pool_free(g->nn.pool);
    g->nn.pool = NULL;
    int same = together.data != NULL;
    for (int i = 0; same && i < 3; i++)
        same = same_bits(rows(together, i, 1), alone[i]);
    ok(same, "%s: three spans on %d threads have the bits of one by one", isa, threads);
    opt_cache_free(c);
    opt_cache_free(d);
}

/* Beams: after any reorder each sequence goes on as the parent it became. */
static void compare_reorder(struct opt_lm *m, struct golden *g, const char *isa)
{
    static const int parents[][4] = {
        { 0, 1, 2, 3 }, { 3, 2, 1, 0 }, { 0, 0, 0, 0 }, { 1, 1, 3, 0 }, { 2, 2, 3, 3 }
    };
    struct tensor x = input(m, g);
    for (int k = 0; k < 5; k++) {
        struct opt_cache *c = opt_cache_new(m, 5, 32);
        struct tensor want[4];
        int same = 1;
        for (int s = 0; s < 4; s++) {
            read_rows(m, g, c, 1 + s, rows(x, s, 2 + s % 2), false);
            want[s] = read_rows(m, g, c, 1 + s, rows(x, 0, 1), false);
            opt_cache_truncate(c, 1 + s, 2 + s % 2);
        }
        opt_cache_reorder(c, 1, parents[k], 4);
        for (int s = 0; s < 4; s++)
            same &= same_bits(read_rows(m, g, c, 1 + s, rows(x, 0, 1), false),
                              want[parents[k][s]]);
        opt_cache_copy(c, 0, 4, 2);
        opt_cache_truncate(c, 4, 2);
        same &= same_bits(read_rows(m, g, c, 0, rows(x, 0, 1), false),
                          read_rows(m, g, c, 4, rows(x, 0, 1), false));
        ok(same, "%s: reorder %d and a copy", isa, k);
        opt_cache_free(c);
    }
}

static void test_cache(const char *name, const char *isa)
{
    struct golden g;
    if (!golden_open(&g, name, "opt", isa))
        return;
    struct opt_lm *m = opt_open(g.store, &g.mem);
    compare_steps(m, &g, isa);
    for (int threads = 1; threads <= 3; threads++)
        compare_spans(m, &g, isa, threads);
    compare_reorder(m, &g, isa);
    golden_close(&g);
}

static void test_faults(void)
{
    struct golden g;
    struct tensor x;
    if (golden_open(&g, "tiny-blip2-opt-old", "opt", "ref")) {
        struct opt_lm *m = opt_open(g.store, &g.mem);
        struct opt_info i = opt_info(m);
        ok(i.hidden_size == 72 && i.vocab_size == 608 && i.eos == 202 && i.bos == 2 &&
               i.image_token == -1 && i.num_query_tokens == 6 && i.max_positions == 128,
           "sizes and ids of the old checkpoint");
        const int64_t ids[] = { 2, 608 };
        fails(opt_embed(&x, m, &g.nn, ids, 2), ERR_DATA, "id 608 at 1, expected 0 to 607");
        golden_close(&g);
    }
    if (golden_open(&g, "tiny-clip-vit", "vision", "ref")) {
        fails(opt_open(g.store, &g.mem) ? 0 : -1, ERR_CONFIG,
              "CLIPVisionModel has no language model");
        golden_close(&g);
    }
    if (golden_open(&g, "tiny-blip2-itm", "itm", "ref")) {
        fails(opt_open(g.store, &g.mem) ? 0 : -1, ERR_CONFIG, "has no language model");
        golden_close(&g);
    }
}

int main(void)
{
    static const char *const models[] = {
        "tiny-blip2-opt",      "tiny-blip2-opt-old",      "tiny-blip2-opt-fp16-sharded",
        "tiny-blip2-opt-bf16", "tiny-blip2-opt-postnorm", "tiny-opt-350m-style"
    };
    for (int i = 0; i < 3; i++) {
        for (int k = 0; k < 6; k++)
            test_model(models[k], golden_isas[i]);
        test_cache("tiny-blip2-opt-fp16-sharded", golden_isas[i]);
        test_cache("tiny-opt-350m-style", golden_isas[i]);
    }
    test_faults();
    return tap_done();
}
