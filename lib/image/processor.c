/* processor.c - pixel_values as Hugging Face's image processors make them: BlipImageProcessor
 * (both backends) and CLIPImageProcessor, from the checkpoint's own file. */
#include "base/err.h"
#include "base/io.h"
#include "image/image.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BICUBIC      3
#define SIDE_MOST    4096
#define CONFIG_BYTES ((size_t)1 << 20)

/* ---- preprocessor_config.json ---- */

static int get_flag(bool *v, const json_t *o, const char *key, bool otherwise)
{
    const json_t *j = json_object_get(o, key);
    *v = j && !json_is_null(j) ? json_is_true(j) : otherwise;
    if (j && !json_is_null(j) && !json_is_boolean(j))
        return err_set(ERR_CONFIG, "%s: expected true or false", key);
    return 0;
}

static int get_side(int *v, const json_t *o, const char *what, const char *key)
{
    const json_t *j = json_is_integer(o) ? o : json_object_get(o, key);
    json_int_t n = json_integer_value(j);
    if (n < 1 || n > SIDE_MOST)
        return err_set(ERR_CONFIG, "%s.%s: expected an integer from 1 to %d", what, key,
                       SIDE_MOST);
    *v = (int)n;
    return 0;
}

static int get_three(double v[3], const json_t *o, const char *key)
{
    const json_t *list = json_object_get(o, key);
    if (!list)
        return 0; /* the class's default stays */
    if (json_array_size(list) != 3)
        return err_set(ERR_CONFIG, "%s: expected three numbers", key);
    for (size_t i = 0; i < 3; i++) {
        const json_t *j = json_array_get(list, i);
        v[i] = json_number_value(j);
        if (!json_is_number(j) || (v[i] == 0 && !strcmp(key, "image_std")))
            return err_set(ERR_CONFIG, "%s[%zu]: not a number to compute with", key, i);
    }
    return 0;
}

static int get_crop(struct image_processor *p, const json_t *o)
{
    bool crop;
    if (get_flag(&crop, o, "do_center_crop", false) < 0)
        return -1;
    if (!crop)
        return 0;
    const json_t *size = json_object_get(o, "crop_size");
    if (get_side(&p->height, size, "crop_size", "height") < 0 ||
        get_side(&p->width, size, "crop_size", "width") < 0)
        return -1;
    if (p->do_resize && p->shortest_edge &&
        (p->shortest_edge < p->height || p->shortest_edge < p->width))
        return err_set(ERR_CONFIG, "crop_size: larger than size.shortest_edge");
    return p->shortest_edge ? 0 : err_set(ERR_CONFIG, "do_center_crop: without shortest_edge");
}

static int get_size(struct image_processor *p, const json_t *o)
{
    const json_t *size = json_object_get(o, "size");
    if (json_object_get(size, "shortest_edge")) {
        if (!json_is_true(json_object_get(o, "do_center_crop")))
            return err_set(ERR_CONFIG, "size.shortest_edge: expected do_center_crop with it");
        return get_side(&p->shortest_edge, size, "size", "shortest_edge");
    }
    if (!size)
        return 0;
    return get_side(&p->height, size, "size", "height") < 0 ||
                   get_side(&p->width, size, "size", "width") < 0
               ? -1
               : 0;
}

static int get_resample(const json_t *o)
{
    const json_t *j = json_object_get(o, "resample");
    if (j && json_integer_value(j) != BICUBIC)
        return err_set(ERR_CONFIG, "resample: %lld, only %d (bicubic) is done here",
                       (long long)json_integer_value(j), BICUBIC);
    return 0;
}

static int get_rescale(struct image_processor *p, const json_t *o)
{
    const json_t *j = json_object_get(o, "rescale_factor");
    if (j)
        p->rescale_factor = json_number_value(j);
    if (!(p->rescale_factor > 0))
        return err_set(ERR_CONFIG, "rescale_factor: expected a number above 0");
    return 0;
}

/* BlipImageProcessor's defaults, for keys that the file leaves out. */
static const struct image_processor blip = {
    .height = 384,
    .width = 384,
    .rescale_factor = 1 / 255.0,
    .mean = { 0.48145466, 0.4578275, 0.40821073 },
    .std = { 0.26862954, 0.26130258, 0.27577711 },
};

static int from_json(struct image_processor *p, const json_t *o)
{
    enum image_resize resize = p->resize;
    *p = blip;
    p->resize = resize;
    if (get_flag(&p->do_resize, o, "do_resize", true) < 0 ||
        get_flag(&p->do_rescale, o, "do_rescale", true) < 0 ||
        get_flag(&p->do_normalize, o, "do_normalize", true) < 0 || get_resample(o) < 0 ||
        get_size(p, o) < 0 || get_crop(p, o) < 0 || get_rescale(p, o) < 0 ||
        get_three(p->mean, o, "image_mean") < 0 || get_three(p->std, o, "image_std") < 0)
        return -1;
    return 0;
}

/* The object in the file, under `key` if there is one: 1, 0 for none. */
static int read_file(struct image_processor *p, const char *dir, const char *name,
                     const char *key)
{
    char path[4096];
    struct buf text = { 0 };
    json_error_t why;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    if (!io_is_file(path))
        return 0;
    if (io_read_file(&text, path, CONFIG_BYTES) < 0)
        return -1;
    json_t *root = json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES, &why);
    buf_release(&text);
    if (!root)
        return err_set(ERR_CONFIG, "%s: line %d: %s", path, why.line, why.text);
    const json_t *o = key ? json_object_get(root, key) : root;
    int rc = o ? 1 : 0;
    if (o && from_json(p, o) < 0)
        rc = err_wrap("%s", path);
    json_decref(root);
    return rc;
}

int image_processor_read(struct image_processor *p, const char *dir)
{
    int got = read_file(p, dir, "preprocessor_config.json", NULL);
    if (got == 0)
        got = read_file(p, dir, "processor_config.json", "image_processor");
    if (got == 0)
        return err_set(ERR_NOINPUT,
                       "%s: no preprocessor_config.json, and no image_processor in "
                       "processor_config.json",
                       dir);
    return got < 0 ? -1 : 0;
}

/* ---- pixels ---- */

/* The shorter side to p->shortest_edge, then the middle (CLIP). */
static int resize_crop(unsigned char *dst, const struct image_processor *p,
                       const struct image *im)
{
    int edge = p->shortest_edge, w = edge, h = edge;
    if (im->w > im->h)
        w = (int)((int64_t)edge * im->w / im->h);
    else
        h = (int)((int64_t)edge * im->h / im->w);
    struct image whole = { w, h, malloc((size_t)w * (size_t)h * 3) };
    if (!whole.rgb)
        return err_nomem("pixels");
    int rc = image_scale(whole.rgb, w, h, im, p->resize);
    size_t row = (size_t)p->width * 3, top = (size_t)(h - p->height) / 2,
           left = (size_t)(w - p->width) / 2;
    for (size_t y = 0; y < (size_t)p->height && rc == 0; y++)
        memcpy(dst + y * row, whole.rgb + ((top + y) * (size_t)w + left) * 3, row);
    image_release(&whole);
    return rc;
}

int image_resize(unsigned char *dst, const struct image_processor *p, const struct image *im)
{
    if (!p->do_resize && (im->w != p->width || im->h != p->height))
        return err_set(ERR_DATA, "%d x %d pixels, expected %d x %d (do_resize is false)", im->w,
                       im->h, p->width, p->height);
    if (p->do_resize && p->shortest_edge)
        return resize_crop(dst, p, im);
    return image_scale(dst, p->width, p->height, im, p->resize);
}

/* What each level becomes, in the very order of roundings of the reference's backend. */
static void levels(float table[256], const struct image_processor *p, int channel)
{
    float mean = (float)p->mean[channel], std = (float)p->std[channel];
    bool fused = p->resize == IMAGE_RESIZE_TORCHVISION && p->do_rescale && p->do_normalize;
    if (fused) {
        mean *= (float)(1 / p->rescale_factor);
        std *= (float)(1 / p->rescale_factor);
    }
    for (int v = 0; v < 256; v++) {
        float y = (float)v;
        if (p->do_rescale && !fused)
            y = (float)(v * p->rescale_factor);
        table[v] = p->do_normalize ? (y - mean) / std : y;
    }
}

int image_pixel_values(struct tensor *out, const struct image_processor *p,
                       const struct image *im, struct arena *mem)
{
    size_t count = (size_t)p->height * (size_t)p->width;
    unsigned char *rgb = malloc(count * 3);
    float *to = arena_alloc(mem, count * 3 * sizeof *to), table[256];
    if (!rgb || !to) {
        free(rgb);
        return err_nomem("pixel_values");
    }
    int rc = image_resize(rgb, p, im);
    for (int c = 0; c < 3 && rc == 0; c++) {
        levels(table, p, c);
        for (size_t i = 0; i < count; i++)
            *to++ = table[rgb[3 * i + (size_t)c]];
    }
    free(rgb);
    if (rc == 0)
        *out = tensor_3d(to - 3 * count, DT_F32, 3, p->height, p->width);
    return rc;
}

unsigned char image_level(const struct image_processor *p, double v, int c)
{
    if (p->do_normalize)
        v = v * p->std[c] + p->mean[c];
    if (p->do_rescale)
        v /= p->rescale_factor;
    return (unsigned char)(isnan(v) ? 255 : v < 0 ? 0 : v > 255 ? 255 : lrint(v));
}
