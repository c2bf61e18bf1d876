/* convert.c - see convert.h: streams to files. The other way is convert_source.c. */
#include "front/convert.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/io.h"
#include "base/outfile.h"
#include "cli/die.h"
#include "store/npy.h"
#include "store/safetensors_out.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef int put_fn(void *ctx, struct record *rec);

/* Every record but the failed ones, which are told of: 0, 1 if there were any, -1. */
static int each_record(struct wire_reader *in, put_fn *put, void *ctx)
{
    struct record rec;
    struct record_error e;
    int rc, failed = 0;
    record_init(&rec);
    while ((rc = wire_read(in, &rec)) > 0) {
        if (record_get_error(&e, &rec)) {
            cli_report(record_id(&rec), e.message);
            failed = 1;
        } else if (put(ctx, &rec) < 0) {
            rc = err_wrap("%s", record_id(&rec));
            break;
        }
    }
    record_release(&rec);
    return rc < 0 ? -1 : failed;
}

/* The id's bytes; a record without one is called by its place. */
static int id_of(const char **s, size_t *n, struct record *rec, int64_t place)
{
    int got = record_get_str(s, n, rec, "id");
    if (got < 0)
        return -1;
    if (got == 0) {
        char number[24];
        *n = (size_t)snprintf(number, sizeof number, "%lld", (long long)place);
        *s = arena_memdup(record_mem(rec), number, *n);
        return *s ? 0 : -1;
    }
    if (memchr(*s, '\0', *n) || memchr(*s, '\n', *n))
        return err_set(ERR_DATA, "the id holds a NUL or a newline");
    return 0;
}

/* ---- .npy ---- */

struct npy_out {
    const struct convert *c;
    const char *out;
    char field[129]; /* the one chosen at the first record */
    struct outfile file, ids;
    struct tensor like; /* the first record's */
    int64_t count;
};

static int choose_field(struct npy_out *o, const struct record *rec)
{
    const struct record_field *only = NULL;
    for (int i = 0; i < rec->n; i++) {
        const struct record_field *f = &rec->field[i];
        if (f->type != RECORD_TENSOR)
            continue;
        if (only)
            return err_set(ERR_USAGE, "several tensors (%.*s, %.*s); expected --field",
                           (int)only->key_len, only->key, (int)f->key_len, f->key);
        only = f;
    }
    if (!only)
        return err_set(ERR_DATA, "no tensor in it");
    snprintf(o->field, sizeof o->field, "%.*s", (int)only->key_len, only->key);
    return 0;
}

/* The record's tensor in a type that NumPy has. */
static int take_tensor(struct tensor *t, struct npy_out *o, struct record *rec)
{
    if (!o->field[0] && choose_field(o, rec) < 0)
        return -1;
    int got = record_get_tensor(t, rec, o->field);
    if (got <= 0)
        return got < 0 ? -1 : err_set(ERR_DATA, "no field %s", o->field);
    if (t->dtype != DT_BF16)
        return 0;
    float *f = arena_calloc(record_mem(rec), (size_t)tensor_count(*t), sizeof *f);
    if (!f)
        return -1;
    tensor_to_f32(f, *t);
    t->data = f;
    t->dtype = DT_F32;
    return 0;
}

static int put_row(struct npy_out *o, struct tensor t)
{
    char got[TENSOR_SHAPE_MAX], want[TENSOR_SHAPE_MAX];
    if (o->count == 0)
        o->like = t;
    if (t.dtype != o->like.dtype || !tensor_same_shape(t, o->like))
        return err_set(ERR_DATA,
                       "%s: %s %s, expected %s %s as in the first record; --per-record writes "
                       "a file each",
                       o->field, dtype_name(t.dtype), tensor_shape_str(got, t),
                       dtype_name(o->like.dtype), tensor_shape_str(want, o->like));
    return io_write_full(o->file.fd, t.data, tensor_bytes(t));
}

static int put_file(struct npy_out *o, struct tensor t)
{
    char path[4096];
    unsigned char header[NPY_HEADER];
    struct outfile f;
    snprintf(path, sizeof path, "%s/%06lld.npy", o->out, (long long)o->count);
    if (outfile_open(&f, path) < 0)
        return -1;
    npy_header(header, t, -1);
    if (io_write_full(f.fd, header, sizeof header) < 0 ||
        io_write_full(f.fd, t.data, tensor_bytes(t)) < 0) {
        outfile_discard(&f);
        return err_wrap("%s", path);
    }
    return outfile_publish(&f);
}

static int put_id(struct npy_out *o, struct record *rec)
{
    const char *s;
    size_t n;
    if (id_of(&s, &n, rec, o->count) < 0 || io_write_full(o->ids.fd, s, n) < 0)
        return -1;
    return io_write_full(o->ids.fd, "\n", 1);
}

static int put_npy(void *ctx, struct record *rec)
{
    struct npy_out *o = ctx;
    struct tensor t;
    if (take_tensor(&t, o, rec) < 0 ||
        (o->c->per_record ? put_file(o, t) : put_row(o, t)) < 0 ||
        (o->c->ids && put_id(o, rec) < 0))
        return -1;
    o->count++;
    return 0;
}

/* The header's place is kept free until the count is known. */
static int begin_npy(struct npy_out *o)
{
    static const unsigned char room[NPY_HEADER];
    if (o->c->ids && outfile_open(&o->ids, o->c->ids) < 0)
        return -1;
    if (o->c->per_record)
        return mkdir(o->out, 0777) < 0 && errno != EEXIST ? err_sys(ERR_IO, "%s", o->out) : 0;
    if (outfile_open(&o->file, o->out) < 0)
        return -1;
    return io_write_full(o->file.fd, room, sizeof room);
}

static int finish_npy(struct npy_out *o)
{
    unsigned char header[NPY_HEADER];
    if (!o->c->per_record) {
        npy_header(header, o->like, o->count);
        if (lseek(o->file.fd, 0, SEEK_SET) < 0)
            return err_sys(ERR_IO, "%s", o->out);
        if (io_write_full(o->file.fd, header, sizeof header) < 0 ||
            outfile_publish(&o->file) < 0)
            return -1;
    }
    return o->c->ids ? outfile_publish(&o->ids) : 0;
}

int convert_to_npy(const struct convert *c, struct wire_reader *in, const char *out)
{
    struct npy_out o = { .c = c, .out = out, .like = { .dtype = DT_F32 } };
    if (c->field)
        snprintf(o.field, sizeof o.field, "%s", c->field);
    int rc = begin_npy(&o) < 0 ? -1 : each_record(in, put_npy, &o);
    if (rc >= 0 && finish_npy(&o) < 0)
        rc = -1;
    outfile_discard(&o.file);
    outfile_discard(&o.ids);
    return rc;
}

/* ---- .safetensors ---- */

struct safetensors_target {
    const struct convert *c;
    struct safetensors_out out;
    int64_t count;
};

/* FIELD/ID into name, or FIELD/ID#2 and so on where that is taken. */
static int unused_name(struct buf *name, const struct safetensors_out *o,
                       const struct record_field *f, const char *id, size_t n)
{
    buf_clear(name);
    if (buf_append(name, f->key, f->key_len) < 0 || buf_putc(name, '/') < 0 ||
        buf_append(name, id, n) < 0 || !buf_str(name))
        return -1;
    size_t len = name->len;
    for (int i = 2; safetensors_out_has(o, (char *)name->data); i++) {
        name->len = len;
        if (buf_printf(name, "#%d", i) < 0 || !buf_str(name))
            return -1;
    }
    return 0;
}

static int put_safetensors(void *ctx, struct record *rec)
{
    struct safetensors_target *o = ctx;
    struct buf name;
    const char *id;
    size_t n;
    bool any = false;
    int rc = id_of(&id, &n, rec, o->count++);
    buf_init(&name);
    for (int i = 0; i < rec->n && rc == 0; i++) {
        const struct record_field *f = &rec->field[i];
        if (f->type != RECORD_TENSOR || (o->c->field && f != record_find(rec, o->c->field)))
            continue;
        any = true;
        rc = unused_name(&name, &o->out, f, id, n);
        if (rc == 0)
            rc = safetensors_out_add(&o->out, (char *)name.data, f->tensor);
    }
    buf_release(&name);
    if (rc == 0 && o->c->field && !any)
        rc = err_set(ERR_DATA, "no field %s", o->c->field);
    return rc;
}

int convert_to_safetensors(const struct convert *c, struct wire_reader *in, const char *out)
{
    struct safetensors_target o = { .c = c };
    int rc = safetensors_out_open(&o.out, out);
    if (rc == 0)
        rc = each_record(in, put_safetensors, &o);
    if (rc >= 0 && safetensors_out_finish(&o.out) < 0)
        rc = -1;
    safetensors_out_close(&o.out);
    return rc;
}
