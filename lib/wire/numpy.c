/* numpy.c - msgpack-numpy's arrays: see numpy.h. Source: msgpack_numpy.py 0.4.8, encode/decode.
 */
#include "wire/numpy.h"

#include "base/err.h"

#include <string.h>

static const struct {
    char name[4]; /* without the byte order */
    enum dtype dtype;
} types[] = {
    { "f4", DT_F32 }, { "f2", DT_F16 },  { "f8", DT_F64 }, { "i1", DT_I8 },
    { "u1", DT_U8 },  { "b1", DT_BOOL }, { "i4", DT_I32 }, { "i8", DT_I64 },
};

const char *numpy_type(enum dtype t)
{
    switch (t) {
    case DT_F32:
        return "<f4";
    case DT_F16:
        return "<f2";
    case DT_BF16:
        return "<u2";
    case DT_F64:
        return "<f8";
    case DT_I8:
        return "|i1";
    case DT_U8:
        return "|u1";
    case DT_BOOL:
        return "|b1";
    case DT_I32:
        return "<i4";
    case DT_I64:
        return "<i8";
    case DT_I4: /* only weights */
    case DT_NONE:
        break;
    }
    return "";
}

/* The map's entries, as far as they matter. */
struct array {
    bool has_nd, nd, has_shape, has_data, bf16, object;
    struct unpack_token type, data;
    struct unpack shape; /* at the array of dims */
};

static bool is_key(const struct unpack_token *k, const char *name)
{
    return k->type == UNPACK_BIN && k->n == strlen(name) && !memcmp(k->p, name, k->n);
}

/* One entry; the value is at u. */
static void take_entry(struct array *a, const struct unpack_token *key, struct unpack u)
{
    struct unpack at = u;
    struct unpack_token v = unpack_next(&u);
    if (is_key(key, "nd") && v.type == UNPACK_BOOL) {
        a->has_nd = true;
        a->nd = v.b;
    } else if (is_key(key, "type"))
        a->type = v;
    else if (is_key(key, "kind"))
        a->object = (v.type == UNPACK_BIN || v.type == UNPACK_STR) && v.n == 1 &&
                    (*v.p == 'O' || *v.p == 'V');
    else if (is_key(key, "shape") && v.type == UNPACK_ARRAY) {
        a->has_shape = true;
        a->shape = at;
    } else if (is_key(key, "data") && v.type == UNPACK_BIN) {
        a->has_data = true;
        a->data = v;
    } else if (is_key(key, "bf16") && v.type == UNPACK_BOOL)
        a->bf16 = v.b;
}

static struct array entries(struct unpack u)
{
    struct array a = { 0 };
    struct unpack_token map = unpack_next(&u);
    for (size_t i = 0; i < map.n; i++) {
        struct unpack_token key = unpack_next(&u);
        if (key.type != UNPACK_BIN && key.type != UNPACK_STR)
            return (struct array){ 0 };
        take_entry(&a, &key, u);
        unpack_skip(&u);
    }
    return a;
}

/* The element type; false if it is none of ours. */
static bool element(enum dtype *t, bool *swap, const struct array *a)
{
    if ((a->type.type != UNPACK_STR && a->type.type != UNPACK_BIN) || a->type.n != 3)
        return false;
    const char *s = (const char *)a->type.p;
    *swap = s[0] == '>';
    if (!strchr("<>|=", s[0]) || !s[0])
        return false;
    if (a->bf16 && !memcmp(s + 1, "u2", 2)) {
        *t = DT_BF16;
        return true;
    }
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (!memcmp(s + 1, types[i].name, 2)) {
            *t = types[i].dtype;
            return true;
        }
    return false;
}

static int read_shape(struct tensor *t, const struct array *a)
{
    struct unpack u = a->shape;
    if (!a->has_shape) /* a numpy scalar has none */
        return a->nd ? err_set(ERR_DATA, "array without a shape") : 0;
    size_t n = unpack_next(&u).n;
    if (n > TENSOR_DIMS)
        return err_set(ERR_DATA, "array of %zu dimensions, at most %d", n, TENSOR_DIMS);
    t->ndim = (int)n;
    for (size_t i = 0; i < n; i++) {
        struct unpack_token d = unpack_next(&u);
        if (d.type != UNPACK_INT)
            return err_set(ERR_DATA, "array whose shape is not integers");
        t->dim[i] = d.i;
    }
    return 0;
}

static void swap_bytes(unsigned char *p, size_t n, size_t size)
{
    for (size_t at = 0; at < n; at += size)
        for (size_t i = 0; i < size / 2; i++) {
            unsigned char c = p[at + i];
            p[at + i] = p[at + size - 1 - i];
            p[at + size - 1 - i] = c;
        }
}

/* Points t at the bytes, by way of a copy if their address or byte order will not do. */
static int place(struct tensor *t, const struct array *a, bool swap, struct arena *mem)
{
    size_t size = dtype_size(t->dtype);
    t->data = (void *)a->data.p;
    if ((uintptr_t)a->data.p % size == 0 && !(swap && size > 1))
        return 1;
    if (!mem)
        return 1;
    t->data = arena_memdup(mem, a->data.p, a->data.n);
    if (!t->data)
        return -1;
    if (swap)
        swap_bytes(t->data, a->data.n, size);
    return 1;
}

int numpy_read(struct tensor *t, struct unpack u, struct arena *mem)
{
    struct array a = entries(u);
    bool swap;
    if (!a.has_nd)
        return 0;
    if (a.object)
        return err_set(ERR_DATA,
                       "array of objects or structs (pickle), expected plain numbers");
    *t = (struct tensor){ 0 };
    if (!a.has_data || !element(&t->dtype, &swap, &a))
        return 0;
    size_t bytes;
    if (read_shape(t, &a) < 0 || tensor_size_checked(&bytes, t->dtype, t->ndim, t->dim) < 0)
        return -1;
    if (bytes != a.data.n) {
        char shape[TENSOR_SHAPE_MAX];
        return err_set(ERR_DATA, "array %s %s has %zu bytes of data, expected %zu",
                       dtype_name(t->dtype), tensor_shape_str(shape, *t), a.data.n, bytes);
    }
    return place(t, &a, swap, mem);
}
