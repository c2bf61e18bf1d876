/* warp.c - temperature, top-k, top-p, min-p, typical-p; see process.h. Each works on what the
 * one before it left. */
#include "gen/process.h"

#include <math.h>
#include <stdlib.h>

/* The k-th largest of v[0..n), 1 <= k <= n; reorders v. Hoare's selection. */
static float kth_largest(float *v, int64_t n, int64_t k)
{
    int64_t lo = 0, hi = n - 1, want = k - 1;
    while (lo < hi) {
        float pivot = v[lo + (hi - lo) / 2];
        int64_t i = lo, j = hi;
        while (i <= j) {
            while (v[i] > pivot)
                i++;
            while (v[j] < pivot)
                j--;
            if (i <= j) {
                float t = v[i];
                v[i++] = v[j];
                v[j--] = t;
            }
        }
        if (want <= j)
            hi = j;
        else if (want >= i)
            lo = i;
        else
            break;
    }
    return v[want];
}

/* Drops what is below the k-th score; ties with it stay. */
static void top_k(struct gen_work *w, int64_t k)
{
    if (k >= w->vocab)
        return;
    for (int64_t i = 0; i < w->vocab; i++)
        w->select[i] = w->scores[i];
    float least = kth_largest(w->select, w->vocab, k);
    for (int64_t i = 0; i < w->vocab; i++)
        if (w->scores[i] < least)
            w->scores[i] = -INFINITY;
}

/* By score, and by id where scores are equal: the order of a stable sort. */
static int by_score(const void *a, const void *b)
{
    const struct gen_cand *x = a, *y = b;
    if (x->score != y->score)
        return x->score < y->score ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

/* The tokens still possible into w->cand; gives their number. */
static int64_t survivors(struct gen_work *w)
{
    int64_t n = 0;
    for (int64_t i = 0; i < w->vocab; i++)
        if (w->scores[i] > -INFINITY)
            w->cand[n++] = (struct gen_cand){ w->scores[i], (int32_t)i };
    return n;
}

static void drop(struct gen_work *w, int64_t i)
{
    w->scores[w->cand[i].id] = -INFINITY;
}

/* Drops the least likely tokens whose probabilities sum to 1 - p at most. */
static void top_p(struct gen_work *w, double p, int keep)
{
    int64_t n = survivors(w);
    double lse = gen_log_sum_exp(w->scores, w->vocab), sum = 0;
    qsort(w->cand, (size_t)n, sizeof *w->cand, by_score);
    for (int64_t i = 0; i < n - keep; i++) {
        sum += exp(w->cand[i].score - lse);
        if (sum > 1 - p)
            return;
        drop(w, i);
    }
}

/* Drops tokens less likely than p times the likeliest one. */
static void min_p(struct gen_work *w, double p, int keep)
{
    int64_t n = survivors(w);
    qsort(w->cand, (size_t)n, sizeof *w->cand, by_score);
    double top = n ? w->cand[n - 1].score : 0;
    for (int64_t i = 0; i < n - keep && exp(w->cand[i].score - top) < p; i++)
        drop(w, i);
}

/* Keeps the tokens whose information is nearest to the entropy (Meister et al. 2022), until
 * their probabilities sum to `mass`. */
static void typical_p(struct gen_work *w, double mass, int keep)
{
    int64_t n = survivors(w), last = 0;
    double lse = gen_log_sum_exp(w->scores, w->vocab), entropy = 0, sum = 0;
    for (int64_t i = 0; i < n; i++)
        entropy -= (w->cand[i].score - lse) * exp(w->cand[i].score - lse);
    for (int64_t i = 0; i < n; i++)
        w->cand[i].score = (float)fabs(lse - w->cand[i].score - entropy);
    qsort(w->cand, (size_t)n, sizeof *w->cand, by_score);
    for (int64_t i = 0; i < n; i++) {
        sum += exp(w->scores[w->cand[i].id] - lse);
        last += sum < mass;
    }
    float most = w->cand[last < n ? last : n - 1].score;
    for (int64_t i = keep; i < n; i++)
        if (w->cand[i].score > most)
            drop(w, i);
}

void gen_warp(struct gen_work *w, const struct gen_params *p)
{
    int keep = p->num_beams > 1 ? p->eos_count + 1 : 1;
    if (p->temperature != 1)
        for (int64_t i = 0; i < w->vocab; i++)
            w->scores[i] = (float)(w->scores[i] / p->temperature);
    if (p->top_k > 0)
        top_k(w, p->top_k > keep ? p->top_k : keep);
    if (p->top_p < 1)
        top_p(w, p->top_p, keep);
    if (p->min_p > 0)
        min_p(w, p->min_p, keep);
    if (p->typical_p < 1)
        typical_p(w, p->typical_p, keep);
}
