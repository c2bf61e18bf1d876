/* attention.c - softmax(q k^T) v a head, a few rows at a time: the scores of those rows stay in
 * the cache, and each (sequence, head, rows) is a piece of work of its own. */
#include "base/err.h"
#include "base/math.h"
#include "kern/kern.h"
#include "nn/back.h"

#include <string.h>

#define ROWS 140 /* a multiple of 14, the most rows of a kernel's tile */

struct job {
    struct nn_sequence seq;
    float *out;
    int64_t first; /* index of its first piece */
    float *told;   /* (H, T, S): a copy of the probabilities for nn->watch, or NULL */
};

struct attention {
    const struct kern *kern;
    struct nn_heads heads;
    const struct job *job;
    int64_t jobs, room; /* floats of scratch a worker has */
    float *scratch;
    double p; /* dropout of probabilities, at a site */
    uint64_t seed, site;
};

static int64_t tiles(int64_t T)
{
    return (T + ROWS - 1) / ROWS;
}

/* The last job whose first piece is not beyond i. */
static const struct job *job_of(const struct attention *a, int64_t i)
{
    int64_t lo = 0, hi = a->jobs;
    while (hi - lo > 1) {
        int64_t mid = (lo + hi) / 2;
        *(a->job[mid].first <= i ? &lo : &hi) = mid;
    }
    return &a->job[lo];
}

static void drop(const struct attention *a, const struct nn_sequence *s, float *p, int64_t t,
                 int64_t n, int64_t S, int64_t h)
{
    for (int64_t r = 0; a->p > 0 && s->key && r < n; r++)
        nn_drop_some(p + r * S, S, a->p, nn_drop_row(a->seed, a->site, s->key[t + r]),
                     h * s->S);
}

/* Rows [t, t + n) of scores (n, S) to probabilities. Keys a row does not see get 0. */
static void normalise(const struct attention *a, float *p, int64_t seen, int64_t n, int64_t S)
{
    for (int64_t r = 0; r < n; r++, p += S) {
        int64_t k = a->heads.causal ? math_min(seen + r, S) : S;
        a->kern->softmax(p, a->heads.scale, (size_t)k);
        memset(p + k, 0, (size_t)(S - k) * sizeof *p);
    }
}

/* Rows p (n, S) of head h, from row t on, into the copy; its rows are as long as all keys. */
static void tell_rows(const struct job *j, int64_t h, int64_t t, const float *p, int64_t n,
                      int64_t S)
{
    float *to = j->told + (h * j->seq.T + t) * j->seq.S;
    for (int64_t r = 0; r < n; r++, to += j->seq.S, p += S) {
        memcpy(to, p, (size_t)S * sizeof *p);
        memset(to + S, 0, (size_t)(j->seq.S - S) * sizeof *p);
    }
}

static void piece(const struct attention *a, int64_t i, float *p)
{
    const struct job *j = job_of(a, i);
    const struct nn_sequence *s = &j->seq;
    int64_t hd = a->heads.hd, D = a->heads.H * hd, per_head = tiles(s->T);
    int64_t h = (i - j->first) / per_head, t = (i - j->first) % per_head * ROWS;
    int64_t n = math_min(ROWS, s->T - t), seen = s->S - s->T + t + 1;
    int64_t S = a->heads.causal ? math_min(seen + n - 1, s->S) : s->S;
    const float *q = s->q + t * s->q_stride + h * hd;
    struct kern_gemm scores = { .M = (size_t)n,
                                .N = (size_t)S,
                                .K = (size_t)hd,
                                .x = q,
                                .w = s->k + h * hd,
                                .y = p,
                                .ldx = (size_t)s->q_stride,
                                .ldw = (size_t)s->k_stride,
                                .ldy = (size_t)S };
    a->kern->gemm[KERN_F32](&scores);
    normalise(a, p, seen, n, S);
    if (j->told)
        tell_rows(j, h, t, p, n, S);
    drop(a, s, p, t, n, S, h);
    struct kern_mix mix = { .M = (size_t)n,
                            .N = (size_t)hd,
                            .K = (size_t)S,
                            .p = p,
                            .v = s->v + h * hd,
                            .y = j->out + t * D + h * hd,
                            .ldp = (size_t)S,
                            .ldv = (size_t)s->v_stride,
                            .ldy = (size_t)D };
    a->kern->mix(&mix);
}

static int pieces(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct attention *a = ctx;
    for (int64_t i = begin; i < end; i++)
        piece(a, i, a->scratch + worker * a->room);
    return 0;
}

/* Fills the jobs; gives the number of pieces. */
static int64_t plan(struct job *job, struct attention *a, const struct nn_sequence *seq,
                    int64_t n, float *out)
{
    int64_t first = 0;
    for (int64_t i = 0; i < n; i++) {
        job[i] = (struct job){ seq[i], out, first, NULL };
        out += seq[i].T * a->heads.H * a->heads.hd;
        first += a->heads.H * tiles(seq[i].T);
        a->room = math_max(a->room, math_min(seq[i].T, ROWS) * seq[i].S);
    }
    a->job = job;
    a->jobs = n;
    return first;
}

static void make_copies(struct nn *nn, struct job *job, const struct attention *a)
{
    for (int64_t i = 0; nn->watch && i < a->jobs; i++)
        job[i].told =
            nn_tensor(nn, 3, (int64_t[]){ a->heads.H, job[i].seq.T, job[i].seq.S }).data;
}

static void tell(const struct nn *nn, const struct attention *a)
{
    for (int64_t i = 0; nn->watch && !nn->failed && i < a->jobs; i++) {
        const struct job *j = &a->job[i];
        nn->watch->attention(nn->watch, &a->heads, i,
                             tensor_3d(j->told, DT_F32, a->heads.H, j->seq.T, j->seq.S));
    }
}

static void draw(struct attention *a, struct nn *nn)
{
    if (!nn->tape)
        return;
    a->p = nn->tape->dropout;
    a->seed = nn->tape->seed;
    a->site = nn->tape->site++;
}

struct tensor nn_attention(struct nn *nn, struct nn_heads heads, const struct nn_sequence *seq,
                           int64_t n)
{
    int64_t T = 0;
    for (int64_t i = 0; i < n; i++)
        T += seq[i].T;
    struct attention a = { .kern = nn->kern, .heads = heads };
    struct tensor y = nn_tensor(nn, 2, (int64_t[]){ T, heads.H * heads.hd });
    struct job *job = y.data ? arena_calloc(nn->mem, (size_t)n, sizeof *job) : NULL;
    if (!job) {
        nn->failed = 1;
        return (struct tensor){ 0 };
    }
    int64_t count = plan(job, &a, seq, n, y.data);
    struct arena_mark mark = arena_mark(nn->mem);
    draw(&a, nn);
    struct tensor scratch = nn_tensor(nn, 2, (int64_t[]){ pool_threads(nn->pool), a.room });
    a.scratch = scratch.data;
    make_copies(nn, job, &a);
    if (scratch.data)
        pool_run(nn->pool, pieces, &a, count, 1);
    tell(nn, &a);
    arena_rewind(nn->mem, mark);
    if (nn->tape)
        nn_back_attention(nn, y, heads, seq, n, a.site);
    return y;
}

struct nn_view nn_view(struct tensor x)
{
    return (struct nn_view){ x.data, x.dim[1], x.dim[2] };
}

struct nn_view nn_columns(struct tensor x, int64_t part, int64_t parts)
{
    struct nn_view v = nn_view(x);
    if (v.data)
        v.data += part * (v.stride / parts);
    return v;
}

struct tensor nn_attention_batch(struct nn *nn, struct nn_heads heads, int64_t B,
                                 struct nn_view q, struct nn_view k, struct nn_view v)
{
    int64_t D = heads.H * heads.hd;
    struct nn_sequence *seq = nn->failed ? NULL : arena_calloc(nn->mem, (size_t)B, sizeof *seq);
    if (!seq) {
        nn->failed = 1;
        return (struct tensor){ 0 };
    }
    for (int64_t b = 0; b < B; b++)
        seq[b] = (struct nn_sequence){ q.data + b * q.rows * q.stride,
                                       k.data + b * k.rows * k.stride,
                                       v.data + b * v.rows * v.stride,
                                       q.rows,
                                       k.rows,
                                       q.stride,
                                       k.stride,
                                       v.stride,
                                       NULL };
    struct tensor y = nn_attention(nn, heads, seq, B);
    return tensor_3d(y.data, DT_F32, B, q.rows, D);
}
