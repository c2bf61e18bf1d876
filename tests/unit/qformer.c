/* qformer.c - the Q-Former against transformers: queries, text, projections, retrieval. */
#include "model/retrieval.h"

#include "lib/golden.h"

#include <stddef.h>

static struct tensor as_batch(struct tensor t)
{
    return tensor_3d(t.data, t.dtype, 1, t.dim[0], t.dim[1]);
}

/* vision: where image_embeds come from; prefix: their names in it. */
static int compare_images(struct qformer *q, struct golden *g, struct golden *vision,
                          const char *prefix)
{
    int n = 0;
    for (size_t i = 0; i < g->file.count; i++) {
        const char *image = golden_which(g, i, "query_output/");
        struct tensor e = image ? golden_get(vision, "%s%s", prefix, image)
                                : (struct tensor){ 0 };
        if (!e.data)
            continue;
        char format[128];
        snprintf(format, sizeof format, "hidden_states/%%d/%s", image);
        struct golden_watch w = { g, format, 0 };
        struct tensor out = { 0 }, to_lm = { 0 };
        qformer_set_watch(q, golden_watch, &w);
        qformer_forward(&out, q, &g->nn, as_batch(e), NULL, 0);
        golden_near(g, out, golden_get(g, "query_output/%s", image), image);
        if (qformer_has_projection(q)) {
            qformer_project(&to_lm, q, &g->nn, out);
            golden_near(g, to_lm, golden_get(g, "language_model_inputs/%s", image),
                        "language_model_inputs");
        }
        qformer_set_watch(q, NULL, NULL);
        arena_reset(&g->work);
        n++;
    }
    return n;
}

static void test_model(const char *name, const char *isa)
{
    struct golden g, vision;
    if (!golden_open(&g, name, "qformer", isa))
        return;
    if (golden_open(&vision, name, "vision", isa)) {
        struct qformer *q = qformer_open(g.store, &g.mem);
        ok(q && compare_images(q, &g, &vision, "last_hidden_state/") > 0,
           "%s %s: images compared (%s)", name, isa, q ? "" : err_msg());
        golden_close(&vision);
    }
    golden_close(&g);
}

/* Row i of the padded texts, without its padding. */
static int64_t words_of(struct golden *g, int i, const int64_t **ids)
{
    struct tensor t = golden_get(g, "batch/input_ids"),
                  m = golden_get(g, "batch/attention_mask");
    int64_t W = t.dim[1], n = 0;
    for (int64_t j = 0; j < W; j++)
        n += ((const int64_t *)m.data)[i * W + j];
    *ids = (const int64_t *)t.data + i * W;
    return n;
}

static void compare_texts(struct retrieval *r, struct golden *g)
{
    for (int i = 0; i < 12; i++) {
        const int64_t *ids;
        int64_t n = words_of(g, i, &ids);
        struct tensor x = { 0 };
        retrieval_text(&x, r, &g->nn, ids, n);
        golden_near(g, x, golden_get(g, "text_embeds/%d", i), "text_embeds");
    }
}

static void compare_contrast(struct retrieval *r, struct golden *g)
{
    static const char *const images[] = { "astronaut.png", "chelsea.png", "coffee.png" };
    for (int i = 0; i < 3; i++) {
        struct tensor e = golden_get(g, "vision_last_hidden_state/%s", images[i]), x = { 0 };
        retrieval_image(&x, r, &g->nn, as_batch(e));
        golden_near(g, x, golden_get(g, "image_embeds/%s", images[i]), "image_embeds");
    }
}

static void keep_last(void *ctx, int layer, struct tensor hidden)
{
    if (layer == 4)
        memcpy(ctx, hidden.data, tensor_bytes(hidden));
}

/* Queries and text together: the whole last hidden state, by way of the watch. */
static void compare_matching(struct qformer *q, struct golden *g)
{
    struct tensor e = golden_get(g, "vision_last_hidden_state/astronaut.png"), x;
    for (int i = 0; i < 2; i++) {
        struct tensor want = golden_get(g, "itm_last_hidden_state/%d/astronaut.png", i);
        const int64_t *ids;
        int64_t n = words_of(g, i, &ids);
        float *last = arena_calloc(&g->mem, (size_t)tensor_count(want), sizeof *last);
        qformer_set_watch(q, keep_last, last);
        int rc = n + qformer_queries(q) == want.dim[0]
                     ? qformer_forward(&x, q, &g->nn, as_batch(e), ids, n)
                     : -1;
        qformer_set_watch(q, NULL, NULL);
        golden_near(g, rc == 0 ? tensor_1d(last, DT_F32, tensor_count(want)) : x, want,
                    "itm_last_hidden_state");
        ok(rc == 0 && !memcmp(x.data, last, tensor_bytes(x)), "its first rows are the result");
    }
}

static void test_retrieval(const char *isa)
{
    struct golden g;
    if (!golden_open(&g, "tiny-blip2-itm", "itm", isa))
        return;
    struct retrieval *r = retrieval_open(g.store, &g.mem);
    struct qformer *q = qformer_open(g.store, &g.mem);
    if (ok(q && r, "retrieval checkpoint opens (%s)", err_msg())) {
        ok(compare_images(q, &g, &g, "vision_last_hidden_state/") == 4, "4 images compared");
        compare_contrast(r, &g);
        compare_texts(r, &g);
        compare_matching(q, &g);
        struct tensor x;
        const int64_t bad[] = { 101, 30523 }, long_text[65] = { 0 };
        fails(qformer_text(&x, q, &g.nn, bad, 2), ERR_DATA,
              "id 30523 at 1, expected 0 to 30522");
        fails(qformer_text(&x, q, &g.nn, long_text, 65), ERR_DATA, "65 word pieces");
        fails(qformer_project(&x, q, &g.nn, (struct tensor){ 0 }), ERR_CONFIG, "no projection");
    }
    golden_close(&g);
}

static struct tensor twice(struct golden *g, struct tensor a, struct tensor b)
{
    char *p = arena_alloc(&g->mem, 2 * tensor_bytes(a));
    memcpy(p, a.data, tensor_bytes(a));
    memcpy(p + tensor_bytes(a), b.data, tensor_bytes(b));
    return tensor_3d(p, DT_F32, 2, a.dim[0], a.dim[1]);
}

/* A batch, text with it or not, on any number of threads: the bits of one by one. */
static void test_bits(const char *isa)
{
    struct golden g;
    if (!golden_open(&g, "tiny-blip2-itm", "itm", isa))
        return;
    struct qformer *q = qformer_open(g.store, &g.mem);
    struct tensor a = golden_get(&g, "vision_last_hidden_state/astronaut.png");
    struct tensor b = golden_get(&g, "vision_last_hidden_state/rocket.png");
    struct tensor both = twice(&g, a, b), xa, xb, got;
    const int64_t ids[] = { 101, 2003, 2009, 102 };
    for (int n = 0; n <= 4; n += 4) {
        qformer_forward(&xa, q, &g.nn, as_batch(a), ids, n);
        qformer_forward(&xb, q, &g.nn, as_batch(b), ids, n);
        for (int threads = 1; threads <= 3; threads++) {
            g.nn.pool = pool_new(threads);
            int rc = qformer_forward(&got, q, &g.nn, both, ids, n);
            pool_free(g.nn.pool);
            g.nn.pool = NULL;
            size_t half = tensor_bytes(xa);
            ok(rc == 0 && !memcmp(got.data, xa.data, half) &&
                   !memcmp((char *)got.data + half, xb.data, half),
               "%s: 2 images, %d words, %d threads: the same bits", isa, n, threads);
        }
    }
    golden_close(&g);
}

static void test_faults(void)
{
    struct golden g;
    struct tensor x;
    float e[40] = { 0 };
    if (golden_open(&g, "tiny-blip2-opt-old", "qformer", "ref")) {
        struct qformer *q = qformer_open(g.store, &g.mem);
        const int64_t ids[] = { 1 };
        ok(qformer_queries(q) == 6 && qformer_hidden_size(q) == 36 &&
               qformer_encoder_size(q) == 40 && !qformer_reads_text(q),
           "sizes of the old checkpoint");
        fails(qformer_forward(&x, q, &g.nn, tensor_3d(e, DT_F32, 1, 1, 39), NULL, 0), ERR_DATA,
              "image_embeds: f32 (1, 1, 39), expected f32 (B, S, 40)");
        fails(qformer_forward(&x, q, &g.nn, tensor_3d(e, DT_F32, 1, 1, 40), ids, 1), ERR_CONFIG,
              "reads no text");
        golden_close(&g);
    }
    if (golden_open(&g, "tiny-opt-350m-style", "opt", "ref")) {
        fails(qformer_open(g.store, &g.mem) ? 0 : -1, ERR_CONFIG, "has no Q-Former");
        golden_close(&g);
    }
}

int main(void)
{
    for (int i = 0; i < 3; i++) {
        const char *isa = golden_isas[i];
        test_model("tiny-blip2-opt", isa);
        test_model("tiny-blip2-opt-old", isa);
        test_model("tiny-blip2-opt-fp16-sharded", isa);
        test_model("tiny-blip2-opt-bf16", isa);
        test_model("tiny-blip2-opt-postnorm", isa);
        test_retrieval(isa);
        test_bits(isa);
    }
    test_faults();
    return tap_done();
}
