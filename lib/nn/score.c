/* score.c - scores of all words by int8 weights, and once more by the weights as stored for
 * those that could be the largest.
 *
 * With codes q for x and weights w', |x'k - xk| <= step/2 and |w'k - wk| <= scale/2, so
 *
 *   |sum(x' w') - sum(x w)| <= scale/2 sum|x'| + step/2 sum|w|
 *
 * The first by 8 bits is computed again, and then what could be above it; nothing else can
 * win. */
#include "base/err.h"
#include "nn/linear.h"

#include <math.h>
#include <string.h>

#define BLOCK 32 /* words that are gathered and computed together */

struct again {
    const struct nn *nn;
    const struct nn_head *head;
    const float *x; /* (K) */
    float *y;       /* (V) */
    int32_t *word;  /* those that could win */
    int64_t words;
    char *space; /* BLOCK rows for each thread */
};

/* How far a word's score may be from that of the stored weights: by its scale, and by the sum
 * of its weights' magnitudes. Roundings of float sums count as part of the first, as weights
 * are at most 127.5 scale. */
struct limit {
    float scale, size;
};

static struct limit limit_of(const float *x, int64_t K)
{
    float low = 0, high = 0, sum = 0;
    for (int64_t k = 0; k < K; k++) {
        low = x[k] < low ? x[k] : low;
        high = x[k] > high ? x[k] : high;
        sum += fabsf(x[k]);
    }
    float step = (high - low) / 255, n = (float)K;
    return (struct limit){ (sum + n * step) * (0.505F + 256 * n * 0x1p-24F), 0.505F * step };
}

static int compute(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct again *a = ctx;
    struct tensor rows = a->head->rows;
    size_t K = (size_t)rows.dim[1], row = K * dtype_size(rows.dtype);
    char *space = a->space + (size_t)worker * BLOCK * row;
    for (int64_t i = begin; i < end; i += BLOCK) {
        size_t n = end - i < BLOCK ? (size_t)(end - i) : BLOCK;
        float y[BLOCK];
        for (size_t j = 0; j < n; j++)
            memcpy(space + j * row,
                   (const char *)rows.data + (size_t)a->word[i + (int64_t)j] * row, row);
        const struct kern_gemm g = { 1, n, K, a->x, space, NULL, y, K, K, n };
        a->nn->kern->gemm[nn_kern_type(rows.dtype)](&g);
        for (size_t j = 0; j < n; j++)
            a->y[a->word[i + (int64_t)j]] = y[j];
    }
    return 0;
}

/* Lists the words that could win. The first by 8 bits is computed at once: what is surely below
 * that is left out. */
static void choose(struct again *a, struct limit most)
{
    const float *scale = a->head->linear.scale.data, *size = a->head->size.data;
    int64_t V = a->head->rows.dim[0], first = 0;
    for (int64_t n = 1; n < V; n++)
        first = a->y[n] > a->y[first] ? n : first;
    a->word[0] = (int32_t)first;
    compute(a, 0, 1, 0);
    float best = a->y[first];
    a->words = 0;
    for (int64_t n = 0; n < V; n++) {
        a->word[a->words] = (int32_t)n;
        a->words += a->y[n] + (most.scale * scale[n] + most.size * size[n]) >= best;
    }
}

static void score_again(struct nn *nn, struct tensor y, struct tensor x,
                        const struct nn_head *h)
{
    int64_t V = h->rows.dim[0], K = h->rows.dim[1], M = tensor_count(x) / K;
    struct arena_mark mark = arena_mark(nn->mem);
    size_t space = (size_t)pool_threads(nn->pool) * BLOCK * (size_t)K *
                   dtype_size(h->rows.dtype);
    struct again a = { .nn = nn, .head = h, .space = arena_alloc(nn->mem, space) };
    a.word = arena_alloc(nn->mem, (size_t)(V + 1) * sizeof *a.word);
    nn->failed |= !a.space || !a.word;
    for (int64_t m = 0; !nn->failed && m < M; m++) {
        a.x = (const float *)x.data + m * K;
        a.y = (float *)y.data + m * V;
        choose(&a, limit_of(a.x, K));
        pool_run(nn->pool, compute, &a, a.words, BLOCK);
    }
    arena_rewind(nn->mem, mark);
}

struct tensor nn_score(struct nn *nn, struct tensor x, const struct nn_head *h)
{
    struct tensor y = nn_linear(nn, x, &h->linear, NN_NONE);
    if (y.data && h->size.data)
        score_again(nn, y, x, h);
    return y;
}
