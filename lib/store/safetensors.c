/* safetensors.c - see safetensors.h. */
#include "store/safetensors.h"

#include "base/err.h"
#include "base/math.h"
#include "store/json.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH 8 /* of the header's JSON: three are needed */

/* item 0: a type we do not know the size of; its tensors are not checked against it. */
struct type {
    const char *name;
    enum dtype dtype;
    size_t item;
};

static struct type type_named(const char *name)
{
    static const struct type types[] = {
        { "F32", DT_F32, 4 },      { "F16", DT_F16, 2 },      { "BF16", DT_BF16, 2 },
        { "F64", DT_F64, 8 },      { "I8", DT_I8, 1 },        { "U8", DT_U8, 1 },
        { "BOOL", DT_BOOL, 1 },    { "I32", DT_I32, 4 },      { "I64", DT_I64, 8 },
        { "I16", DT_NONE, 2 },     { "U16", DT_NONE, 2 },     { "U32", DT_NONE, 4 },
        { "U64", DT_NONE, 8 },     { "F8_E4M3", DT_NONE, 1 }, { "F8_E5M2", DT_NONE, 1 },
        { "F8_E8M0", DT_NONE, 1 }, { "C64", DT_NONE, 8 },
    };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (!strcmp(types[i].name, name))
            return types[i];
    return (struct type){ name, DT_NONE, 0 };
}

static size_t le64(const unsigned char *p)
{
    uint64_t v = 0;
    for (int i = 7; i >= 0; i--)
        v = v << 8 | p[i];
    return (size_t)v;
}

/* Where the header ends, before its text is looked at. */
static int frame(struct safetensors *f)
{
    const struct io_map *m = &f->map;
    if (store_is_lfs_pointer(m->data, m->len))
        return err_set(ERR_DATA, "git-lfs pointer, not the weights; 'git lfs pull' in its "
                                 "directory brings them");
    if (m->len < 8)
        return err_set(ERR_DATA, "%zu bytes: truncated, or not a safetensors file", m->len);
    size_t n = le64(m->data);
    if (n > SAFETENSORS_HEADER_MAX)
        return err_set(ERR_DATA,
                       "header of %zu bytes, the limit is %zu: not a safetensors file", n,
                       SAFETENSORS_HEADER_MAX);
    if (n > m->len - 8)
        return err_set(ERR_DATA, "header of %zu bytes in a file of %zu: truncated", n, m->len);
    if (n == 0 || m->data[8] != '{')
        return err_set(ERR_DATA, "header does not begin with '{': not a safetensors file");
    f->data = 8 + n;
    return 0;
}

/* A count or offset. */
static int read_size(size_t *v, const json_t *j)
{
    if (!json_is_integer(j) || json_integer_value(j) < 0)
        return err_set(ERR_DATA, "not an integer from 0 to 2^63 - 1");
    *v = (size_t)json_integer_value(j);
    return 0;
}

static int read_offsets(struct safetensors_entry *e, const json_t *j, size_t data)
{
    if (json_array_size(j) != 2)
        return err_set(ERR_DATA, "data_offsets: expected [begin, end]");
    if (read_size(&e->begin, json_array_get(j, 0)) < 0 ||
        read_size(&e->end, json_array_get(j, 1)) < 0)
        return err_wrap("data_offsets");
    if (e->end < e->begin)
        return err_set(ERR_DATA, "data_offsets: end %zu before begin %zu", e->end, e->begin);
    if (e->end > data)
        return err_set(ERR_DATA, "data ends at %zu of %zu bytes: truncated", e->end, data);
    return 0;
}

/* The dims, and how many bytes they say (item size included). */
static int read_shape(size_t *bytes, struct safetensors_entry *e, const json_t *j, size_t item)
{
    if (!json_is_array(j))
        return err_set(ERR_DATA, "shape: not an array");
    size_t n = json_array_size(j), count = 1;
    for (size_t i = 0; i < n; i++) {
        size_t d = 0;
        if (read_size(&d, json_array_get(j, i)) < 0)
            return err_wrap("shape");
        if (!math_mul(&count, count, d))
            return err_set(ERR_DATA, "shape: the product overflows");
        if (n <= TENSOR_DIMS)
            e->tensor.dim[i] = (int64_t)d;
    }
    e->ndim = n < 1000 ? (int)n : 1000;
    e->tensor.ndim = n <= TENSOR_DIMS ? (int)n : 0;
    return math_mul(bytes, count, item) ? 0 : err_set(ERR_DATA, "shape: the size overflows");
}

static int read_entry(struct safetensors_entry *e, const struct safetensors *f, const json_t *j,
                      struct arena *mem)
{
    const char *dtype = json_string_value(json_object_get(j, "dtype"));
    if (!dtype)
        return err_set(ERR_DATA, "dtype: not a string");
    struct type type = type_named(dtype);
    size_t bytes = 0;
    if (read_shape(&bytes, e, json_object_get(j, "shape"), type.item) < 0 ||
        read_offsets(e, json_object_get(j, "data_offsets"), f->map.len - f->data) < 0)
        return -1;
    if (type.item && bytes != e->end - e->begin)
        return err_set(ERR_DATA, "%zu bytes of data, its dtype and shape say %zu",
                       e->end - e->begin, bytes);
    e->tensor.dtype = type.dtype;
    e->tensor.data = (void *)(f->map.data + f->data + e->begin);
    e->dtype = arena_strndup(mem, dtype, strlen(dtype));
    return e->dtype ? 0 : -1;
}

static int check_metadata(const json_t *j)
{
    const char *key;
    json_t *value;
    if (!json_is_object(j))
        return err_set(ERR_DATA, "__metadata__: not an object");
    json_object_foreach((json_t *)j, key, value) if (!json_is_string(value)) return err_set(
        ERR_DATA, "__metadata__: %s: not a string", key);
    return 0;
}

static int read_entries(struct safetensors *f, json_t *header, struct arena *mem)
{
    const char *name;
    json_t *value;
    f->entries = arena_calloc(mem, json_object_size(header), sizeof *f->entries);
    if (!f->entries)
        return -1;
    json_object_foreach(header, name, value)
    {
        if (!strcmp(name, "__metadata__")) {
            if (check_metadata(value) < 0)
                return -1;
            continue;
        }
        struct safetensors_entry *e = &f->entries[f->count++];
        e->name = arena_strndup(mem, name, strlen(name));
        if (!e->name)
            return -1;
        if (read_entry(e, f, value, mem) < 0)
            return err_wrap("%s", name);
    }
    return 0;
}

static int by_offset(const void *a, const void *b)
{
    const struct safetensors_entry *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

/* Every byte of the data belongs to exactly one tensor. */
static int check_tiling(struct safetensors *f)
{
    size_t at = 0, data = f->map.len - f->data;
    if (f->count)
        qsort(f->entries, f->count, sizeof *f->entries, by_offset);
    for (size_t i = 0; i < f->count; i++) {
        const struct safetensors_entry *e = &f->entries[i];
        if (e->begin != at)
            return err_set(ERR_DATA, "%s: data begins at %zu, expected %zu: %s", e->name,
                           e->begin, at, e->begin < at ? "overlap" : "hole");
        at = e->end;
    }
    return at == data ? 0
                      : err_set(ERR_DATA,
                                "tensors end at %zu of %zu bytes of data: trailing "
                                "bytes",
                                at, data);
}

/* No number of a header has a sign, but jansson would read -0 as 0. */
static int check_signs(const char *s, size_t n)
{
    bool quoted = false;
    for (size_t i = 0; i < n; i++) {
        if (quoted && s[i] == '\\')
            i++;
        else if (s[i] == '"')
            quoted = !quoted;
        else if (!quoted && s[i] == '-')
            return err_set(ERR_DATA, "negative number at byte %zu", 8 + i);
    }
    return 0;
}

static int parse(struct safetensors *f, struct arena *mem)
{
    if (frame(f) < 0)
        return -1;
    const char *text = (const char *)f->map.data + 8;
    json_t *header = store_json_parse(text, f->data - 8, DEPTH);
    if (!header)
        return err_wrap("header");
    int rc = check_signs(text, f->data - 8);
    if (rc == 0)
        rc = read_entries(f, header, mem);
    json_decref(header);
    return rc < 0 ? rc : check_tiling(f);
}

int safetensors_open(struct safetensors *f, const char *path, struct arena *mem)
{
    *f = (struct safetensors){ .path = path };
    if (io_map(&f->map, path) < 0)
        return -1;
    if (parse(f, mem) == 0)
        return 0;
    safetensors_close(f);
    return err_wrap("%s", path);
}

void safetensors_close(struct safetensors *f)
{
    io_unmap(&f->map);
    f->entries = NULL;
    f->count = 0;
}

int safetensors_tensor(struct tensor *t, const struct safetensors_entry *e)
{
    if (e->tensor.dtype == DT_NONE)
        return err_set(ERR_CONFIG, "%s: dtype %s, which is not known", e->name, e->dtype);
    if (e->ndim > TENSOR_DIMS)
        return err_set(ERR_CONFIG, "%s: %d dims, the limit is %d", e->name, e->ndim,
                       TENSOR_DIMS);
    *t = e->tensor;
    return 0;
}
