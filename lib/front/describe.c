/* describe.c - see describe.h. */
#include "front/describe.h"

#include "tensor/stats.h"

#include <jansson.h>
#include <string.h>

static const char *const type_name[] = { "nil", "bool", "int",    "float",
                                         "str", "bin",  "tensor", "other" };

static json_t *real_or_null(double v)
{
    return v == v ? json_real(v) : json_null();
}

static json_t *tensor_json(struct tensor t)
{
    struct tensor_stats s = tensor_stats(t);
    json_t *shape = json_array();
    for (int i = 0; i < t.ndim; i++)
        json_array_append_new(shape, json_integer(t.dim[i]));
    return json_pack("{s:s, s:o, s:o, s:o, s:o, s:I}", "dtype", dtype_name(t.dtype), "shape",
                     shape, "min", real_or_null(s.min), "mean", real_or_null(s.mean), "max",
                     real_or_null(s.max), "not_finite", (json_int_t)s.bad);
}

static json_t *value_json(const struct record_field *f)
{
    switch (f->type) {
    case RECORD_BOOL:
        return json_boolean(f->i);
    case RECORD_INT:
        return json_integer(f->i);
    case RECORD_FLOAT:
        return real_or_null(f->f);
    case RECORD_STR:
        return json_stringn(f->str, f->str_len);
    case RECORD_TENSOR:
        return tensor_json(f->tensor);
    case RECORD_BIN:
        return json_pack("{s:s, s:I}", "type", "bin", "bytes", (json_int_t)f->str_len);
    case RECORD_NIL:
    case RECORD_OTHER:
        break;
    }
    return json_pack("{s:s, s:I}", "type", type_name[f->type], "bytes", (json_int_t)f->raw_len);
}

static json_t *error_json(const struct record_error *e)
{
    return json_pack("{s:s, s:s, s:s}", "kind", e->kind, "stage", e->stage, "message",
                     e->message);
}

void describe_json(FILE *f, const struct record *rec)
{
    struct record_error e;
    bool failed = record_get_error(&e, rec);
    json_t *o = json_object();
    for (int i = 0; i < rec->n; i++) {
        const struct record_field *x = &rec->field[i];
        bool err = failed && x->key_len == 3 && !memcmp(x->key, "err", 3);
        json_t *v = err ? error_json(&e) : value_json(x);
        json_object_setn_new_nocheck(o, x->key, x->key_len, v ? v : json_null());
    }
    json_dumpf(o, f, JSON_COMPACT);
    fputc('\n', f);
    json_decref(o);
}

const char *describe_type(enum record_type t)
{
    return type_name[t];
}
