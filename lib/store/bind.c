/* bind.c - tensors into struct fields by tables of names and shapes: see store.h. */
#include "base/buf.h"
#include "base/err.h"
#include "base/math.h"
#include "store/open.h"

#include <stdio.h>
#include <string.h>

#define NAME_LEN 256

/* What is wrong with a table's tensors: the first fault in words, all counted. */
struct faults {
    char first[400];
    int count;
};

static void fault(struct faults *f)
{
    if (f->count++ == 0)
        snprintf(f->first, sizeof f->first, "%s", err_msg());
}

/* prefix with its %d replaced by i, then the tensor's own name. */
static void full_name(char name[NAME_LEN], const char *prefix, int i, const char *own)
{
    const char *hole = strstr(prefix, "%d");
    int n = hole ? snprintf(name, NAME_LEN, "%.*s%d%s%s", (int)(hole - prefix), prefix, i,
                            hole + 2, own)
                 : snprintf(name, NAME_LEN, "%s%s", prefix, own);
    BUG_ON(n < 0 || n >= NAME_LEN);
}

/* One dim of a shape: numbers and letters multiply, "3D". Gives what follows it. */
static const char *dim_of(int64_t *dim, const char *shape, const struct store_dims *dims)
{
    const char *p = shape;
    *dim = 1;
    while (*p && *p != ',') {
        int64_t factor = 0;
        if (*p >= 'A' && *p <= 'Z')
            factor = dims->of[*p++ - 'A'];
        else
            for (; *p >= '0' && *p <= '9'; p++)
                factor = factor * 10 + (*p - '0');
        BUG_ON(factor <= 0); /* a letter nobody set, or not a shape */
        BUG_ON(__builtin_mul_overflow(*dim, factor, dim));
    }
    return *p ? p + 1 : p;
}

static struct tensor expected(const char *shape, const struct store_dims *dims)
{
    struct tensor t = { 0 };
    for (const char *p = shape; *p; t.ndim++) {
        BUG_ON(t.ndim == TENSOR_DIMS);
        p = dim_of(&t.dim[t.ndim], p, dims);
    }
    return t;
}

static int check(const struct tensor *t, const char *name, struct tensor want)
{
    if (t->dtype != DT_F32 && t->dtype != DT_F16 && t->dtype != DT_BF16)
        return err_set(ERR_CONFIG, "%s: dtype %s, expected f32, f16 or bf16", name,
                       dtype_name(t->dtype));
    char got[TENSOR_SHAPE_MAX], expect[TENSOR_SHAPE_MAX];
    if (!tensor_same_shape(*t, want))
        return err_set(ERR_CONFIG, "%s: shape %s, expected %s", name, tensor_shape_str(got, *t),
                       tensor_shape_str(expect, want));
    return 0;
}

/* Aligned and, if asked for, f32: a view where the file has it so, else a copy. */
static int take(struct tensor *out, struct tensor t, int flags, struct arena *mem)
{
    bool aligned = (uintptr_t)t.data % dtype_size(t.dtype) == 0;
    bool convert = (flags & STORE_F32) && t.dtype != DT_F32;
    *out = t;
    if (aligned && !convert)
        return 0;
    size_t bytes;
    enum dtype dtype = convert ? DT_F32 : t.dtype;
    if (tensor_size_checked(&bytes, dtype, t.ndim, t.dim) < 0 ||
        !(out->data = arena_alloc(mem, bytes)))
        return -1;
    out->dtype = dtype;
    if (convert)
        tensor_to_f32(out->data, t);
    else
        memcpy(out->data, t.data, bytes);
    return 0;
}

/* What the checkpoint has: 1, 0 nothing, -1 a tensor that is not as it should be. */
static int look(struct tensor *t, struct store *s, const char *name, struct tensor want)
{
    const struct safetensors_entry *e = store_entry(s->weights, name);
    if (!e)
        return 0;
    return safetensors_tensor(t, e) < 0 || check(t, name, want) < 0 ? -1 : 1;
}

int store_bind_float(struct tensor *out, struct store *s, const char *name, int flags,
                     struct tensor want, struct arena *mem)
{
    struct tensor t;
    int found = look(&t, s, name, want), taken = 0;
    *out = (struct tensor){ 0 };
    if (found < 0)
        return 1;
    if (s->on_bind)
        taken = s->on_bind(s->on_bind_ctx, name, want, found ? &t : NULL, out);
    if (taken)
        return taken < 0 ? -1 : 0;
    if (found && s->quant.scheme && (flags & STORE_F32) && store_even(&t, s, name, mem) < 0)
        return -1;
    if (found)
        return take(out, t, flags, mem);
    if (flags & STORE_OPTIONAL)
        return 0;
    err_set(ERR_CONFIG, "%s: no such tensor in the checkpoint", name);
    return 1;
}

static int bind_one(void *out, struct store *s, const struct store_bind *b, const char *name,
                    const struct store_dims *dims, struct arena *mem)
{
    struct tensor *field = (struct tensor *)((char *)out + b->offset);
    struct tensor want = expected(b->shape, dims);
    return b->flags & (STORE_LINEAR | STORE_HEAD)
               ? store_bind_linear(out, s, b, name, want, mem)
               : store_bind_float(field, s, name, b->flags, want, mem);
}

int store_bind(void *out, struct store *s, const char *prefix, int i,
               const struct store_bind *table, const struct store_dims *dims, struct arena *mem)
{
    struct faults f = { .count = 0 };
    if (!store_weights(s))
        return -1;
    for (const struct store_bind *b = table; b->name; b++) {
        char name[NAME_LEN];
        full_name(name, prefix, i, b->name);
        int rc = bind_one(out, s, b, name, dims, mem);
        if (rc < 0)
            return err_wrap("%s", name);
        if (rc > 0)
            fault(&f);
    }
    if (f.count > 1)
        return err_set(ERR_CONFIG, "%s (and %d more)", f.first, f.count - 1);
    return f.count ? err_set(ERR_CONFIG, "%s", f.first) : 0;
}
