/* init.c - chance, and the values parameters start with: LAVIS's (blip2-model(7)). */
#include "train/state.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
    x = (x ^ x >> 27) * 0x94D049BB133111EBu;
    return x ^ x >> 31;
}

/* Source: the finaliser of splitmix64 (Steele, Lea, Flood 2014). */
double train_uniform(uint64_t seed, uint64_t stream, uint64_t i)
{
    uint64_t h = mix(mix(mix(seed + 0x9E3779B97F4A7C15u) + stream) + i);
    return (double)(h >> 11) * 0x1p-53;
}

double train_normal(uint64_t seed, uint64_t stream, uint64_t i)
{
    double u = 1 - train_uniform(seed, stream, 2 * i);
    double v = train_uniform(seed, stream, 2 * i + 1);
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

static uint64_t stream_of(const char *name)
{
    uint64_t h = 0;
    for (; *name; name++)
        h = mix(h + (unsigned char)*name);
    return h;
}

static bool has(const char *name, const char *part)
{
    return strstr(name, part);
}

/* torch's default for a linear layer, whose inputs are rows of `width`. */
static bool is_head(const char *name)
{
    return has(name, "_projection.") || has(name, "itm_head.");
}

void train_init_value(const struct train *t, const char *name, struct tensor value)
{
    float *p = value.data;
    int64_t n = tensor_count(value);
    uint64_t stream = stream_of(name);
    double bound = is_head(name) ? 1 / sqrt((double)t->width) : 0;
    bool bias = value.ndim == 1, gain = has(name, "ayer") && has(name, "orm.weight");
    for (int64_t i = 0; i < n; i++) {
        double v = t->init_std * train_normal(t->o.seed, stream, (uint64_t)i);
        if (bound > 0)
            v = bound * (2 * train_uniform(t->o.seed, stream, (uint64_t)i) - 1);
        else if (!strcmp(name, "temp"))
            v = 0.07;
        else if (gain || bias)
            v = gain;
        p[i] = (float)v;
    }
}

/* The queries' feed-forward starts as a copy of the text's. */
void train_init_copies(struct train *t)
{
    for (size_t i = 0; i < t->params; i++) {
        char name[256];
        const char *at = strstr(t->param[i].name, "_query.");
        if (!t->fresh[i] || !at)
            continue;
        snprintf(name, sizeof name, "%.*s%s", (int)(at - t->param[i].name), t->param[i].name,
                 at + strlen("_query"));
        const struct train_param *text = train_find(t, name);
        if (text)
            memcpy(t->param[i].value.data, text->value.data, tensor_bytes(text->value));
    }
}
