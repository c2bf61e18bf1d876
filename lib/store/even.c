/* even.c - channels of linear layers evened out before they become whole numbers: see store.h.
 *
 * A norm's output is multiplied by all that reads it. Where a few of its channels are far
 * larger, or smaller, than the others, a row of activations is made 8-bit numbers of a range
 * that most of it does not use, or a row of weights is. The same product is had of channels
 * divided by factors and weights multiplied by them: the norm's own weight and bias take the
 * division.
 *
 * Source:  Xiao et al. 2023, SmoothQuant, eq. 4 with alpha 1/2. No pictures are looked at: what
 *          a norm gives has the size sqrt(weight^2 + bias^2), as its input has variance 1.
 * Factors are powers of two, so that no float is rounded, and 1 within four times of the
 * median: weights without outliers stay as they are. */
#include "base/err.h"
#include "store/open.h"

#include <ctype.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_LEN 320
#define READERS  3
#define NEAR     2 /* powers of two that are left alone */

/* A norm and the layers that alone read it. */
struct group {
    const char *place, *norm, *reader[READERS];
};
static const struct group groups[] = {
    { "decoder.layers.",
      "self_attn_layer_norm",
      { "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj" } },
    { "decoder.layers.", "final_layer_norm", { "fc1" } },
    { "encoder.layers.", "layer_norm1", { "self_attn.qkv" } },
    { "encoder.layers.",
      "layer_norm1",
      { "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj" } },
    { "encoder.layers.", "layer_norm2", { "mlp.fc1" } },
};

/* ---- whose a tensor is ---- */

struct part {
    const struct group *group;
    int layer_len; /* of the name up to the number's dot */
    bool norm;
};

static bool is_own(const char *own, const char *layer, const char *end)
{
    size_t n = strlen(layer);
    return strncmp(own, layer, n) == 0 && strcmp(own + n, end) == 0;
}

static bool is_part(struct part *p, const struct group *g, const char *own)
{
    p->group = g;
    p->norm = is_own(own, g->norm, ".weight") || is_own(own, g->norm, ".bias");
    for (int i = 0; !p->norm && i < READERS && g->reader[i]; i++)
        if (is_own(own, g->reader[i], ".weight"))
            return true;
    return p->norm;
}

/* A name of group g's tensors in the layer that name is of. */
static const char *sibling(char out[NAME_LEN], const struct part *p, const char *name,
                           const char *own, const char *end)
{
    snprintf(out, NAME_LEN, "%.*s%s%s", p->layer_len, name, own, end);
    return out;
}

static bool has(struct store *s, const char *name)
{
    struct tensor t;
    return store_find(&t, s, name) > 0;
}

/* The group whose layers are there: a norm may stand in two of them. */
static bool find_part(struct part *p, struct store *s, const char *name)
{
    char other[NAME_LEN];
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
        const char *own = strstr(name, groups[i].place);
        own = own ? own + strlen(groups[i].place) : "";
        while (isdigit((unsigned char)*own))
            own++;
        if (*own != '.' || !is_part(p, &groups[i], own + 1))
            continue;
        p->layer_len = (int)(own + 1 - name);
        if (has(s, sibling(other, p, name, groups[i].reader[0], ".weight")))
            return true;
    }
    return false;
}

/* OPT-350m's norms come after a half, and are added to what follows. */
static bool norms_follow(const struct store *s)
{
    const json_t *text = json_object_get(s->config, "text_config");
    return json_is_false(json_object_get(text ? text : s->config, "do_layer_norm_before"));
}

/* ---- factors ---- */

static bool is_float(struct tensor t)
{
    return t.dtype == DT_F32 || t.dtype == DT_F16 || t.dtype == DT_BF16;
}

/* A group's tensor of n channels: 1; 0 not there or not so, -1. */
static int find(struct tensor *t, struct store *s, const char *name, int64_t n)
{
    int found = store_find(t, s, name);
    return found > 0 && is_float(*t) && t->dim[t->ndim - 1] == n ? 1 : found < 0 ? -1 : 0;
}

/* Largest magnitudes of the readers' columns: 1; 0 if a reader is not floats. */
static int read_most(float *most, struct store *s, const struct part *p, const char *name,
                     int64_t n)
{
    char other[NAME_LEN];
    for (int i = 0; i < READERS && p->group->reader[i]; i++) {
        struct tensor t;
        int found = find(&t, s, sibling(other, p, name, p->group->reader[i], ".weight"), n);
        if (found <= 0 || t.ndim != 2)
            return found < 0 ? -1 : 0;
        quant_columns(most, t, s->pool);
    }
    return 1;
}

static int by_size(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Of channels with activations of that size and weights of at most `most`: whether any is not
 * 1. most becomes scratch. */
static bool choose(float *factor, float *most, const float *size, int64_t n)
{
    bool some = false;
    for (int64_t k = 0; k < n; k++)
        factor[k] = most[k] = most[k] > 0 ? sqrtf(size[k] / most[k]) : 0;
    qsort(most, (size_t)n, sizeof *most, by_size);
    float median = most[n / 2];
    for (int64_t k = 0; k < n; k++) {
        float power = factor[k] > 0 && median > 0 ? rintf(log2f(factor[k] / median)) : 0;
        bool out = isfinite(power) && fabsf(power) >= NEAR;
        factor[k] = out ? exp2f(power) : 1;
        some |= out;
    }
    return some;
}

/* Into factor (n), which is followed by as much space twice: 1 if there are any. */
static int make_factors(float *factor, struct store *s, const struct part *p, const char *name,
                        int64_t n)
{
    struct tensor weight, bias;
    char other[NAME_LEN];
    float *size = factor + n, *most = size + n;
    int rc = find(&weight, s, sibling(other, p, name, p->group->norm, ".weight"), n);
    if (rc > 0)
        rc = find(&bias, s, sibling(other, p, name, p->group->norm, ".bias"), n);
    if (rc > 0)
        rc = read_most(most, s, p, name, n);
    if (rc <= 0)
        return rc;
    for (int64_t k = 0; k < n; k++)
        size[k] = (float)hypot(tensor_at(weight, k), tensor_at(bias, k));
    return choose(factor, most, size, n);
}

/* Those of name's group are made once, as its tensors follow each other. */
static int know_factors(struct store *s, const struct part *p, const char *name, int64_t n)
{
    char norm[NAME_LEN];
    struct even *e = &s->even;
    if (!strcmp(sibling(norm, p, name, p->group->norm, ""), e->norm))
        return 0;
    free(e->factor);
    e->factor = calloc((size_t)n, 3 * sizeof *e->factor);
    int rc = e->factor ? make_factors(e->factor, s, p, name, n) : err_nomem("factors");
    if (rc <= 0) {
        free(e->factor);
        e->factor = NULL;
    }
    snprintf(e->norm, sizeof e->norm, "%s", rc < 0 ? "" : norm);
    e->n = n;
    return rc < 0 ? -1 : 0;
}

/* ---- evened out ---- */

int store_even(struct tensor *t, struct store *s, const char *name, struct arena *mem)
{
    struct part p;
    int64_t n = t->ndim ? t->dim[t->ndim - 1] : 0;
    if (s->quant.scheme == QUANT_BF16 || !is_float(*t) || n < 1 || !find_part(&p, s, name) ||
        (*p.group->place == 'd' && norms_follow(s)))
        return 0;
    if (know_factors(s, &p, name, n) < 0)
        return -1;
    if (!s->even.factor || s->even.n != n)
        return 0;
    struct tensor out = *t;
    out.dtype = DT_F32;
    float *x = out.data = arena_alloc(mem, tensor_bytes(out));
    if (!x)
        return -1;
    tensor_to_f32(x, *t);
    for (int64_t i = 0, count = tensor_count(out); i < count; i++)
        x[i] = p.norm ? x[i] / s->even.factor[i % n] : x[i] * s->even.factor[i % n];
    *t = out;
    return 0;
}
