/* encode.c - see encode.h. */
#include "front/encode.h"

#include "base/err.h"
#include "base/io.h"
#include "cli/env.h"
#include "front/model.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FILE_BYTES ((size_t)1 << 28) /* of one encoded image */
#define SIDE_MOST  4096

/* A record's pixels, or why it has none. */
struct encode_item {
    struct tensor pixels;    /* (3, H, W) f32 in the record's memory */
    struct err_saved failed; /* ERR_NONE: it has pixels */
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

static int open_model(struct encode *e, const char **model)
{
    struct compute *c = &e->compute;
    if (compute_open(c, &e->a.m) < 0)
        return -1;
    e->vit = vit_open(c->store, &c->weights);
    if (!e->vit || open_processor(e, store_dir(c->store)) < 0 || check_size(e) < 0)
        return -1;
    *model = store_fingerprint(c->store);
    return *model ? 0 : -1;
}

int encode_open(struct encode *e, const char **model)
{
    e->item = calloc((size_t)e->a.m.batch, sizeof *e->item);
    if (!e->item)
        return err_nomem("a batch");
    e->untrusted = !e->a.own_files && env_true("VQA_UNTRUSTED");
    e->limits = (struct image_limits){ .pixels = e->a.max_pixels,
                                       .no_exif = e->a.no_exif,
                                       .alpha = (enum image_alpha)e->a.alpha };
    return e->a.pixels ? open_pixels(e) : open_model(e, model);
}

void encode_close(struct encode *e)
{
    compute_close(&e->compute);
    free(e->item);
}

/* ---- a record's pixels ---- */

static int from_bytes(struct encode *e, struct record *rec, struct tensor *out, const void *p,
                      size_t n)
{
    struct image im;
    int got = e->untrusted ? image_decode_apart(&im, p, n, &e->limits)
                           : image_decode(&im, p, n, &e->limits);
    if (got < 0)
        return -1;
    int rc = image_pixel_values(out, &e->processor, &im, record_mem(rec));
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

static int from_path(struct encode *e, struct record *rec, struct tensor *out, const char *name,
                     size_t n)
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
    if (rc == 0 && from_bytes(e, rec, out, b.data, b.len) < 0)
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

/* Text, or a name that is not UTF-8. */
static int get_path(const char **s, size_t *n, const struct record *rec)
{
    const struct record_field *f = record_find(rec, "path");
    if (f && f->type == RECORD_BIN)
        return record_get_bin(s, n, rec, "path");
    return record_get_str(s, n, rec, "path");
}

static int get_pixels(struct encode *e, struct record *rec, struct tensor *out)
{
    struct tensor t;
    const char *s;
    size_t n;
    int got = record_get_tensor(&t, rec, "pixel_values");
    if (got != 0)
        return got < 0 ? -1 : from_tensor(e, rec, out, t);
    got = record_get_bin(&s, &n, rec, "image");
    if (got != 0)
        return got < 0 ? -1 : from_bytes(e, rec, out, s, n);
    got = get_path(&s, &n, rec);
    if (got != 0)
        return got < 0 ? -1 : from_path(e, rec, out, s, n);
    return err_set(ERR_DATA, "no pixel_values, image or path in the record");
}

/* Records are decoded side by side. */
static int prepare(void *ctx, int64_t begin, int64_t end, int worker)
{
    struct encode *e = ctx;
    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        e->item[i].failed.kind = ERR_NONE;
        if (get_pixels(e, e->in[i], &e->item[i].pixels) < 0)
            err_save(&e->item[i].failed);
    }
    return 0;
}

/* ---- the batch ---- */

static int fail(struct encode *e, struct stage_io *io, int i)
{
    err_restore(&e->item[i].failed);
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

/* Row b of the encoder's output, in the type asked for. */
static int put_embeds(struct encode *e, struct record *rec, struct tensor all, int b)
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
    return record_put_tensor(rec, "image_embeds", t);
}

/* Images of one size through the encoder together. */
static int forward(struct tensor *out, struct encode *e, int from, int n)
{
    struct nn *nn = &e->compute.nn;
    struct tensor one = e->item[from].pixels, all = { NULL, DT_F32, 4, { n, 3 } };
    all.dim[2] = one.dim[1];
    all.dim[3] = one.dim[2];
    arena_reset(nn->mem);
    all.data = arena_alloc(nn->mem, tensor_bytes(all));
    if (!all.data)
        return -1;
    for (int i = 0; i < n; i++)
        memcpy((char *)all.data + (size_t)i * tensor_bytes(one), e->item[from + i].pixels.data,
               tensor_bytes(one));
    return vit_forward(out, e->vit, nn, all, e->a.interpolate);
}

static int encode_run(struct encode *e, struct stage_io *io, int from, int n)
{
    struct tensor out = { 0 };
    int rc = e->a.pixels ? 0 : forward(&out, e, from, n);
    for (int i = from; i < from + n; i++) {
        struct encode_item *item = &e->item[i];
        if (rc < 0 || put_pixels(e, e->in[i], item->pixels) < 0 ||
            put_embeds(e, e->in[i], out, i - from) < 0)
            err_save(&item->failed);
        if ((item->failed.kind ? fail(e, io, i) : stage_emit(io, e->in[i])) < 0)
            return -1;
    }
    return 0;
}

/* How many records from the i-th on go together: all have pixels, of one size. */
static int alike(const struct encode *e, int i, int n)
{
    int k = i + 1;
    while (k < n && !e->item[k].failed.kind &&
           tensor_same_shape(e->item[k].pixels, e->item[i].pixels))
        k++;
    return k - i;
}

int encode_step(struct encode *e, struct stage_io *io, struct record **in, int n)
{
    e->in = in;
    if (pool_run(e->compute.pool, prepare, e, n, 1) < 0)
        return -1;
    for (int i = 0, run = 1; i < n; i += run) {
        run = e->item[i].failed.kind ? 1 : alike(e, i, n);
        int rc = e->item[i].failed.kind ? fail(e, io, i) : encode_run(e, io, i, run);
        if (rc < 0)
            return -1;
    }
    return 0;
}
