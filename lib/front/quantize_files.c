/* quantize_files.c - what stands beside the tensors: see quantize.h. */
#include "base/err.h"
#include "base/io.h"
#include "front/quantize.h"
#include "store/json.h"

#include <dirent.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- model.safetensors.index.json ---- */

static int write_json(const char *dir, const char *name, const json_t *j)
{
    char path[4400];
    char *text = json_dumps(j, JSON_INDENT(2) | JSON_SORT_KEYS);
    snprintf(path, sizeof path, "%s/%s", dir, name);
    int rc = text ? io_write_file(path, text, strlen(text)) : err_nomem(name);
    free(text);
    return rc;
}

int quantize_write_index(const char *dir, const struct buf *tensors)
{
    json_t *map = json_object(), *all = json_pack("{s:{}, s:o}", "metadata", "weight_map", map);
    if (!all)
        return err_nomem("index");
    int rc = 0;
    const char *p = (const char *)tensors->data, *end = p + tensors->len;
    while (p < end && rc == 0) {
        const char *file = p + strlen(p) + 1;
        rc = json_object_set_new(map, p, json_string(file));
        p = file + strlen(file) + 1;
    }
    rc = rc < 0 ? err_nomem("index") : write_json(dir, "model.safetensors.index.json", all);
    json_decref(all);
    return rc;
}

/* ---- config.json ---- */

/* Layers by name, and the scoring layer, which has no tensor of its own where words are tied.
 */
static json_t *ignore_list(const struct buf *ignored)
{
    json_t *list = json_pack("[s]", "re:.*lm_head");
    const char *p = (const char *)ignored->data;
    for (const char *end = p + ignored->len; p < end; p += strlen(p) + 1)
        json_array_append_new(list, json_string(p));
    return list;
}

/* Bytes with a scale a row; their inputs encoded each by its own range, as nn_linear() does. */
static json_t *scheme_int8(void)
{
    return json_pack("{s:[s], s:{s:i, s:s, s:b, s:s, s:b}, s:{s:i, s:s, s:b, s:s, s:b}}",
                     "targets", "Linear", "weights", "num_bits", 8, "type", "int", "symmetric",
                     1, "strategy", "channel", "dynamic", 0, "input_activations", "num_bits", 8,
                     "type", "int", "symmetric", 0, "strategy", "token", "dynamic", 1);
}

static json_t *scheme_int4(int64_t group)
{
    return json_pack("{s:[s], s:{s:i, s:s, s:b, s:s, s:I, s:b}}", "targets", "Linear",
                     "weights", "num_bits", 4, "type", "int", "symmetric", 1, "strategy",
                     "group", "group_size", (json_int_t)group, "dynamic", 0);
}

static int add_quantization(json_t *config, const struct quant *q, const struct buf *ignored)
{
    bool half = q->scheme == QUANT_INT4;
    json_t *quantization = json_pack(
        "{s:s, s:s, s:s, s:{s:o}, s:o}", "quant_method", "compressed-tensors", "format",
        half ? "pack-quantized" : "int-quantized", "quantization_status", "compressed",
        "config_groups", "group_0", half ? scheme_int4(q->group) : scheme_int8(), "ignore",
        ignore_list(ignored));
    return json_object_set_new(config, "quantization_config", quantization);
}

/* The type that others compute in, by "dtype" or, as it was called before, "torch_dtype". False
 * if the section names none. */
static bool set_dtype(json_t *section)
{
    static const char *const keys[] = { "dtype", "torch_dtype" };
    bool named = false;
    for (int i = 0; i < 2; i++)
        if (json_is_string(json_object_get(section, keys[i])))
            named = json_object_set_new(section, keys[i], json_string("bfloat16")) == 0;
    return named;
}

static int set_dtypes(json_t *config)
{
    const char *name;
    json_t *section;
    json_object_foreach(config, name, section)
    {
        set_dtype(section);
    }
    return set_dtype(config)
               ? 0
               : json_object_set_new(config, "torch_dtype", json_string("bfloat16"));
}

int quantize_config(struct buf *text, const char *dir, const struct quant *q,
                    const struct buf *ignored)
{
    char path[4400];
    snprintf(path, sizeof path, "%s/config.json", dir);
    json_t *config = store_json_read(path, (size_t)4 << 20, 32);
    if (!config)
        return -1;
    int rc = q->scheme == QUANT_BF16 ? set_dtypes(config)
                                     : add_quantization(config, q, ignored);
    char *s = json_dumps(config, JSON_INDENT(2));
    rc = rc == 0 && s ? buf_puts(text, s) : err_nomem("config.json");
    if (rc == 0)
        rc = buf_putc(text, '\n');
    free(s);
    json_decref(config);
    return rc;
}

/* ---- other files ---- */

static bool is_wanted(const char *name)
{
    static const char *const not_these[] = { "config.json", "model.safetensors.index.json",
                                             "pytorch_model.bin.index.json" };
    static const char *const ends[] = { ".json", ".txt", ".jinja", ".model", ".md" };
    const char *dot = strrchr(name, '.');
    for (int i = 0; i < 3; i++)
        if (!strcmp(name, not_these[i]))
            return false;
    for (int i = 0; dot && *name != '.' && i < 5; i++)
        if (!strcmp(dot, ends[i]))
            return true;
    return !strncmp(name, "LICENSE", 7);
}

static int copy_file(const char *from, const char *to, const char *name)
{
    char path[4400];
    struct buf b = { 0 };
    snprintf(path, sizeof path, "%s/%s", from, name);
    int rc = io_is_file(path) ? io_read_file(&b, path, (size_t)256 << 20) : 1;
    snprintf(path, sizeof path, "%s/%s", to, name);
    if (rc == 0)
        rc = io_write_file(path, b.data, b.len);
    buf_release(&b);
    return rc < 0 ? -1 : 0;
}

int quantize_copy_files(const char *from, const char *to)
{
    DIR *d = opendir(from);
    int rc = 0;
    if (!d)
        return err_sys(ERR_NOINPUT, "%s", from);
    for (const struct dirent *e; rc == 0 && (e = readdir(d));)
        if (is_wanted(e->d_name))
            rc = copy_file(from, to, e->d_name);
    closedir(d);
    return rc;
}
