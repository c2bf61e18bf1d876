/* maps.c - see maps.h. */
#include "nn/maps.h"

#include "base/math.h"
#include "kern/kern.h"

#include <string.h>

struct nn_map {
    struct nn_map *next;
    int64_t sequence;
    bool cross;
    struct tensor p; /* (H, rows, S) */
};

static float *floats(struct nn_maps *m, int64_t n)
{
    float *p = arena_calloc(m->mem, (size_t)n, sizeof *p);
    m->failed |= !p;
    return p;
}

/* The leading rows of p (H, T, S). */
static void keep(struct nn_maps *m, int64_t sequence, bool cross, struct tensor p)
{
    int64_t H = p.dim[0], T = p.dim[1], S = p.dim[2];
    int64_t rows = math_min(cross ? m->cross_rows : m->self_rows, T);
    struct nn_map *map = arena_calloc(m->mem, 1, sizeof *map);
    float *to = map ? floats(m, H * rows * S) : NULL;
    if (!to) {
        m->failed = 1;
        return;
    }
    for (int64_t h = 0; h < H; h++)
        memcpy(to + h * rows * S, (const float *)p.data + h * T * S,
               (size_t)(rows * S) * sizeof *to);
    *map = (struct nn_map){ NULL, sequence, cross, tensor_3d(to, DT_F32, H, rows, S) };
    *m->end = map;
    m->end = &map->next;
}

/* The mean over heads: (T, S). */
static float *mean(struct nn_maps *m, struct tensor p)
{
    int64_t H = p.dim[0], n = p.dim[1] * p.dim[2];
    float *y = floats(m, n);
    const float *from = p.data;
    for (int64_t h = 0; y && h < H; h++)
        for (int64_t i = 0; i < n; i++)
            y[i] += from[h * n + i] / (float)H;
    return y;
}

/* a (M, K) b (K, N), or a itself where there is no b. */
static const float *times(struct nn_maps *m, const float *a, struct tensor b, int64_t M,
                          int64_t K)
{
    int64_t N = b.dim[1];
    if (!b.data || !a)
        return a;
    float *y = floats(m, M * N);
    struct kern_mix mix = { .M = (size_t)M,
                            .N = (size_t)N,
                            .K = (size_t)K,
                            .p = a,
                            .v = b.data,
                            .y = y,
                            .ldp = (size_t)K,
                            .ldv = (size_t)N,
                            .ldy = (size_t)N };
    if (y)
        m->kern->mix(&mix);
    return y;
}

/* R = (R + looked) / 2 in the first `rows` rows. */
static void blend(struct tensor r, const float *looked, int64_t rows)
{
    float *x = r.data;
    for (int64_t i = 0; looked && i < rows * r.dim[1]; i++)
        x[i] = (x[i] + looked[i]) / 2;
}

static void begin(struct nn_maps *m, struct tensor *r, int64_t T, int64_t S)
{
    *r = tensor_2d(floats(m, T * S), DT_F32, T, S);
    for (int64_t i = 0; r->data && !m->crossing && i < math_min(T, S); i++)
        ((float *)r->data)[i * S + i] = 1;
}

/* R begins with the first attention, or, from 0, with the first that crosses: until then there
 * is nothing to follow, but its rows have to be known. */
static void follow(struct nn_maps *m, int64_t b, bool cross, struct tensor p)
{
    int64_t T = p.dim[1], S = p.dim[2];
    struct tensor *r = &m->rollout[b], base = { 0 };
    if (cross && m->base)
        base = m->base[b];
    if (m->crossing && !cross && !r->data) {
        r->dim[0] = T;
        return;
    }
    if (!r->data)
        begin(m, r, cross && r->dim[0] > T ? r->dim[0] : T, base.data ? base.dim[1] : S);
    if (r->data)
        blend(*r, times(m, mean(m, p), cross ? base : *r, T, S), T);
}

static void attention(struct nn_watch *w, const struct nn_heads *heads, int64_t sequence,
                      struct tensor p)
{
    struct nn_maps *m = (struct nn_maps *)w;
    if (m->failed)
        return;
    if (heads->cross ? m->cross_rows : m->self_rows)
        keep(m, sequence, heads->cross, p);
    struct arena_mark mark = arena_mark(m->mem);
    bool fresh = !m->rollout[sequence].data;
    follow(m, sequence, heads->cross, p);
    if (!fresh) /* R itself was made before: only means and products go */
        arena_rewind(m->mem, mark);
}

int nn_maps_begin(struct nn_maps *m, struct nn *nn, int64_t B, struct arena *mem)
{
    m->watch.attention = attention;
    m->kern = nn->kern;
    m->mem = mem;
    m->B = B;
    m->kept = NULL;
    m->end = &m->kept;
    m->failed = 0;
    m->rollout = arena_calloc(mem, (size_t)B, sizeof *m->rollout);
    if (!m->rollout)
        return -1;
    nn->watch = &m->watch;
    return 0;
}

int nn_maps_end(struct nn_maps *m, struct nn *nn)
{
    nn->watch = NULL;
    return m->failed ? -1 : 0;
}

static bool wanted(const struct nn_map *k, int64_t b, bool cross)
{
    return k->sequence == b && k->cross == cross;
}

int nn_maps_stack(struct tensor *out, const struct nn_maps *m, int64_t b, bool cross,
                  struct arena *mem)
{
    *out = (struct tensor){ .dtype = DT_F32, .ndim = 4 };
    size_t each = 0;
    for (const struct nn_map *k = m->kept; k; k = k->next) {
        if (!wanted(k, b, cross))
            continue;
        each = tensor_bytes(k->p);
        memcpy(out->dim + 1, k->p.dim, 3 * sizeof *out->dim);
        out->dim[0]++;
    }
    if (each == 0)
        return 0;
    char *to = out->data = arena_calloc(mem, (size_t)out->dim[0], each);
    for (const struct nn_map *k = m->kept; to && k; k = k->next) {
        if (!wanted(k, b, cross))
            continue;
        memcpy(to, k->p.data, each);
        to += each;
    }
    return out->data ? 0 : -1;
}

int nn_maps_rollout(struct tensor *out, const struct nn_maps *m, int64_t b, struct arena *mem)
{
    struct tensor r = m->rollout[b];
    int64_t T = r.dim[0], S = r.dim[1];
    float *to = r.data ? arena_memdup(mem, r.data, tensor_bytes(r)) : NULL;
    *out = tensor_2d(to, DT_F32, T, S);
    for (int64_t t = 0; to && t < T; t++, to += S) {
        double sum = 0;
        for (int64_t s = 0; s < S; s++)
            sum += to[s];
        for (int64_t s = 0; s < S && sum > 0; s++)
            to[s] = (float)(to[s] / sum);
    }
    return out->data || !r.data ? 0 : -1;
}
