/* quantized.c - linear layers that are whole numbers with scales, as a checkpoint stores them
 * (compressed-tensors), or made here when the caller asks for it, as bf16 are. See store.h. */
#include "base/err.h"
#include "store/open.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define NAME_LEN 320

/* ---- config.json ---- */

static int unknown(const char *key, const char *got, const char *expected)
{
    return err_set(ERR_CONFIG, "config.json: quantization_config.%s: %.60s, expected %s", key,
                   got, expected);
}

static int check_group(const char *name, const json_t *group, json_int_t bits)
{
    const json_t *w = json_object_get(group, "weights");
    const char *type = json_string_value(json_object_get(w, "type"));
    const json_t *symmetric = json_object_get(w, "symmetric");
    char key[96], got[32], want[32];
    snprintf(key, sizeof key, "config_groups.%.40s.weights.num_bits", name);
    snprintf(got, sizeof got, "%lld",
             (long long)json_integer_value(json_object_get(w, "num_bits")));
    snprintf(want, sizeof want, "%lld in this format", (long long)bits);
    if (json_integer_value(json_object_get(w, "num_bits")) != bits)
        return unknown(key, got, want);
    if (type && strcmp(type, "int"))
        return unknown("weights.type", type, "int");
    return json_is_false(symmetric) ? unknown("weights.symmetric", "false", "true") : 0;
}

int store_check_quantization(const struct store *s)
{
    json_t *q = json_object_get(s->config, "quantization_config"), *group;
    if (!q || json_is_null(q))
        return 0;
    const char *method = json_string_value(json_object_get(q, "quant_method"));
    const char *format = json_string_value(json_object_get(q, "format")), *name;
    if (!method || strcmp(method, "compressed-tensors"))
        return unknown("quant_method", method ? method : "absent", "compressed-tensors");
    bool half = format && !strcmp(format, "pack-quantized");
    if (!half && (!format || strcmp(format, "int-quantized")))
        return unknown("format", format ? format : "absent", "int-quantized or pack-quantized");
    json_object_foreach(json_object_get(q, "config_groups"), name, group)
    {
        if (check_group(name, group, half ? 4 : 8) < 0)
            return -1;
    }
    return 0;
}

/* ---- as stored ---- */

struct layer {
    struct tensor *weight, *scale;
    bool *by_input;      /* NULL: not wanted so */
    bool *rounds;        /* NULL: of a head */
    struct tensor *size; /* of a head */
    struct store *store;
    const char *name; /* "X.weight" */
    struct tensor want;
    struct arena *mem;
};

/* The tensor beside X.weight of that name, X.weight_scale: 1, 0 absent, -1 not one of ours. */
static int beside(struct tensor *t, const struct layer *l, const char *suffix)
{
    char name[NAME_LEN];
    snprintf(name, sizeof name, "%s%s", l->name, suffix);
    return store_find(t, l->store, name);
}

static int misshapen(const struct layer *l, const char *suffix, struct tensor t,
                     const char *expected)
{
    char got[TENSOR_SHAPE_MAX];
    err_set(ERR_CONFIG, "%s%s: %s %s, expected %s", l->name, suffix, dtype_name(t.dtype),
            tensor_shape_str(got, t), expected);
    return 1;
}

static bool is_float(struct tensor t)
{
    return t.dtype == DT_F32 || t.dtype == DT_F16 || t.dtype == DT_BF16;
}

/* A view, or a copy where it is not aligned or has to be f32. */
static int take_scale(struct tensor *out, struct tensor t, bool f32, struct arena *mem)
{
    bool convert = f32 && t.dtype != DT_F32;
    *out = t;
    if (!convert && (uintptr_t)t.data % dtype_size(t.dtype) == 0)
        return 0;
    out->dtype = convert ? DT_F32 : t.dtype;
    out->data = arena_alloc(mem, tensor_bytes(*out));
    if (!out->data)
        return -1;
    if (convert)
        tensor_to_f32(out->data, t);
    else
        memcpy(out->data, t.data, tensor_bytes(t));
    return 0;
}

/* The same codes by input, if they are there: the others are not read then. */
static int take_by_input(const struct layer *l)
{
    struct tensor t;
    const struct tensor *w = l->weight;
    char expect[64];
    int found = l->by_input && quant_turns(*w) ? beside(&t, l, "_by_input") : 0;
    if (found <= 0)
        return found < 0;
    snprintf(expect, sizeof expect, "i8 (%lld, %lld)", (long long)w->dim[1],
             (long long)w->dim[0]);
    if (t.dtype != DT_I8 || t.ndim != 2 || t.dim[0] != w->dim[1] || t.dim[1] != w->dim[0])
        return misshapen(l, "_by_input", t, expect);
    l->weight->data = t.data;
    *l->by_input = true;
    return 0;
}

static int take_i8(const struct layer *l, struct tensor codes, const char *suffix)
{
    struct tensor s;
    char expect[64];
    int64_t N = l->want.dim[0], found = beside(&s, l, suffix);
    snprintf(expect, sizeof expect, "a float (%lld, 1)", (long long)N);
    if (!tensor_same_shape(codes, l->want) || codes.dtype != DT_I8)
        return misshapen(l, "", codes, "i8 of the layer's shape");
    if (found == 0)
        err_set(ERR_CONFIG, "%s%s: no such tensor in the checkpoint", l->name, suffix);
    if (found <= 0)
        return 1;
    if (!is_float(s) || s.ndim < 1 || s.ndim > 2 || s.dim[0] != N || tensor_count(s) != N)
        return misshapen(l, suffix, s, expect);
    *l->weight = codes;
    int rc = take_by_input(l);
    return rc ? rc : take_scale(l->scale, s, true, l->mem);
}

/* Codes with zero points or in another order are of other schemes. */
static int check_plain(const struct layer *l)
{
    static const char *const others[] = { "_zero_point", "_g_idx" };
    struct tensor t;
    for (int i = 0; i < 2; i++)
        if (beside(&t, l, others[i])) {
            err_set(ERR_CONFIG, "%s%s: symmetric groups in order are known, not this", l->name,
                    others[i]);
            return 1;
        }
    return 0;
}

static int take_i4(const struct layer *l, struct tensor packed)
{
    struct tensor s = { 0 };
    int64_t N = l->want.dim[0], K = l->want.dim[1];
    char expect[64];
    snprintf(expect, sizeof expect, "i32 (%lld, %lld)", (long long)N, (long long)K / 8);
    if (packed.dtype != DT_I32 || packed.ndim != 2 || packed.dim[0] != N || K % 8 ||
        packed.dim[1] != K / 8)
        return misshapen(l, "_packed", packed, expect);
    if (check_plain(l) || beside(&s, l, "_scale") < 0)
        return 1;
    if (!s.data) {
        err_set(ERR_CONFIG, "%s_scale: no such tensor in the checkpoint", l->name);
        return 1;
    }
    int64_t groups = s.ndim == 2 ? s.dim[1] : 0;
    if (!is_float(s) || groups < 1 || s.dim[0] != N || K % groups || K / groups % QUANT_GROUP)
        return misshapen(l, "_scale", s, "a float for each group of 32, 64, 128...");
    *l->weight = tensor_2d(packed.data, DT_I4, N, K);
    return take_scale(l->scale, s, false, l->mem);
}

/* ---- made here ---- */

static int fill(struct tensor codes, const struct layer *l, struct tensor w)
{
    struct arena_mark mark = arena_mark(l->mem);
    int rc = store_even(&w, l->store, l->name, l->mem);
    if (rc == 0 && quant_fill(codes, *l->scale, w, l->store->pool) < 0)
        rc = err_kind() == ERR_DATA ? (err_wrap("%s", l->name), 1) : -1;
    arena_rewind(l->mem, mark);
    return rc;
}

/* By input, by way of codes that are forgotten. */
static int fill_turned(const struct layer *l, struct tensor w)
{
    struct arena_mark mark = arena_mark(l->mem);
    struct tensor codes = *l->weight;
    codes.data = arena_alloc(l->mem, tensor_bytes(codes));
    int rc = codes.data ? fill(codes, l, w) : -1;
    if (rc == 0)
        quant_turn(l->weight->data, codes, l->store->pool);
    arena_rewind(l->mem, mark);
    return rc;
}

static int make(const struct layer *l, const struct quant *q)
{
    struct store *s = l->store;
    struct tensor w = *l->weight, *codes = l->weight;
    if (!w.data || !quant_fits(q, w))
        return 0;
    quant_shapes(codes, l->scale, q, w);
    codes->data = arena_alloc(l->mem, tensor_bytes(*codes));
    l->scale->data = arena_alloc(l->mem, tensor_bytes(*l->scale));
    if (!codes->data || !l->scale->data)
        return -1;
    bool turned = l->by_input && quant_turns(*codes);
    int rc = turned ? fill_turned(l, w) : fill(*codes, l, w);
    if (rc)
        return rc;
    if (turned)
        *l->by_input = true;
    weights_forget(s->weights); /* what was read is not needed again */
    s->read += tensor_bytes(w);
    if (s->told)
        s->told(s->told_ctx, s->read);
    return 0;
}

/* Those that are bf16 already are used where they lie. */
static int make_linear(const struct layer *l)
{
    const struct quant *q = &l->store->quant;
    bool bf16 = q->scheme == QUANT_BF16;
    if (bf16 && l->weight->data)
        *l->rounds = true;
    return bf16 && l->weight->dtype == DT_BF16 ? 0 : make(l, q);
}

/* ---- binding ---- */

/* The sums of the rows' magnitudes, without which no word is scored again. */
static int take_sizes(const struct layer *l)
{
    struct tensor t;
    char expect[64];
    int found = beside(&t, l, "_int8_size");
    if (found <= 0)
        return found < 0;
    snprintf(expect, sizeof expect, "a float (%lld, 1)", (long long)l->want.dim[0]);
    if (!is_float(t) || t.ndim > 2 || t.dim[0] != l->want.dim[0] ||
        tensor_count(t) != l->want.dim[0])
        return misshapen(l, "_int8_size", t, expect);
    return take_scale(l->size, t, true, l->mem);
}

static int make_head(const struct layer *l)
{
    const struct quant int8 = { .scheme = QUANT_INT8 };
    if (!l->weight->data || !quant_fits(&int8, *l->weight))
        return 0;
    *l->size = tensor_1d(NULL, DT_F32, l->want.dim[0]);
    l->size->data = arena_alloc(l->mem, tensor_bytes(*l->size));
    if (!l->size->data || quant_sizes(l->size->data, *l->weight, l->store->pool) < 0)
        return -1;
    return make(l, &int8);
}

static int bind_head(const struct layer *l)
{
    struct store *s = l->store;
    struct tensor codes;
    int rc, found = beside(&codes, l, "_int8");
    if (found) {
        rc = found < 0 ? 1 : take_i8(l, codes, "_int8_scale");
        return rc ? rc : take_sizes(l);
    }
    rc = store_bind_float(l->weight, s, l->name, 0, l->want, l->mem);
    return rc || !s->quant.scheme || s->quant.scheme == QUANT_BF16 ? rc : make_head(l);
}

/* Weights that are whole numbers already are not made others: twice rounded is twice wrong. */
static int check_scheme(const struct layer *l)
{
    enum quant_scheme want = l->store->quant.scheme,
                      is = l->weight->dtype == DT_I4 ? QUANT_INT4 : QUANT_INT8;
    if (!want || want == is)
        return 0;
    err_set(ERR_CONFIG, "%s: stored as %s, which cannot become %s", l->name, quant_words[is],
            quant_words[want]);
    return 1;
}

static int bind_linear(const struct layer *l)
{
    struct tensor t;
    int rc, plain = store_find(&t, l->store, l->name), packed = 0;
    if (plain == 0)
        packed = beside(&t, l, "_packed");
    if (plain < 0 || packed < 0)
        return 1;
    if (packed || (plain && t.dtype == DT_I8)) {
        rc = packed ? take_i4(l, t) : take_i8(l, t, "_scale");
        return rc ? rc : check_scheme(l);
    }
    rc = store_bind_float(l->weight, l->store, l->name, 0, l->want, l->mem);
    return rc || !l->store->quant.scheme ? rc : make_linear(l);
}

int store_bind_linear(void *out, struct store *s, const struct store_bind *b, const char *name,
                      struct tensor want, struct arena *mem)
{
    char *at = out;
    struct layer l = { .store = s, .name = name, .want = want, .mem = mem };
    l.weight = (struct tensor *)(at + b->offset);
    l.scale = (struct tensor *)(at + b->scale);
    l.rounds = b->flags & STORE_LINEAR ? (bool *)(at + b->rounds) : NULL;
    l.by_input = b->flags & STORE_BY_INPUT ? (bool *)(at + b->more) : NULL;
    l.size = b->flags & STORE_HEAD ? (struct tensor *)(at + b->more) : NULL;
    *l.weight = *l.scale = (struct tensor){ 0 };
    return b->flags & STORE_HEAD ? bind_head(&l) : bind_linear(&l);
}
