/* prefix.c - what need not be read again; see session.h. */
#include "answer/session.h"
#include "base/err.h"
#include "base/math.h"

#include <stdlib.h>
#include <string.h>

int64_t answer_common(const struct answer_prompt *a, const struct answer_prompt *b, int64_t E)
{
    int64_t n = math_min(a->n, b->n), i = 0;
    bool same = a->rows == b->rows && !memcmp(a->visual ? (const void *)a->visual : "",
                                              b->visual ? (const void *)b->visual : "",
                                              (size_t)(a->rows * E) * sizeof(float));
    while (i < n && a->at[i] == b->at[i] && (same || a->at[i] != ANSWER_VISUAL))
        i++;
    return i;
}

static void consider(struct answer_source *best, const struct answer *a,
                     const struct answer_prompt *p, const struct answer_prompt *other, int from,
                     int wave)
{
    int64_t length = math_min(answer_common(p, other, a->info.embed_size), p->n - 1);
    if (length > best->length)
        *best = (struct answer_source){ from, length, wave };
}

/* Prompts of the second wave take their prefix from one of the first: all of a wave are read by
 * one call of the model. */
void answer_plan(struct answer_source *plan, const struct answer *a,
                 const struct answer_prompt *p, int n)
{
    for (int i = 0; i < n; i++) {
        plan[i] = (struct answer_source){ 0 };
        consider(&plan[i], a, &p[i], &a->kept.p, a->keep, 0);
        for (int j = 0; j < i; j++)
            if (plan[j].wave == 0)
                consider(&plan[i], a, &p[i], &p[j], j * a->rows, 1);
    }
}

static int resize(void **p, size_t *size, size_t want)
{
    if (want <= *size)
        return 0;
    void *q = realloc(*p, want);
    if (!q)
        return err_nomem("the prompt that stays in the cache");
    *p = q;
    *size = want;
    return 0;
}

int answer_keep(struct answer_kept *k, const struct answer_prompt *p, const int64_t *more,
                int n_more, int64_t E)
{
    size_t at = (size_t)(p->n + n_more) * sizeof *k->at;
    size_t visual = (size_t)(p->rows * E) * sizeof *k->visual;
    k->p = (struct answer_prompt){ 0 };
    if (resize((void **)&k->at, &k->at_size, at) < 0 ||
        resize((void **)&k->visual, &k->visual_size, visual) < 0)
        return -1;
    memcpy(k->at, p->at, (size_t)p->n * sizeof *k->at);
    if (n_more)
        memcpy(k->at + p->n, more, (size_t)n_more * sizeof *more);
    if (visual)
        memcpy(k->visual, p->visual, visual);
    k->p = (struct answer_prompt){
        .at = k->at, .n = p->n + n_more, .visual = k->visual, .rows = p->rows
    };
    return 0;
}

void answer_kept_release(struct answer_kept *k)
{
    free(k->at);
    free(k->visual);
}
