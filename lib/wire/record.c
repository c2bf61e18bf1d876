/* record.c - fields of a record: see record.h. */
#include "wire/record.h"

#include "base/err.h"
#include "base/utf8.h"

#include <stdio.h>
#include <string.h>

void record_init(struct record *r)
{
    r->n = 0;
    r->lazy = false;
    buf_init(&r->bytes);
    arena_init(&r->mem);
}

void record_clear(struct record *r)
{
    r->n = 0;
    buf_clear(&r->bytes);
    arena_reset(&r->mem);
}

void record_release(struct record *r)
{
    r->n = 0;
    buf_release(&r->bytes);
    arena_release(&r->mem);
}

static bool is_key(const struct record_field *f, const char *key)
{
    return f->key_len == strlen(key) && !memcmp(f->key, key, f->key_len);
}

const struct record_field *record_find(const struct record *r, const char *key)
{
    for (int i = 0; i < r->n; i++)
        if (is_key(&r->field[i], key))
            return &r->field[i];
    return NULL;
}

bool record_has(const struct record *r, const char *key)
{
    return record_find(r, key) != NULL;
}

static const char *const type_name[] = { "nil", "bool", "int",   "float",
                                         "str", "bin",  "array", "something else" };

static int wrong_type(const struct record_field *f, const char *key, const char *want)
{
    return err_set(ERR_DATA, "%s: %s, expected %s", key, type_name[f->type], want);
}

int record_get_str(const char **s, size_t *n, const struct record *r, const char *key)
{
    const struct record_field *f = record_find(r, key);
    if (!f)
        return 0;
    if (f->type != RECORD_STR && f->type != RECORD_BIN)
        return wrong_type(f, key, "str");
    *s = f->str;
    *n = f->str_len;
    return 1;
}

int record_get_bin(const char **s, size_t *n, const struct record *r, const char *key)
{
    const struct record_field *f = record_find(r, key);
    if (!f)
        return 0;
    if (f->type != RECORD_BIN)
        return wrong_type(f, key, "bin");
    *s = f->str;
    *n = f->str_len;
    return 1;
}

int record_get_int(int64_t *v, const struct record *r, const char *key)
{
    const struct record_field *f = record_find(r, key);
    if (!f)
        return 0;
    if (f->type != RECORD_INT && f->type != RECORD_BOOL)
        return wrong_type(f, key, "int");
    *v = f->i;
    return 1;
}

int record_get_float(double *v, const struct record *r, const char *key)
{
    const struct record_field *f = record_find(r, key);
    if (!f)
        return 0;
    if (f->type != RECORD_FLOAT && f->type != RECORD_INT)
        return wrong_type(f, key, "float");
    *v = f->type == RECORD_FLOAT ? f->f : (double)f->i;
    return 1;
}

int record_get_tensor(struct tensor *t, const struct record *r, const char *key)
{
    const struct record_field *f = record_find(r, key);
    if (!f)
        return 0;
    if (f->type != RECORD_TENSOR)
        return wrong_type(f, key, "array");
    *t = f->tensor;
    return 1;
}

/* The field to fill: the one of that name, or a new one at the end. */
static struct record_field *slot(struct record *r, const char *key)
{
    struct record_field *f = (struct record_field *)record_find(r, key);
    if (!f) {
        if (r->n == RECORD_FIELDS)
            return err_null(ERR_DATA, "%s: record has %d fields already, the limit", key,
                            RECORD_FIELDS);
        f = &r->field[r->n++];
    }
    *f = (struct record_field){ .key = key, .key_len = strlen(key) };
    return f;
}

int record_put_str(struct record *r, const char *key, const char *s, size_t n)
{
    struct record_field *f = slot(r, key);
    if (!f)
        return -1;
    f->type = utf8_valid(s, n) ? RECORD_STR : RECORD_BIN;
    f->str = s;
    f->str_len = n;
    return 0;
}

int record_put_bin(struct record *r, const char *key, const void *p, size_t n)
{
    struct record_field *f = slot(r, key);
    if (!f)
        return -1;
    f->type = RECORD_BIN;
    f->str = p;
    f->str_len = n;
    return 0;
}

int record_put_int(struct record *r, const char *key, int64_t v)
{
    struct record_field *f = slot(r, key);
    if (!f)
        return -1;
    f->type = RECORD_INT;
    f->i = v;
    return 0;
}

int record_put_float(struct record *r, const char *key, double v)
{
    struct record_field *f = slot(r, key);
    if (!f)
        return -1;
    f->type = RECORD_FLOAT;
    f->f = v;
    return 0;
}

int record_put_bool(struct record *r, const char *key, bool v)
{
    struct record_field *f = slot(r, key);
    if (!f)
        return -1;
    f->type = RECORD_BOOL;
    f->i = v;
    return 0;
}

int record_put_tensor(struct record *r, const char *key, struct tensor t)
{
    struct record_field *f = slot(r, key);
    if (!f)
        return -1;
    f->type = RECORD_TENSOR;
    f->tensor = t;
    return 0;
}

void record_drop(struct record *r, const char *key)
{
    struct record_field *f = (struct record_field *)record_find(r, key);
    if (!f)
        return;
    int at = (int)(f - r->field);
    memmove(f, f + 1, (size_t)(r->n - at - 1) * sizeof *f);
    r->n--;
}

void record_view(struct record *dst, const struct record *src)
{
    record_clear(dst);
    dst->n = src->n;
    memcpy(dst->field, src->field, (size_t)src->n * sizeof *src->field);
}

const char *record_id(struct record *r)
{
    const char *s;
    size_t n;
    const struct record_field *f = record_find(r, "id");
    if (f && f->type == RECORD_INT) {
        char digits[32];
        int len = snprintf(digits, sizeof digits, "%lld", (long long)f->i);
        s = arena_strndup(&r->mem, digits, (size_t)len);
        return s ? s : "record";
    }
    if (record_get_str(&s, &n, r, "id") <= 0)
        return "record";
    s = arena_strndup(&r->mem, s, n > 255 ? 255 : n);
    return s ? s : "record";
}
