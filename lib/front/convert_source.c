/* convert_source.c - .npy and .safetensors files as records: see convert.h. */
#include "base/buf.h"
#include "base/err.h"
#include "base/io.h"
#include "front/convert.h"
#include "store/npy.h"
#include "store/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One tensor of a .safetensors file: FIELD/ID, or a name without a slash. */
struct item {
    const struct safetensors_entry *e;
    const char *id; /* after the slash, else the file's own */
    size_t field;   /* length of the field's name */
    size_t first;   /* where the first tensor with this id lies: the order of records */
};

struct convert_source {
    const struct convert *c;
    bool is_npy, open;
    char **files;
    int left;
    struct buf ids; /* the ids file: lines ended by NUL */
    size_t id_at;
    int64_t count; /* records given so far */

    struct npy npy;
    int64_t row;

    struct safetensors st;
    struct arena mem; /* of the open file */
    char *stem;       /* its name without directory and .npy or .safetensors */
    struct item *items;
    size_t at;
};

static int read_ids(struct convert_source *s)
{
    if (io_read_file(&s->ids, s->c->ids, (size_t)1 << 30) < 0)
        return -1;
    if (s->ids.len && s->ids.data[s->ids.len - 1] != '\n' && buf_putc(&s->ids, '\n') < 0)
        return -1;
    for (size_t i = 0; i < s->ids.len; i++)
        if (s->ids.data[i] == '\n')
            s->ids.data[i] = '\0';
    return 0;
}

struct convert_source *convert_source_new(const struct convert *c, bool npy, char **files,
                                          int n)
{
    struct convert_source *s = calloc(1, sizeof *s);
    if (!s)
        return err_null(ERR_OS, "out of memory");
    *s = (struct convert_source){ .c = c, .is_npy = npy, .files = files, .left = n };
    if (c->ids && read_ids(s) < 0) {
        convert_source_free(s);
        return NULL;
    }
    return s;
}

static void close_file(struct convert_source *s)
{
    if (s->open && s->is_npy)
        npy_close(&s->npy);
    else if (s->open)
        safetensors_close(&s->st);
    s->open = false;
    arena_release(&s->mem);
}

void convert_source_free(struct convert_source *s)
{
    if (!s)
        return;
    close_file(s);
    buf_release(&s->ids);
    free(s);
}

/* The id of the next record: from the ids file, else as given. */
static int put_id(struct convert_source *s, struct record *rec, const char *otherwise)
{
    const char *id = otherwise;
    if (s->c->ids) {
        if (s->id_at == s->ids.len)
            return err_set(ERR_DATA, "%s: %lld ids, expected more: one for each record",
                           s->c->ids, (long long)s->count);
        id = (char *)s->ids.data + s->id_at;
        s->id_at += strlen(id) + 1;
    }
    s->count++;
    return record_put_str(rec, "id", id, strlen(id));
}

static int no_ids_left(const struct convert_source *s)
{
    return s->id_at == s->ids.len ? 0
                                  : err_set(ERR_DATA, "%s: more ids than the %lld records",
                                            s->c->ids, (long long)s->count);
}

/* ---- .npy ---- */

static int next_row(struct convert_source *s, struct record *rec)
{
    struct tensor t;
    char *number = arena_alloc(record_mem(rec), 24);
    if (!number || npy_row(&t, &s->npy, s->row++, record_mem(rec)) < 0)
        return -1;
    snprintf(number, 24, "%lld", (long long)s->count);
    if (put_id(s, rec, number) < 0)
        return -1;
    return record_put_tensor(rec, s->c->field, t) < 0 ? -1 : 1;
}

static int next_whole(struct convert_source *s, struct record *rec)
{
    struct tensor t;
    s->row = INT64_MAX;
    if (npy_tensor(&t, &s->npy, record_mem(rec)) < 0 || put_id(s, rec, s->stem) < 0)
        return -1;
    return record_put_tensor(rec, s->c->field, t) < 0 ? -1 : 1;
}

static int next_npy(struct convert_source *s, struct record *rec)
{
    if (s->c->per_record)
        return s->row ? 0 : next_whole(s, rec);
    if (s->npy.ndim == 0)
        return err_set(ERR_DATA, "one number, expected an array with a row for each record");
    return s->row == s->npy.dim[0] ? 0 : next_row(s, rec);
}

/* ---- .safetensors ---- */

static int by_id(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    int order = strcmp(x->id, y->id);
    return order ? order : (x->e->begin > y->e->begin) - (x->e->begin < y->e->begin);
}

static int by_place(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    if (x->first != y->first)
        return x->first < y->first ? -1 : 1;
    return by_id(a, b);
}

/* Tensors of one id next to each other, in the order of the data. */
static int group(struct convert_source *s)
{
    s->items = arena_calloc(&s->mem, s->st.count + 1, sizeof *s->items);
    if (!s->items)
        return -1;
    for (size_t i = 0; i < s->st.count; i++) {
        const struct safetensors_entry *e = &s->st.entries[i];
        const char *slash = strchr(e->name, '/');
        s->items[i] = (struct item){ e, slash ? slash + 1 : s->stem,
                                     slash ? (size_t)(slash - e->name) : strlen(e->name), 0 };
    }
    qsort(s->items, s->st.count, sizeof *s->items, by_id);
    for (size_t i = 0; i < s->st.count; i++)
        s->items[i].first = i && !strcmp(s->items[i].id, s->items[i - 1].id)
                                ? s->items[i - 1].first
                                : s->items[i].e->begin;
    qsort(s->items, s->st.count, sizeof *s->items, by_place);
    s->at = 0;
    return 0;
}

static int put_item(struct record *rec, const struct item *it)
{
    struct tensor t;
    const char *key = arena_strndup(record_mem(rec), it->e->name, it->field);
    if (!key || safetensors_tensor(&t, it->e) < 0)
        return -1;
    if (it->field == 0 || it->field > 128)
        return err_set(ERR_DATA,
                       "tensor '%s': the field's name has %zu bytes, expected 1 to 128",
                       it->e->name, it->field);
    size_t size = dtype_size(t.dtype);
    if ((uintptr_t)t.data % size != 0)
        t.data = arena_memdup(record_mem(rec), t.data, tensor_bytes(t));
    return t.data ? record_put_tensor(rec, key, t) : -1;
}

/* A checkpoint is one record of hundreds of tensors. */
static int check_group(const struct convert_source *s, const char *id)
{
    size_t n = 0, room = RECORD_FIELDS - 1;
    while (s->at + n < s->st.count && !strcmp(s->items[s->at + n].id, id))
        n++;
    return n > room ? err_set(ERR_DATA,
                              "%s: %zu tensors, expected %zu at most in a record, or --field "
                              "NAME",
                              id, n, room)
                    : 0;
}

static int next_group(struct convert_source *s, struct record *rec)
{
    if (s->at == s->st.count)
        return 0;
    const char *id = s->items[s->at].id;
    if (!s->c->field && check_group(s, id) < 0)
        return -1;
    if (put_id(s, rec, id) < 0)
        return -1;
    for (; s->at < s->st.count && !strcmp(s->items[s->at].id, id); s->at++) {
        const struct item *it = &s->items[s->at];
        if (s->c->field && (strlen(s->c->field) != it->field ||
                            memcmp(s->c->field, it->e->name, it->field) != 0))
            continue;
        if (put_item(rec, it) < 0)
            return -1;
    }
    return 1;
}

/* ---- files ---- */

static char *stem_of(struct arena *mem, const char *path)
{
    const char *name = strrchr(path, '/');
    name = name ? name + 1 : path;
    const char *dot = strrchr(name, '.');
    bool ours = dot && (!strcmp(dot, ".npy") || !strcmp(dot, ".safetensors"));
    return arena_strndup(mem, name, ours ? (size_t)(dot - name) : strlen(name));
}

static int open_next(struct convert_source *s)
{
    const char *path = *s->files++;
    s->left--;
    s->row = 0;
    s->stem = stem_of(&s->mem, path);
    if (!s->stem)
        return -1;
    if ((s->is_npy ? npy_open(&s->npy, path) : safetensors_open(&s->st, path, &s->mem)) < 0)
        return -1;
    s->open = true;
    return s->is_npy ? 0 : group(s);
}

int convert_source_next(struct convert_source *s, struct record *rec)
{
    for (;;) {
        if (!s->open && s->left == 0)
            return no_ids_left(s);
        if (!s->open && open_next(s) < 0)
            return -1;
        int got = s->is_npy ? next_npy(s, rec) : next_group(s, rec);
        if (got != 0)
            return got < 0 ? err_wrap("%s", s->files[-1]) : got;
        close_file(s);
    }
}
