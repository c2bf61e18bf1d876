/* pack.c - the only file that includes msgpack-c: see pack.h. */
#include "wire/pack.h"

#include "base/err.h"
#include "wire/numpy.h"

#include <msgpack.h>
#include <string.h>

/* msgpack-c writes through a callback; a failure sticks and is looked at once, at the end. */
struct out {
    pack_sink *sink;
    void *ctx;
    int failed;
    msgpack_packer pk;
};

static int callback(void *data, const char *p, size_t n)
{
    struct out *o = data;
    if (!o->failed && o->sink(o->ctx, p, n) < 0)
        o->failed = 1;
    return o->failed ? -1 : 0;
}

static void out_init(struct out *o, pack_sink *sink, void *ctx)
{
    o->sink = sink;
    o->ctx = ctx;
    o->failed = 0;
    msgpack_packer_init(&o->pk, o, callback);
}

static void put_str(struct out *o, const char *s, size_t n)
{
    msgpack_pack_str(&o->pk, n);
    msgpack_pack_str_body(&o->pk, s, n);
}

static void put_cstr(struct out *o, const char *s)
{
    put_str(o, s, strlen(s));
}

static void put_bin(struct out *o, const void *p, size_t n)
{
    msgpack_pack_bin(&o->pk, n);
    msgpack_pack_bin_body(&o->pk, p, n);
}

static void put_bin_key(struct out *o, const char *s)
{
    put_bin(o, s, strlen(s));
}

/* Keys in msgpack-numpy's order; bf16 adds one that its reader ignores. */
static void put_tensor(struct out *o, struct tensor t)
{
    msgpack_pack_map(&o->pk, t.dtype == DT_BF16 ? 6 : 5);
    put_bin_key(o, "nd");
    msgpack_pack_true(&o->pk);
    put_bin_key(o, "type");
    put_cstr(o, numpy_type(t.dtype));
    put_bin_key(o, "kind");
    put_bin(o, "", 0);
    put_bin_key(o, "shape");
    msgpack_pack_array(&o->pk, (size_t)t.ndim);
    for (int i = 0; i < t.ndim; i++)
        msgpack_pack_int64(&o->pk, t.dim[i]);
    if (t.dtype == DT_BF16) {
        put_bin_key(o, "bf16");
        msgpack_pack_true(&o->pk);
    }
    put_bin_key(o, "data");
    put_bin(o, t.data, tensor_bytes(t));
}

static void put_value(struct out *o, const struct record_field *f)
{
    if (f->raw) { /* as it came, byte for byte */
        callback(o, (const char *)f->raw, f->raw_len);
        return;
    }
    switch (f->type) {
    case RECORD_BOOL:
        f->i ? msgpack_pack_true(&o->pk) : msgpack_pack_false(&o->pk);
        break;
    case RECORD_INT:
        msgpack_pack_int64(&o->pk, f->i);
        break;
    case RECORD_FLOAT:
        msgpack_pack_double(&o->pk, f->f);
        break;
    case RECORD_STR:
        put_str(o, f->str, f->str_len);
        break;
    case RECORD_BIN:
        put_bin(o, f->str, f->str_len);
        break;
    case RECORD_TENSOR:
        put_tensor(o, f->tensor);
        break;
    case RECORD_NIL:
    case RECORD_OTHER:
        msgpack_pack_nil(&o->pk);
    }
}

int pack_record(pack_sink *sink, void *ctx, const struct record *r)
{
    struct out o;
    out_init(&o, sink, ctx);
    msgpack_pack_map(&o.pk, (size_t)r->n);
    for (int i = 0; i < r->n; i++) {
        put_str(&o, r->field[i].key, r->field[i].key_len);
        put_value(&o, &r->field[i]);
    }
    return o.failed ? -1 : 0;
}

static void put_producer(struct out *o, const struct wire_producer *p)
{
    msgpack_pack_map(&o->pk, 2 + (p->model != NULL) + (p->args != NULL));
    put_cstr(o, "program");
    put_cstr(o, p->program);
    put_cstr(o, "version");
    put_cstr(o, p->version);
    if (p->model) {
        put_cstr(o, "model");
        put_cstr(o, p->model);
    }
    if (p->args) {
        put_cstr(o, "args");
        put_cstr(o, p->args);
    }
}

int pack_header(pack_sink *sink, void *ctx, const void *via, size_t via_bytes, size_t via_count,
                const struct wire_producer *me)
{
    struct out o;
    out_init(&o, sink, ctx);
    msgpack_pack_map(&o.pk, 1);
    put_cstr(&o, "stream");
    msgpack_pack_map(&o.pk, 2);
    put_cstr(&o, "version");
    msgpack_pack_int(&o.pk, WIRE_VERSION);
    put_cstr(&o, "via");
    msgpack_pack_array(&o.pk, via_count + (me != NULL));
    if (via_bytes)
        callback(&o, via, via_bytes);
    if (me)
        put_producer(&o, me);
    return o.failed ? -1 : 0;
}

int pack_end(pack_sink *sink, void *ctx, struct wire_counts c, const unsigned char *sha256)
{
    struct out o;
    out_init(&o, sink, ctx);
    msgpack_pack_map(&o.pk, 1);
    put_cstr(&o, "end");
    msgpack_pack_map(&o.pk, 3);
    put_cstr(&o, "records");
    msgpack_pack_uint64(&o.pk, c.records);
    put_cstr(&o, "errors");
    msgpack_pack_uint64(&o.pk, c.errors);
    put_cstr(&o, "sha256");
    put_bin(&o, sha256, 32);
    return o.failed ? -1 : 0;
}

int pack_abort(pack_sink *sink, void *ctx, const char *kind, const char *message)
{
    struct out o;
    out_init(&o, sink, ctx);
    msgpack_pack_map(&o.pk, 1);
    put_cstr(&o, "abort");
    msgpack_pack_map(&o.pk, 2);
    put_cstr(&o, "kind");
    put_cstr(&o, kind);
    put_cstr(&o, "message");
    put_cstr(&o, message);
    return o.failed ? -1 : 0;
}

static int to_buf(void *ctx, const void *p, size_t n)
{
    return buf_append(ctx, p, n);
}

int pack_error(struct buf *out, const char *kind, const char *stage, const char *message)
{
    struct out o;
    out_init(&o, to_buf, out);
    msgpack_pack_map(&o.pk, 3);
    put_cstr(&o, "kind");
    put_cstr(&o, kind);
    put_cstr(&o, "stage");
    put_cstr(&o, stage);
    put_cstr(&o, "message");
    put_cstr(&o, message);
    return o.failed ? -1 : 0;
}
