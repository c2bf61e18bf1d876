/* encode.c - see encode.h. */
#include "front/encode.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "base/math.h"
#include "cli/die.h"
#include "cli/env.h"
#include "front/known.h"
#include "front/model.h"
#include "nn/maps.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_BYTES ((size_t)1 << 28) /* of one encoded image */
#define SIDE_MOST  4096
#define MAPS_MOST  ((size_t)60 << 20) /* of attention in one record */
#define JOBS_MOST  8                  /* threads that decode, unless -j says otherwise */

/* A record's pixels, or why it has none; or its result, from the cache. */
struct encode_item {
    struct tensor pixels;    /* (3, H, W) f32 in the record's memory */
    struct err_saved failed; /* ERR_NONE: it has pixels or a result */
    bool keyed, hit;
    struct cache_key key;
    enum known known;             /* with --inputs */
    struct tensor embeds, inputs; /* of a hit, one of them, in entry's memory */
    struct record entry;
};

/* ---- opening ---- */

/* "N" or "HxW" */
static int parse_size(int *h, int *w, const char *s)
{
    char *end;
    long a = strtol(s, &end, 10), b = a;
    if (end != s && *end == 'x')
        b = strtol(end + 1, &end, 10);
    if (*end || a < 1 || b < 1 || a > SIDE_MOST || b > SIDE_MOST)
        return err_set(ERR_USAGE, "--image-size: '%s', expected N or HxW, each from 1 to %d", s,
                       SIDE_MOST);
    *h = (int)a;
    *w = (int)b;
    return 0;
}

static int open_processor(struct encode *e, const char *dir)
{
    struct image_processor *p = &e->processor;
    p->resize = (enum image_resize)e->a.resize;
    if (image_processor_read(p, dir) < 0)
        return -1;
    if (!e->a.image_size)
        return 0;
    p->shortest_edge = 0;
    p->do_resize = true;
    return parse_size(&p->height, &p->width, e->a.image_size);
}

/* The checkpoint's preprocessing gives what its encoder takes. */
static int check_size(const struct encode *e)
{
    int h = e->processor.height, w = e->processor.width, side = vit_image_size(e->vit),
        patch = vit_patch_size(e->vit);
    enum err_kind kind = e->a.image_size ? ERR_USAGE : ERR_CONFIG;
    if (h % patch || w % patch)
        return err_set(kind, "images of %d x %d, expected multiples of the patch size %d", h, w,
                       patch);
    if (!e->a.interpolate && (h != side || w != side))
        return err_set(kind,
                       "images of %d x %d, but the encoder's positions are for %d x %d; "
                       "--interpolate resizes them",
                       h, w, side, side);
    return 0;
}

/* --pixels needs no weights, not even a config.json. */
static int open_pixels(struct encode *e)
{
    char dir[PATH_MAX];
    if (front_model(dir, sizeof dir, e->a.m.model) < 0 || open_processor(e, dir) < 0)
        return -1;
    e->compute.pool = pool_new(env_threads(e->a.m.threads));
    return e->compute.pool ? 0 : -1;
}

/* Everything besides the model and the input that image_embeds depend on. */
static int write_facts(struct buf *out, const struct encode *e)
{
    const struct image_processor *p = &e->processor;
    char libraries[128];
    if (buf_printf(out, "pixels %d x %d, edge %d, resize %d by %s, rescale %d by %.17g\n",
                   p->height, p->width, p->shortest_edge, p->do_resize,
                   p->resize == IMAGE_RESIZE_PILLOW ? "pillow" : "torchvision", p->do_rescale,
                   p->rescale_factor) < 0 ||
        buf_printf(out, "normalize %d by %.17g %.17g %.17g / %.17g %.17g %.17g\n",
                   p->do_normalize, p->mean[0], p->mean[1], p->mean[2], p->std[0], p->std[1],
                   p->std[2]) < 0 ||
        buf_printf(out, "decoders %s, alpha %d, exif %d, at most %lld pixels\n",
                   image_libraries(libraries, sizeof libraries), e->a.alpha, !e->a.no_exif,
                   (long long)e->a.max_pixels) < 0 ||
        buf_printf(out, "gives image_embeds %s, interpolate %d\n",
                   e->a.dtype == ENCODE_F16 ? "f16" : "f32", e->a.interpolate) < 0 ||
        (e->a.no_post_layernorm && buf_puts(out, "before post_layernorm\n") < 0))
        return -1;
    return buf_str(out) ? 0 : -1;
}

static int open_cache(struct encode *e, const char *fingerprint)
{
    struct buf facts = { 0 };
    int rc = write_facts(&facts, e);
    if (rc == 0)
        rc = cached_open(
            &e->cached, &e->a.cache,
            &(struct cached_stage){ .program = "img-encode",
                                    .store = e->compute.store,
                                    .part = { "vision_config", { "vision_model." } },
                                    .fingerprint = fingerprint,
                                    .facts = (const char *)facts.data });
    buf_release(&facts);
    if (rc == 0 && e->a.inputs && e->cached.cache)
        rc = known_open(&e->queries, &e->cached.usable, e->compute.store, fingerprint);
    return rc;
}

static int load(struct encode *e)
{
    if (!e->vit)
        e->vit = vit_open(e->compute.store, &e->compute.weights);
    if (e->vit && e->a.no_post_layernorm)
        vit_skip_post_layernorm(e->vit);
    if (e->vit && e->a.hidden)
        vit_set_watch(e->vit, hidden_take, &e->hidden);
    else if (e->vit && compute_is_watched())
        vit_set_watch(e->vit, compute_watch, &e->compute);
    return e->vit ? 0 : -1;
}

static int ready(struct encode *e)
{
    return load(e) < 0 ? -1 : check_size(e);
}

/* A directory that is no model at all is told as such, with a cache as without. */
static int no_processor(struct encode *e)
{
    struct err_saved why;
    err_save(&why);
    if (load(e) < 0)
        return -1;
    err_restore(&why);
    return -1;
}

/* With a cache the weights wait for the first picture that is not in it. */
static int open_model(struct encode *e, const char **model)
{
    struct compute *c = &e->compute;
    if (compute_open(c, &e->a.m) < 0 || (!cached_asked(&e->a.cache) && load(e) < 0))
        return -1;
    if (open_processor(e, store_dir(c->store)) < 0)
        return no_processor(e);
    *model = store_fingerprint(c->store);
    if (!*model || open_cache(e, *model) < 0)
        return -1;
    return e->cached.cache ? 0 : ready(e);
}

int encode_jobs(const struct encode_args *a)
{
    int threads = env_threads(a->m.threads);
    return a->jobs ? a->jobs : threads < JOBS_MOST ? threads : JOBS_MOST;
}

static int open_items(struct encode *e)
{
    int n = e->a.m.batch + encode_ahead(&e->a);
    e->item = calloc((size_t)n, sizeof *e->item);
    e->turn = calloc((size_t)e->a.m.batch, sizeof *e->turn);
    if (!e->item || !e->turn)
        return err_nomem("a batch");
    for (e->items = 0; e->items < n; e->items++)
        record_init(&e->item[e->items].entry);
    return 0;
}

int encode_open(struct encode *e, const char **model)
{
    if (open_items(e) < 0)
        return -1;
    e->untrusted = !e->a.own_files && env_true("VQA_UNTRUSTED");
    e->limits = (struct image_limits){ .pixels = e->a.max_pixels,
                                       .no_exif = e->a.no_exif,
                                       .alpha = (enum image_alpha)e->a.alpha };
    int rc = e->a.pixels ? open_pixels(e) : open_model(e, model);
    e->begun = clock_seconds();
    return rc;
}

void encode_close(struct encode *e)
{
    compute_close(&e->compute);
    while (e->items)
        record_release(&e->item[--e->items].entry);
    free(e->item);
    arena_release(&e->looks);
    hidden_release(&e->hidden);
    free(e->turn);
    cached_close(&e->cached);
    cached_close(&e->queries);
}

/* ---- a record's pixels ---- */

/* Looks an input up, and remembers its key. True if that is all there is to do. */
static bool found(struct encode *e, struct encode_item *item, const char *kind, const void *p,
                  size_t n)
{
    const struct cache *cache = e->cached.cache;
    if (!cache || cache_key(&item->key, cache, kind, p, n) < 0)
        return false;
    item->keyed = true;
    if (e->a.inputs)
        item->known = known_find(&item->inputs, &item->entry, &e->queries, &e->cached,
                                 &item->key);
    item->hit = item->known == KNOWN_INPUTS ||
                cache_get(&item->embeds, &item->entry, cache, &item->key, "image_embeds");
    return item->hit && !e->a.keep;
}

static int from_bytes(struct encode *e, struct record *rec, struct encode_item *item,
                      const void *p, size_t n)
{
    struct image im;
    if (found(e, item, "file", p, n))
        return 0;
    int got = e->untrusted ? image_decode_apart(&im, p, n, &e->limits)
                           : image_decode(&im, p, n, &e->limits);
    if (got < 0)
        return -1;
    int rc = image_pixel_values(&item->pixels, &e->processor, &im, record_mem(rec));
    image_release(&im);
    return rc;
}

/* What cannot be read is the record's fault, not the process's. */
static int read_image(const struct encode *e, struct buf *b, const char *path)
{
    if (io_is_dir(path))
        return err_set(ERR_NOINPUT, "%s: is a directory; -r takes the images in it", path);
    if (!e->a.own_files && !io_is_file(path))
        return err_set(ERR_NOINPUT, "%s: no such file", path);
    struct stat st;
    if (stat(path, &st) == 0 && st.st_size > (off_t)FILE_BYTES)
        return err_set(ERR_DATA, "%s: %lld bytes, more than the limit of %zu", path,
                       (long long)st.st_size, FILE_BYTES);
    int rc = io_read_file(b, path, FILE_BYTES);
    if (rc < 0 && err_kind() == ERR_IO) {
        struct err_saved why;
        err_save(&why);
        why.kind = ERR_NOINPUT;
        err_restore(&why);
    }
    return rc;
}

static int from_path(struct encode *e, struct record *rec, struct encode_item *item,
                     const char *name, size_t n)
{
    struct buf b = { 0 };
    char path[PATH_MAX];
    if (e->untrusted)
        return err_set(ERR_NOINPUT, "path: files are not read for others ($VQA_UNTRUSTED); "
                                    "expected the field image");
    if (n > sizeof path - 3 || memchr(name, '\0', n))
        return err_set(ERR_NOINPUT, "path: no name of a file");
    snprintf(path, sizeof path, "%s%.*s", n == 1 && *name == '-' ? "./" : "", (int)n, name);
    int rc = read_image(e, &b, path);
    if (rc == 0 && from_bytes(e, rec, item, b.data, b.len) < 0)
        rc = err_wrap("%s", path);
    buf_release(&b);
    return rc;
}

/* As transformers' processor gives them: (3, H, W), or (1, 3, H, W), of any float type. */
static int from_tensor(struct encode *e, struct record *rec, struct tensor *out,
                       struct tensor t)
{
    char got[TENSOR_SHAPE_MAX];
    int h = e->processor.height, w = e->processor.width;
    tensor_shape_str(got, t);
    if (t.ndim == 4 && t.dim[0] == 1)
        t = tensor_3d(t.data, t.dtype, t.dim[1], t.dim[2], t.dim[3]);
    if (t.dtype != DT_F32 && t.dtype != DT_F16 && t.dtype != DT_BF16 && t.dtype != DT_F64)
        return err_set(ERR_DATA, "pixel_values: dtype %s, expected f32", dtype_name(t.dtype));
    if (t.ndim != 3 || t.dim[0] != 3 ||
        (e->a.interpolate
             ? t.dim[1] < 1 || t.dim[2] < 1 || t.dim[1] > SIDE_MOST || t.dim[2] > SIDE_MOST
             : t.dim[1] != h || t.dim[2] != w))
        return err_set(ERR_DATA, "pixel_values: shape %s, expected (3, %d, %d)", got, h, w);
    if (tensor_check_finite(t, "pixel_values") < 0)
        return -1;
    *out = tensor_3d(t.data, DT_F32, 3, t.dim[1], t.dim[2]);
    if (t.dtype == DT_F32)
        return 0;
    out->data = arena_alloc(record_mem(rec), tensor_bytes(*out));
    if (!out->data)
        return -1;
    tensor_to_f32(out->data, t);
    return 0;
}

/* pixel_values of the record; their shape is a part of the key. */
static int from_pixels(struct encode *e, struct record *rec, struct encode_item *item,
                       struct tensor t)
{
    char kind[TENSOR_SHAPE_MAX + 16], shape[TENSOR_SHAPE_MAX];
    if (from_tensor(e, rec, &item->pixels, t) < 0)
        return -1;
    snprintf(kind, sizeof kind, "pixel_values %s", tensor_shape_str(shape, item->pixels));
    found(e, item, kind, item->pixels.data, tensor_bytes(item->pixels));
    return 0;
}

/* Text, or a name that is not UTF-8. */
static int get_path(const char **s, size_t *n, const struct record *rec)
{
    const struct record_field *f = record_find(rec, "path");
    if (f && f->type == RECORD_BIN)
        return record_get_bin(s, n, rec, "path");
    return record_get_str(s, n, rec, "path");
}

static int get_pixels(struct encode *e, struct record *rec, struct encode_item *item)
{
    struct tensor t;
    const char *s;
    size_t n;
    int got = record_get_tensor(&t, rec, "pixel_values");
    if (got != 0)
        return got < 0 ? -1 : from_pixels(e, rec, item, t);
    got = record_get_bin(&s, &n, rec, "image");
    if (got != 0)
        return got < 0 ? -1 : from_bytes(e, rec, item, s, n);
    got = get_path(&s, &n, rec);
    if (got != 0)
        return got < 0 ? -1 : from_path(e, rec, item, s, n);
    return err_set(ERR_DATA, "no pixel_values, image or path in the record");
}

void encode_prepare(struct encode *e, struct record *rec, int slot)
{
    struct encode_item *item = &e->item[slot];
    item->failed.kind = ERR_NONE;
    item->keyed = item->hit = false;
    item->known = KNOWN_NOTHING;
    if (get_pixels(e, rec, item) < 0)
        err_save(&item->failed);
}

/* ---- the batch ---- */

/* For those who show how far it is: what cannot be told is not told. */
static void tell(const struct encode *e, char what)
{
    if (e->a.tally && write(e->a.tally, &what, 1) < 0)
        err_clear();
}

static int fail(struct encode *e, struct stage_io *io, int i)
{
    tell(e, 'f');
    err_restore(&e->turn[i]->failed);
    return stage_fail(io, e->in[i]);
}

/* What came in goes, what was made of it stays on request. */
static int put_pixels(struct encode *e, struct record *rec, struct tensor pixels)
{
    record_drop(rec, "pixel_values");
    if (!e->a.keep)
        record_drop(rec, "image");
    if (!e->a.keep && !e->a.pixels)
        return 0;
    return record_put_tensor(rec, "pixel_values", pixels);
}

/* The way from the picture to what qformer makes of its image_embeds. */
static void note(struct encode *e, const struct encode_item *item, struct tensor embeds)
{
    if (e->a.inputs && item->keyed && item->known == KNOWN_NOTHING)
        known_note(&e->cached, &item->key, embeds);
}

/* Row b of the encoder's output, in the type asked for, which is also what is kept. */
static int put_embeds(struct encode *e, struct record *rec, const struct encode_item *item,
                      struct tensor all, int b)
{
    if (e->a.pixels)
        return 0;
    struct tensor t = tensor_2d((float *)all.data + b * all.dim[1] * all.dim[2], DT_F32,
                                all.dim[1], all.dim[2]);
    if (tensor_check_finite(t, "image_embeds") < 0)
        return -1;
    if (e->a.dtype == ENCODE_F16) {
        int64_t n = tensor_count(t);
        const float *from = t.data;
        uint16_t *to = arena_alloc(record_mem(rec), (size_t)n * sizeof *to);
        if (!to)
            return -1;
        for (int64_t i = 0; i < n; i++)
            to[i] = dtype_f32_to_f16(from[i]);
        t = tensor_2d(to, DT_F16, t.dim[0], t.dim[1]);
        if (tensor_check_finite(t, "image_embeds as f16") < 0)
            return -1;
    }
    if (item->keyed)
        cache_put(e->cached.cache, &item->key, "image_embeds", t);
    note(e, item, t);
    return record_put_tensor(rec, "image_embeds", t);
}

/* Images of one size through the encoder together. */
static int forward(struct tensor *out, struct encode *e, int from, int n)
{
    struct nn *nn = &e->compute.nn;
    struct tensor one = e->turn[from]->pixels, all = { NULL, DT_F32, 4, { n, 3 } };
    all.dim[2] = one.dim[1];
    all.dim[3] = one.dim[2];
    arena_reset(nn->mem);
    all.data = arena_alloc(nn->mem, tensor_bytes(all));
    if (!all.data)
        return -1;
    for (int i = 0; i < n; i++)
        memcpy((char *)all.data + (size_t)i * tensor_bytes(one), e->turn[from + i]->pixels.data,
               tensor_bytes(one));
    double begun = clock_seconds();
    int rc = vit_forward(out, e->vit, nn, all, e->a.interpolate);
    e->ended = clock_seconds();
    e->busy += e->ended - begun;
    return rc;
}

static int forward_watched(struct tensor *out, struct nn_maps *maps, struct encode *e, int from,
                           int n)
{
    hidden_reset(&e->hidden);
    if (!e->a.attention)
        return forward(out, e, from, n);
    arena_reset(&e->looks);
    *maps = (struct nn_maps){ .self_rows = e->a.attention == ENCODE_FULL ? INT64_MAX : 1 };
    if (nn_maps_begin(maps, &e->compute.nn, n, &e->looks) < 0)
        return -1;
    int rc = forward(out, e, from, n);
    return nn_maps_end(maps, &e->compute.nn) < 0 ? -1 : rc;
}

/* Row 0 of each map (L, H, S) of (L, H, S, S) or (L, H, 1, S). */
static int put_cls(struct record *rec, struct tensor maps)
{
    int64_t n = maps.dim[0] * maps.dim[1], rows = maps.dim[2], S = maps.dim[3];
    float *to = arena_calloc(record_mem(rec), (size_t)(n * S), sizeof *to);
    for (int64_t i = 0; to && i < n; i++)
        memcpy(to + i * S, (const float *)maps.data + i * rows * S, (size_t)S * sizeof *to);
    if (!to)
        return -1;
    return record_put_tensor(rec, "cls_attentions",
                             tensor_3d(to, DT_F32, maps.dim[0], maps.dim[1], S));
}

/* What one image looks at, of the b-th of the run. */
static int put_looks(struct encode *e, struct record *rec, const struct nn_maps *maps, int b)
{
    char shape[TENSOR_SHAPE_MAX];
    struct tensor stack, rollout;
    if (!e->a.attention)
        return 0;
    if (nn_maps_stack(&stack, maps, b, false, &e->looks) < 0 ||
        nn_maps_rollout(&rollout, maps, b, record_mem(rec)) < 0 ||
        record_put_tensor(rec, "vision_rollout", rollout) < 0 || put_cls(rec, stack) < 0)
        return -1;
    if (e->a.attention != ENCODE_FULL)
        return 0;
    if (tensor_bytes(stack) > MAPS_MOST)
        return err_set(ERR_DATA, "vision_attentions: %s is %zu bytes, a record holds %zu",
                       tensor_shape_str(shape, stack), tensor_bytes(stack), MAPS_MOST);
    stack.data = arena_memdup(record_mem(rec), stack.data, tensor_bytes(stack));
    return stack.data ? record_put_tensor(rec, "vision_attentions", stack) : -1;
}

static int encode_run(struct encode *e, struct stage_io *io, int from, int n)
{
    struct tensor out = { 0 };
    struct nn_maps maps = { 0 };
    int rc = e->a.pixels ? 0 : forward_watched(&out, &maps, e, from, n);
    for (int i = from; i < from + n; i++) {
        struct encode_item *item = e->turn[i];
        if (rc < 0 || put_pixels(e, e->in[i], item->pixels) < 0 ||
            put_embeds(e, e->in[i], item, out, i - from) < 0 ||
            put_looks(e, e->in[i], &maps, i - from) < 0 ||
            hidden_put(e->in[i], &e->hidden, i - from, n) < 0)
            err_save(&item->failed);
        if (!item->failed.kind)
            tell(e, 'c');
        if ((item->failed.kind ? fail(e, io, i) : stage_emit(io, e->in[i])) < 0)
            return -1;
    }
    return 0;
}

/* What needs no computing: a failure, or a result of the cache. */
static int settle(struct encode *e, struct stage_io *io, int i)
{
    struct encode_item *item = e->turn[i];
    if (item->failed.kind)
        return fail(e, io, i);
    bool past = item->known == KNOWN_INPUTS;
    if (put_pixels(e, e->in[i], item->pixels) < 0 ||
        record_put_tensor(e->in[i], past ? "language_model_inputs" : "image_embeds",
                          past ? item->inputs : item->embeds) < 0)
        return stage_fail(io, e->in[i]);
    if (!past)
        note(e, item, item->embeds);
    e->cached.hits++;
    tell(e, 'h');
    return stage_emit(io, e->in[i]);
}

static bool settled(const struct encode_item *item)
{
    return item->failed.kind || item->hit;
}

/* How many records from the i-th on go together: all have pixels, of one size. */
static int alike(const struct encode *e, int i, int n)
{
    int k = i + 1;
    while (k < n && !settled(e->turn[k]) &&
           tensor_same_shape(e->turn[k]->pixels, e->turn[i]->pixels))
        k++;
    return k - i;
}

static int compute(struct encode *e, struct stage_io *io, int from, int n)
{
    if (!e->vit && !e->a.pixels && ready(e) < 0)
        return -1;
    e->cached.misses += (uint64_t)n;
    struct tensor p = e->turn[from]->pixels;
    int most = e->a.pixels ? n : vit_together(e->vit, p.dim[1], p.dim[2]), rc = 0;
    for (int i = 0; rc == 0 && i < n; i += most)
        rc = encode_run(e, io, from + i, (int)math_min(most, n - i));
    return rc;
}

int encode_step(struct encode *e, struct stage_io *io, struct record **in, int n)
{
    e->in = in;
    for (int i = 0; i < n; i++)
        e->turn[i] = &e->item[stage_slot(io, in[i])];
    for (int i = 0, run = 1; i < n; i += run) {
        bool done = settled(e->turn[i]);
        run = done ? 1 : alike(e, i, n);
        if ((done ? settle(e, io, i) : compute(e, io, i, run)) < 0)
            return -1;
    }
    return 0;
}

int encode_one(struct tensor *image_embeds, struct encode *e, struct record *rec)
{
    struct encode_item *item = e->turn[0] = &e->item[0];
    struct tensor all;
    encode_prepare(e, rec, 0);
    if (item->failed.kind) {
        err_restore(&item->failed);
        return -1;
    }
    if (item->hit) {
        *image_embeds = item->embeds;
        return 0;
    }
    if (ready(e) < 0 || forward(&all, e, 0, 1) < 0)
        return -1;
    *image_embeds = tensor_2d(all.data, DT_F32, all.dim[1], all.dim[2]);
    if (tensor_check_finite(*image_embeds, "image_embeds") < 0)
        return -1;
    if (item->keyed)
        cache_put(e->cached.cache, &item->key, "image_embeds", *image_embeds);
    return 0;
}

void encode_report(const struct encode *e)
{
    cached_report(&e->cached);
    if (e->busy > 0)
        cli_warn("the encoder was busy %.1f %% of %.1f s",
                 100 * e->busy / (e->ended - e->begun), e->ended - e->begun);
}
