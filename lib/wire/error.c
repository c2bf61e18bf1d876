/* error.c - error records, and the abort record that ends a stream. See record.h, wire.h. */
#include "base/err.h"
#include "base/io.h"
#include "base/utf8.h"
#include "wire/pack.h"
#include "wire/record.h"
#include "wire/unpack.h"
#include "wire/wire.h"

#include <stdio.h>
#include <string.h>

bool record_is_error(const struct record *r)
{
    return record_has(r, "err");
}

static void copy(char *dst, size_t size, const struct unpack_token *t)
{
    if (t->type == UNPACK_STR)
        snprintf(dst, size, "%.*s", (int)(t->n < size ? t->n : size - 1), (const char *)t->p);
}

static bool is_key(const struct unpack_token *k, const char *name)
{
    return k->type == UNPACK_STR && k->n == strlen(name) && !memcmp(k->p, name, k->n);
}

int record_get_error(struct record_error *e, const struct record *r)
{
    const struct record_field *f = record_find(r, "err");
    *e = (struct record_error){ "data", "?", "error without a message" };
    if (!f)
        return 0;
    struct unpack u = { f->raw, f->raw ? f->raw + f->raw_len : NULL };
    if (!f->raw)
        return 1;
    struct unpack_token map = unpack_next(&u);
    if (map.type != UNPACK_MAP) {
        copy(e->message, sizeof e->message, &map); /* somebody's plain "err": "text" */
        return 1;
    }
    for (size_t i = 0; i < map.n; i++) {
        struct unpack_token key = unpack_next(&u);
        if (key.type == UNPACK_ARRAY || key.type == UNPACK_MAP)
            return 1;
        struct unpack at = u;
        struct unpack_token v = unpack_next(&at);
        if (is_key(&key, "kind"))
            copy(e->kind, sizeof e->kind, &v);
        else if (is_key(&key, "stage"))
            copy(e->stage, sizeof e->stage, &v);
        else if (is_key(&key, "message"))
            copy(e->message, sizeof e->message, &v);
        unpack_skip(&u);
    }
    return 1;
}

/* A message may quote a file name that is not UTF-8: '?' for every byte that is not. */
static void make_utf8(char *s)
{
    size_t left = strlen(s), step;
    for (; left; s += step, left -= step)
        if (!(step = utf8_char(s, left))) {
            *s = '?';
            step = 1;
        }
}

static int to_fd(void *ctx, const void *p, size_t n)
{
    return io_write_full(*(int *)ctx, p, n);
}

void wire_abort(int fd, const char *program)
{
    char message[ERR_MAX];
    struct err_saved e;
    err_save(&e);
    if (e.said)
        snprintf(message, sizeof message, "%s", e.msg);
    else
        snprintf(message, sizeof message, "%.64s: %.*s", program, ERR_MAX - 70, e.msg);
    make_utf8(message);
    pack_abort(to_fd, &fd, err_kind_name(e.kind), message);
    err_restore(&e);
}

static void keep_only(struct record *r, const char *const *keys)
{
    int kept = 0;
    for (int i = 0; i < r->n; i++)
        for (const char *const *k = keys; *k; k++)
            if (r->field[i].key_len == strlen(*k) &&
                !memcmp(r->field[i].key, *k, r->field[i].key_len))
                r->field[kept++] = r->field[i];
    r->n = kept;
}

int record_put_error(struct record *r, const char *stage)
{
    static const char *const keys[] = { "id", "path", "prompt", NULL };
    char message[512];
    snprintf(message, sizeof message, "%s", err_msg());
    make_utf8(message);
    struct buf b;
    buf_init(&b);
    keep_only(r, keys);
    int rc = pack_error(&b, err_kind_name(err_kind()), stage, message);
    void *copy_of = rc < 0 ? NULL : arena_memdup(&r->mem, b.data, b.len);
    size_t len = b.len;
    buf_release(&b);
    if (!copy_of || record_put_bin(r, "err", "", 0) < 0)
        return -1;
    struct record_field *f = &r->field[r->n - 1];
    f->type = RECORD_OTHER;
    f->raw = copy_of;
    f->raw_len = len;
    return 0;
}
