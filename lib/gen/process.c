/* process.c - logits processors; see process.h. */
#include "gen/process.h"

#include "base/err.h"

#include <math.h>
#include <string.h>

int gen_work_init(struct gen_work *w, int64_t vocab, struct arena *mem)
{
    w->vocab = vocab;
    w->scores = arena_calloc(mem, (size_t)vocab, sizeof *w->scores);
    w->select = arena_calloc(mem, (size_t)vocab, sizeof *w->select);
    w->cand = arena_calloc(mem, (size_t)vocab, sizeof *w->cand);
    return w->scores && w->select && w->cand ? 0 : -1;
}

int gen_scores_copy(struct gen_work *w, const float *logits)
{
    float top = -INFINITY;
    for (int64_t i = 0; i < w->vocab; i++) {
        float v = logits[i];
        if (!(v < INFINITY))
            return err_set(ERR_DATA, "logits: %s for token %lld", isnan(v) ? "NaN" : "infinity",
                           (long long)i);
        w->scores[i] = v;
        top = v > top ? v : top;
    }
    if (top == -INFINITY)
        return err_set(ERR_DATA, "logits: no token is possible");
    return 0;
}

double gen_log_sum_exp(const float *scores, int64_t vocab)
{
    float top = -INFINITY;
    double sum = 0;
    for (int64_t i = 0; i < vocab; i++)
        top = scores[i] > top ? scores[i] : top;
    if (top == -INFINITY)
        return -INFINITY;
    for (int64_t i = 0; i < vocab; i++)
        sum += expf(scores[i] - top);
    return top + log(sum);
}

void gen_log_softmax(float *scores, int64_t vocab)
{
    double lse = gen_log_sum_exp(scores, vocab);
    for (int64_t i = 0; i < vocab; i++)
        scores[i] = (float)(scores[i] - lse);
}

/* Each distinct id once: all values are taken before the first one is changed, as the
 * reference's gather and scatter do. w->select holds as many as there are distinct ids; an id
 * outside the vocabulary (an image token of a checkpoint without that row) has no score. */
static void repetition_penalty(struct gen_work *w, float penalty, const int64_t *ids, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (ids[i] >= 0 && ids[i] < w->vocab)
            w->select[ids[i]] = w->scores[ids[i]];
    for (int64_t i = 0; i < n; i++)
        if (ids[i] >= 0 && ids[i] < w->vocab) {
            float s = w->select[ids[i]];
            w->scores[ids[i]] = s < 0 ? s * penalty : s / penalty;
        }
}

/* Forbids every id that once followed the last size - 1 ids. */
static void no_repeat_ngram(struct gen_work *w, int64_t size, const int64_t *ids, int64_t n)
{
    if (n + 1 < size)
        return;
    const int64_t *last = ids + (n - (size - 1));
    for (int64_t i = 0; i + size <= n; i++) {
        int64_t next = ids[i + size - 1];
        if (next >= 0 && next < w->vocab &&
            !memcmp(ids + i, last, (size_t)(size - 1) * sizeof *ids))
            w->scores[next] = -INFINITY;
    }
}

void gen_process(struct gen_work *w, const struct gen_params *p, const int64_t *ids, int64_t n,
                 int64_t n_new)
{
    if (p->repetition_penalty != 1)
        repetition_penalty(w, (float)p->repetition_penalty, ids, n);
    if (p->no_repeat_ngram_size > 0)
        no_repeat_ngram(w, p->no_repeat_ngram_size, ids, n);
    if (n_new < p->min_new_tokens)
        for (int i = 0; i < p->eos_count; i++)
            if (p->eos[i] >= 0 && p->eos[i] < w->vocab)
                w->scores[p->eos[i]] = -INFINITY;
}
