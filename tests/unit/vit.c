/* vit.c - the image encoders against transformers: every golden tensor, sizes, batches. */
#include "model/vit.h"

#include "lib/golden.h"

static struct tensor one_image(struct tensor p)
{
    struct tensor t = { p.data, DT_F32, 4, { 1, p.dim[0], p.dim[1], p.dim[2] } };
    return t;
}

static struct tensor forward(struct vit *v, struct golden *g, struct tensor pixels,
                             bool interpolate)
{
    struct tensor x = { 0 };
    if (!pixels.data)
        return x;
    err_clear();
    if (vit_forward(&x, v, &g->nn, one_image(pixels), interpolate) < 0)
        return (struct tensor){ 0 };
    return x;
}

/* pixel_values lie with the goldens of the model, or of the preprocessing. */
static struct tensor pixels_of(struct golden *g, struct golden *more, const char *image)
{
    struct tensor p = golden_get(g, "pixel_values/%s", image);
    return p.data || !more->store ? p : golden_get(more, "pixel_values/%s", image);
}

static int compare_images(struct vit *v, struct golden *g, struct golden *more,
                          const char *prefix)
{
    int n = 0;
    for (size_t i = 0; i < g->file.count; i++) {
        const char *image = golden_which(g, i, prefix);
        struct tensor p = image ? pixels_of(g, more, image) : (struct tensor){ 0 };
        if (!p.data)
            continue;
        struct golden_watch w = { g, "hidden_states/%d/", 0 };
        char format[128];
        snprintf(format, sizeof format, "hidden_states/%%d/%s", image);
        w.format = format;
        vit_set_watch(v, golden_watch, &w);
        golden_near(g, forward(v, g, p, false), golden_get(g, "%s%s", prefix, image), image);
        vit_set_watch(v, NULL, NULL);
        arena_reset(&g->work);
        n++;
    }
    return n;
}

static void test_model(const char *name, const char *kind, const char *prefix, const char *isa)
{
    struct golden g, more = { 0 };
    if (!golden_open(&g, name, kind, isa))
        return;
    char path[128];
    snprintf(path, sizeof path, "golden/%s/preprocess.safetensors", name);
    if (tap_fixture(path))
        golden_open(&more, name, "preprocess", isa);
    struct vit *v = vit_open(g.store, &g.mem);
    ok(v && compare_images(v, &g, &more, prefix) > 0, "%s %s: images compared (%s)", name, isa,
       v ? "" : err_msg());
    struct tensor big = golden_get(&g, "interpolated/pixel_values/astronaut.png");
    if (v && big.data) {
        golden_near(&g, forward(v, &g, big, true),
                    golden_get(&g, "interpolated/last_hidden_state/astronaut.png"),
                    "interpolated");
        struct tensor x;
        fails(vit_forward(&x, v, &g.nn, one_image(big), false), ERR_DATA,
              "pixel_values: (1, 3, 84, 126), expected (B, 3, 56, 56)");
    }
    golden_close(&g);
    if (more.store)
        golden_close(&more);
}

/* The same weights under the names that transformers 5 gives them. */
static void test_new_names(void)
{
    struct golden g;
    if (!golden_open(&g, "tiny-clip-vit", "vision", NULL))
        return;
    g.isa = "best";
    struct tensor want = forward(vit_open(g.store, &g.mem), &g,
                                 golden_get(&g, "pixel_values/coffee.png"), false);
    char dir[1024];
    snprintf(dir, sizeof dir, "%s-v5names", store_dir(g.store));
    struct store *st = store_open(dir);
    struct vit *v = st ? vit_open(st, &g.mem) : NULL;
    if (!v)
        skip("tiny-clip-vit-v5names");
    else
        ok(same_bits(forward(v, &g, golden_get(&g, "pixel_values/coffee.png"), false), want),
           "tiny-clip-vit-v5names gives the same bits");
    store_close(st);
    golden_close(&g);
}

/* Several images at once and several threads: the same bits as one by one with one. */
static void test_bits(const char *isa)
{
    struct golden g, p;
    if (!golden_open(&g, "tiny-blip2-opt-old", "vision", isa) ||
        !golden_open(&p, "tiny-blip2-opt-old", "preprocess", isa))
        return;
    struct vit *v = vit_open(g.store, &g.mem);
    struct tensor a = golden_get(&p, "pixel_values/astronaut.png");
    struct tensor b = golden_get(&p, "pixel_values/coffee.png");
    size_t n = (size_t)tensor_count(a);
    float *both = arena_alloc(&g.mem, 3 * n * sizeof *both);
    memcpy(both, a.data, n * sizeof *both);
    memcpy(both + n, b.data, n * sizeof *both);
    memcpy(both + 2 * n, a.data, n * sizeof *both);
    struct tensor batch = { both, DT_F32, 4, { 3, 3, a.dim[1], a.dim[2] } }, got;
    struct tensor xa = forward(v, &g, a, false), xb = forward(v, &g, b, false);
    for (int threads = 1; threads <= 5; threads += 2) {
        g.nn.pool = pool_new(threads);
        int rc = vit_forward(&got, v, &g.nn, batch, false);
        size_t row = tensor_bytes(xa);
        ok(rc == 0 && !memcmp(got.data, xa.data, row) &&
               !memcmp((char *)got.data + row, xb.data, row) &&
               !memcmp((char *)got.data + 2 * row, xa.data, row),
           "%s: a batch of 3 on %d threads has the bits of one by one", isa, threads);
        pool_free(g.nn.pool);
    }
    golden_close(&g);
    golden_close(&p);
}

/* From the second image on, one piece of memory serves every forward pass. */
static void test_steady(void)
{
    struct golden g, p;
    if (!golden_open(&g, "tiny-blip2-opt-old", "vision", NULL) ||
        !golden_open(&p, "tiny-blip2-opt-old", "preprocess", NULL))
        return;
    struct vit *v = vit_open(g.store, &g.mem);
    struct tensor pixels = golden_get(&p, "pixel_values/coffee.png");
    struct arena_chunk *seen[4];
    for (int i = 0; i < 4; i++) {
        arena_reset(&g.work);
        forward(v, &g, pixels, false);
        seen[i] = g.work.chunk;
    }
    ok(seen[1] && seen[1] == seen[2] && seen[2] == seen[3], "a steady loop allocates nothing");
    golden_close(&g);
    golden_close(&p);
}

static void test_faults(void)
{
    struct golden g;
    struct tensor x;
    if (golden_open(&g, "tiny-blip2-opt-old", "vision", "ref")) {
        struct vit *v = vit_open(g.store, &g.mem);
        ok(vit_image_size(v) == 56 && vit_patch_size(v) == 14 && vit_hidden_size(v) == 40,
           "sizes of the old checkpoint, defaults filled in");
        struct tensor flat = tensor_3d(&g, DT_F32, 3, 56, 56);
        ok(vit_together(v, 56, 56) > 100 && vit_together(v, 14 << 10, 14 << 10) == 1,
           "many small images go together, of large ones one at a time");
        fails(vit_forward(&x, v, &g.nn, flat, false), ERR_DATA, "expected f32 (B, 3, 56, 56)");
        golden_close(&g);
    }
    if (golden_open(&g, "tiny-opt-350m-style", "opt", "ref")) {
        fails(vit_open(g.store, &g.mem) ? 0 : -1, ERR_CONFIG,
              "OPTForCausalLM has no vision model");
        golden_close(&g);
    }
}

int main(void)
{
    for (int i = 0; i < 3; i++) {
        const char *isa = golden_isas[i];
        test_model("tiny-blip2-opt", "vision", "last_hidden_state/", isa);
        test_model("tiny-blip2-opt-old", "vision", "last_hidden_state/", isa);
        test_model("tiny-blip2-opt-fp16-sharded", "vision", "last_hidden_state/", isa);
        test_model("tiny-blip2-opt-bf16", "vision", "last_hidden_state/", isa);
        test_model("tiny-blip2-opt-postnorm", "vision", "last_hidden_state/", isa);
        test_model("tiny-clip-vit", "vision", "last_hidden_state/", isa);
        test_model("tiny-blip2-itm", "itm", "vision_last_hidden_state/", isa);
        test_bits(isa);
    }
    test_new_names();
    test_steady();
    test_faults();
    return tap_done();
}
