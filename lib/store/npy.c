/* npy.c - see npy.h. */
#include "store/npy.h"

#include "base/err.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

static const struct {
    char name[3]; /* without the byte order */
    enum dtype dtype;
} types[] = {
    { "f4", DT_F32 }, { "f2", DT_F16 },  { "f8", DT_F64 }, { "i1", DT_I8 },
    { "u1", DT_U8 },  { "b1", DT_BOOL }, { "i4", DT_I32 }, { "i8", DT_I64 },
};
#define TYPES (sizeof types / sizeof *types)

void npy_header(unsigned char header[NPY_HEADER], struct tensor t, int64_t count)
{
    char text[NPY_HEADER + 1], name[3] = "f4";
    for (size_t i = 0; i < TYPES; i++)
        if (types[i].dtype == t.dtype)
            memcpy(name, types[i].name, 3);
    int n = snprintf(text, sizeof text, "{'descr': '%c%s', 'fortran_order': False, 'shape': (",
                     dtype_size(t.dtype) == 1 ? '|' : '<', name);
    if (count >= 0)
        n += snprintf(text + n, sizeof text - (size_t)n, "%lld, ", (long long)count);
    for (int i = 0; i < t.ndim; i++)
        n += snprintf(text + n, sizeof text - (size_t)n, "%lld, ", (long long)t.dim[i]);
    n += snprintf(text + n, sizeof text - (size_t)n, ")}");
    BUG_ON(n > NPY_HEADER - 11);
    memset(header, ' ', NPY_HEADER);
    memcpy(header, "\x93NUMPY\1\0", 8);
    header[8] = NPY_HEADER - 10;
    header[9] = 0;
    memcpy(header + 10, text, (size_t)n);
    header[NPY_HEADER - 1] = '\n';
}

/* A cursor over the header's Python dictionary. */
struct text {
    const char *p, *end;
};

static void skip_space(struct text *t)
{
    while (t->p < t->end && isspace((unsigned char)*t->p))
        t->p++;
}

static bool accept(struct text *t, const char *word)
{
    skip_space(t);
    size_t n = strlen(word);
    if ((size_t)(t->end - t->p) < n || memcmp(t->p, word, n) != 0)
        return false;
    t->p += n;
    return true;
}

/* 'word' or "word", at most 15 characters. */
static bool quoted(char word[16], struct text *t)
{
    char quote = accept(t, "'") ? '\'' : accept(t, "\"") ? '"' : 0;
    const char *end = quote ? memchr(t->p, quote, (size_t)(t->end - t->p)) : NULL;
    if (!end || end - t->p > 15)
        return false;
    memcpy(word, t->p, (size_t)(end - t->p));
    word[end - t->p] = '\0';
    t->p = end + 1;
    return true;
}

static bool number(int64_t *v, struct text *t)
{
    skip_space(t);
    const char *start = t->p;
    for (*v = 0; t->p < t->end && isdigit((unsigned char)*t->p); t->p++)
        if (__builtin_mul_overflow(*v, 10, v) || __builtin_add_overflow(*v, *t->p - '0', v))
            return false;
    return t->p > start;
}

static int take_type(struct npy *f, struct text *t)
{
    char word[16];
    if (!quoted(word, t))
        return err_set(ERR_DATA, "'descr' is no plain element type");
    f->swapped = word[0] == '>';
    for (size_t i = 0; i < TYPES; i++)
        if (strchr("<>|=", word[0]) && !strcmp(word + 1, types[i].name))
            f->dtype = types[i].dtype;
    return f->dtype != DT_NONE
               ? 0
               : err_set(ERR_DATA,
                         "element type '%s', expected float16, float32, float64, int8, uint8, "
                         "int32, int64 or bool",
                         word);
}

static int take_shape(struct npy *f, struct text *t)
{
    if (!accept(t, "("))
        return err_set(ERR_DATA, "'shape' is no tuple");
    f->ndim = 0;
    while (!accept(t, ")")) {
        if (f->ndim == NPY_DIMS)
            return err_set(ERR_DATA, "more than %d dimensions", NPY_DIMS);
        if (!number(&f->dim[f->ndim++], t))
            return err_set(ERR_DATA, "'shape' holds something that is no size");
        accept(t, ",");
    }
    return 0;
}

static int take_entry(struct npy *f, struct text *t)
{
    char key[16];
    if (!quoted(key, t) || !accept(t, ":"))
        return err_set(ERR_DATA, "header is no dictionary");
    if (!strcmp(key, "descr"))
        return take_type(f, t);
    if (!strcmp(key, "shape"))
        return take_shape(f, t);
    if (strcmp(key, "fortran_order") != 0)
        return err_set(ERR_DATA, "unknown key '%s' in the header", key);
    if (accept(t, "False"))
        return 0;
    return err_set(ERR_DATA, "Fortran order; save numpy.ascontiguousarray(a) instead");
}

static int parse(struct npy *f, struct text t)
{
    f->ndim = -1;
    f->dtype = DT_NONE;
    if (!accept(&t, "{"))
        return err_set(ERR_DATA, "header is no dictionary");
    while (!accept(&t, "}")) {
        if (take_entry(f, &t) < 0)
            return -1;
        accept(&t, ",");
    }
    if (f->dtype == DT_NONE || f->ndim < 0)
        return err_set(ERR_DATA, "header without 'descr' or 'shape'");
    return 0;
}

/* Where header text and data lie: 10 bytes before the text in version 1, 12 later. */
static int frame(struct npy *f, struct text *text)
{
    const unsigned char *p = f->map.data;
    if (f->map.len < 12 || memcmp(p, "\x93NUMPY", 6) != 0)
        return err_set(ERR_DATA, "not a .npy file");
    size_t start = p[6] == 1 ? 10 : 12, n = p[8] | (size_t)p[9] << 8;
    if (p[6] < 1 || p[6] > 3)
        return err_set(ERR_DATA, ".npy version %d, expected 1 to 3", p[6]);
    if (p[6] > 1)
        n |= (size_t)p[10] << 16 | (size_t)p[11] << 24;
    if (n > f->map.len - start)
        return err_set(ERR_DATA, "truncated in its header");
    *text = (struct text){ (const char *)p + start, (const char *)p + start + n };
    f->data = p + start + n;
    return 0;
}

static int check_length(const struct npy *f)
{
    size_t want, have = f->map.len - (size_t)(f->data - f->map.data);
    if (tensor_size_checked(&want, f->dtype, f->ndim, f->dim) < 0)
        return -1;
    return want == have ? 0
                        : err_set(ERR_DATA, "%zu bytes of data, expected %zu: %s", have, want,
                                  have < want ? "truncated" : "something follows the array");
}

int npy_open(struct npy *f, const char *path)
{
    struct text text;
    if (io_map(&f->map, path) < 0)
        return -1;
    if (frame(f, &text) == 0 && parse(f, text) == 0 && check_length(f) == 0)
        return 0;
    npy_close(f);
    return err_wrap("%s", path);
}

void npy_close(struct npy *f)
{
    io_unmap(&f->map);
}

static void swap_items(unsigned char *p, size_t bytes, size_t item)
{
    for (unsigned char *end = p + bytes; p < end; p += item)
        for (size_t i = 0; i < item / 2; i++) {
            unsigned char c = p[i];
            p[i] = p[item - 1 - i];
            p[item - 1 - i] = c;
        }
}

/* The tensor of the last ndim dims, at that many bytes into the data. */
static int view(struct tensor *t, const struct npy *f, int skip, size_t at, struct arena *mem)
{
    int ndim = f->ndim - skip;
    if (ndim < 0 || ndim > TENSOR_DIMS)
        return err_set(ERR_DATA, "%d dimensions, expected %d to %d", f->ndim, skip,
                       TENSOR_DIMS + skip);
    *t = (struct tensor){ .data = (void *)(f->data + at), .dtype = f->dtype, .ndim = ndim };
    memcpy(t->dim, f->dim + skip, (size_t)ndim * sizeof *t->dim);
    size_t item = dtype_size(f->dtype);
    if (!f->swapped && (uintptr_t)t->data % item == 0)
        return 0;
    t->data = arena_memdup(mem, t->data, tensor_bytes(*t));
    if (!t->data)
        return -1;
    if (f->swapped)
        swap_items(t->data, tensor_bytes(*t), item);
    return 0;
}

int npy_tensor(struct tensor *t, const struct npy *f, struct arena *mem)
{
    return view(t, f, 0, 0, mem);
}

int npy_row(struct tensor *t, const struct npy *f, int64_t i, struct arena *mem)
{
    size_t row;
    if (tensor_size_checked(&row, f->dtype, f->ndim - 1, f->dim + 1) < 0)
        return -1;
    return view(t, f, 1, row * (size_t)i, mem);
}
