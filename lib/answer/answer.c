/* answer.c - see answer.h. */
#include "answer/session.h"
#include "base/err.h"
#include "base/math.h"

#include <stdlib.h>
#include <string.h>

struct answer *answer_open(const struct opt_lm *m, struct nn *nn, const struct gen_params *p,
                           int batch)
{
    struct answer *a = calloc(1, sizeof *a);
    if (!a)
        return err_nomem("a language session"), NULL;
    a->m = m;
    a->nn = nn;
    a->info = opt_info(m);
    a->params = *p;
    if (!p->eos_count) {
        a->params.eos[0] = a->info.eos;
        a->params.eos_count = 1;
    }
    a->batch = batch;
    a->rows = gen_rows(p);
    a->keep = batch * a->rows;
    arena_init(&a->mem);
    return a;
}

void answer_close(struct answer *a)
{
    if (!a)
        return;
    opt_cache_free(a->cache);
    answer_kept_release(&a->kept);
    arena_release(&a->mem);
    free(a);
}

void answer_begin(struct answer *a)
{
    arena_reset(&a->mem);
}

/* New tokens there is room for: the last one is not read. */
static int room(const struct answer *a, const struct answer_prompt *p)
{
    return (int)(a->info.max_positions - p->n + 1);
}

/* The cache grows to what the batch may need; memory for the whole context of every row would
 * be gigabytes for a large model. */
static int make_room(struct answer *a, const struct answer_prompt *p, int n)
{
    int64_t need = 0;
    for (int i = 0; i < n; i++)
        need = math_max(need, p[i].n + math_min(a->params.max_new_tokens, room(a, &p[i])) - 1);
    if (a->cache && need <= a->positions)
        return 0;
    int want = (int)math_min(math_max(need, 2 * (int64_t)a->positions), a->info.max_positions);
    struct opt_cache *c = a->cache ? opt_cache_grow(a->cache, want)
                                   : opt_cache_new(a->m, a->keep + 1, want);
    if (!c)
        return -1;
    a->cache = c;
    a->positions = want;
    return 0;
}

/* Rows that prompt p still has to read from position `from`, into x; text rows come from
 * `embedded`, in order. Gives how many of those it took. */
static int64_t fill(float *x, const struct answer_prompt *p, int64_t from,
                    const float *embedded, int64_t E)
{
    int64_t visual = 0, text = 0;
    for (int64_t i = 0; i < p->n; i++) {
        bool is_visual = p->at[i] == ANSWER_VISUAL;
        if (i >= from) {
            const float *row = is_visual ? p->visual + visual * E : embedded + text++ * E;
            memcpy(x + (i - from) * E, row, (size_t)E * sizeof *x);
        }
        visual += is_visual;
    }
    return text;
}

/* Embeddings of all positions of the wave's prompts that are not in the cache: (sum, E). */
static int wave_rows(struct tensor *x, struct answer *a, const struct answer_prompt *p,
                     const struct answer_source *plan, const int *who, int n)
{
    int64_t total = 0, texts = 0, at = 0, taken = 0, E = a->info.embed_size;
    for (int k = 0; k < n; k++)
        total += p[who[k]].n - plan[who[k]].length;
    int64_t *ids = arena_alloc(a->nn->mem, (size_t)total * sizeof *ids);
    float *rows = arena_alloc(a->nn->mem, (size_t)(total * E) * sizeof *rows);
    if (!ids || !rows)
        return -1;
    for (int k = 0; k < n; k++)
        for (int64_t i = plan[who[k]].length; i < p[who[k]].n; i++)
            if (p[who[k]].at[i] != ANSWER_VISUAL)
                ids[texts++] = p[who[k]].at[i];
    struct tensor embedded = { 0 };
    if (texts && opt_embed(&embedded, a->m, a->nn, ids, texts) < 0)
        return -1;
    for (int k = 0; k < n; k++) {
        const struct answer_prompt *q = &p[who[k]];
        taken += fill(rows + at * E, q, plan[who[k]].length,
                      (const float *)embedded.data + taken * E, E);
        at += q->n - plan[who[k]].length;
    }
    *x = tensor_2d(rows, DT_F32, total, E);
    return 0;
}

/* Reads what the wave's prompts have beyond their prefixes, all in one call; logits[i] becomes
 * prompt i's. */
static int read_wave(const float **logits, struct answer *a, struct answer_prompt *p,
                     const struct answer_source *plan, int n, int wave)
{
    int *who = arena_calloc(&a->mem, (size_t)n, sizeof *who), count = 0;
    struct opt_span *span = arena_calloc(&a->mem, (size_t)n, sizeof *span);
    struct tensor x, out;
    if (!who || !span)
        return -1;
    for (int i = 0; i < n; i++) {
        if (plan[i].wave != wave)
            continue;
        int seq = i * a->rows;
        opt_cache_truncate(a->cache, seq, 0);
        opt_cache_copy(a->cache, seq, plan[i].from, (int)plan[i].length);
        span[count] = (struct opt_span){ seq, p[i].n - plan[i].length };
        p[i].reused = plan[i].length;
        who[count++] = i;
    }
    if (count == 0)
        return 0;
    if (wave_rows(&x, a, p, plan, who, count) < 0 ||
        opt_forward(&out, a->m, a->nn, a->cache, span, count, x, false) < 0)
        return -1;
    for (int k = 0; k < count; k++)
        logits[who[k]] = (const float *)out.data + (size_t)k * (size_t)a->info.vocab_size;
    return 0;
}

static int prefill(const float **logits, struct answer *a, struct answer_prompt *p, int n)
{
    struct answer_source *plan = arena_calloc(&a->mem, (size_t)n, sizeof *plan);
    if (!plan)
        return -1;
    answer_plan(plan, a, p, n);
    for (int wave = 0; wave < 2; wave++)
        if (read_wave(logits, a, p, plan, n, wave) < 0)
            return -1;
    for (int i = 0; i < n; i++)
        for (int k = 1; k < a->rows; k++)
            opt_cache_copy(a->cache, i * a->rows + k, i * a->rows, (int)p[i].n);
    return 0;
}

static int step(void *ctx, const float **logits, const struct gen_token *next, int n)
{
    struct answer *a = ctx;
    arena_reset(a->nn->mem);
    int64_t *ids = arena_calloc(a->nn->mem, (size_t)n, sizeof *ids);
    struct opt_span *span = arena_calloc(a->nn->mem, (size_t)n, sizeof *span);
    struct tensor x, out;
    if (!ids || !span)
        return -1;
    for (int i = 0; i < n; i++) {
        ids[i] = next[i].id;
        span[i] = (struct opt_span){ next[i].row, 1 };
    }
    if (opt_embed(&x, a->m, a->nn, ids, n) < 0 ||
        opt_forward(&out, a->m, a->nn, a->cache, span, n, x, false) < 0)
        return -1;
    *logits = out.data;
    return 0;
}

static int reorder(void *ctx, int first, const int *parent, int n)
{
    struct answer *a = ctx;
    return opt_cache_reorder(a->cache, first, parent, n);
}

/* The last prompt stays, and without beams what was answered: the next question of a
 * conversation begins with both. */
static int keep_last(struct answer *a, const struct answer_prompt *p,
                     const struct gen_answer *answer, int i)
{
    int more = a->params.num_beams > 1 ? 0 : answer->n - 1;
    opt_cache_copy(a->cache, a->keep, i * a->rows, (int)p->n + more);
    return answer_keep(&a->kept, p, answer->ids, more, a->info.embed_size);
}

static struct gen_prompt *as_prompts(struct answer *a, const struct answer_prompt *p,
                                     const float *const *logits, int n)
{
    struct gen_prompt *out = arena_calloc(&a->mem, (size_t)n, sizeof *out);
    for (int i = 0; out && i < n; i++)
        out[i] = (struct gen_prompt){ .history = p[i].history,
                                      .n_history = p[i].n_history,
                                      .logits = logits[i],
                                      .room = room(a, &p[i]),
                                      .stream = p[i].number };
    return out;
}

int answer_run(struct gen_answer **out, struct answer *a, struct answer_prompt *p, int n,
               const struct gen_watch *watch)
{
    struct gen_model model = { a, a->info.vocab_size, step, reorder };
    size_t each = (size_t)a->params.num_return_sequences;
    const float **logits = arena_calloc(&a->mem, (size_t)n, sizeof *logits);
    *out = arena_calloc(&a->mem, (size_t)n * each, sizeof **out);
    if (!logits || !*out)
        return -1;
    if (n == 0)
        return 0;
    arena_reset(a->nn->mem);
    if (make_room(a, p, n) < 0 || prefill(logits, a, p, n) < 0)
        return -1;
    struct gen_prompt *prompts = as_prompts(a, p, logits, n);
    if (!prompts || gen_run(*out, &a->params, &model, prompts, n, watch, &a->mem) < 0)
        return -1;
    return keep_last(a, &p[n - 1], *out + (size_t)(n - 1) * each, n - 1);
}

int64_t answer_step_bytes(const struct answer *a)
{
    return opt_step_bytes(a->m);
}

/* ---- where an answer looks ---- */

struct look {
    struct nn_watch watch; /* first: the watch is the look */
    const struct answer_prompt *p;
    float *sum; /* (N, rows) */
    int64_t maps;
};

/* Adds a layer's p (H, N, S): the visual positions among S. */
static void add_layer(struct nn_watch *w, const struct nn_heads *heads, int64_t sequence,
                      struct tensor p)
{
    struct look *l = (struct look *)w;
    int64_t rows = p.dim[0] * p.dim[1], N = p.dim[1], S = p.dim[2];
    (void)sequence;
    for (int64_t r = 0; r < rows; r++) {
        const float *from = (const float *)p.data + r * S;
        float *to = l->sum + r % N * l->p->rows;
        for (int64_t s = 0; s < l->p->n; s++)
            if (l->p->at[s] == ANSWER_VISUAL)
                *to++ += from[s];
    }
    l->maps += heads->H;
}

/* The prompt with its answer, less the last token, which nothing was read after. */
static int extend(struct answer_prompt *out, const struct answer_prompt *p,
                  const struct gen_answer *answer, struct arena *mem)
{
    *out = *p;
    out->n = p->n + answer->n - 1;
    out->at = arena_calloc(mem, (size_t)out->n, sizeof *out->at);
    if (!out->at)
        return -1;
    memcpy(out->at, p->at, (size_t)p->n * sizeof *out->at);
    memcpy(out->at + p->n, answer->ids, (size_t)(answer->n - 1) * sizeof *out->at);
    return 0;
}

/* Reads p again from a position on, behind those that are still in the cache. */
static int read_again(struct answer *a, const struct answer_prompt *p, int64_t from, int seq)
{
    struct answer_source plan = { .length = from };
    struct opt_span span = { seq, p->n - plan.length };
    struct tensor x, logits;
    opt_cache_truncate(a->cache, seq, (int)plan.length);
    arena_reset(a->nn->mem);
    if (wave_rows(&x, a, p, &plan, &(int){ 0 }, 1) < 0)
        return -1;
    return opt_forward(&logits, a->m, a->nn, a->cache, &span, 1, x, false);
}

int answer_read(struct answer *a, const struct answer_prompt *p, int i)
{
    return read_again(a, p, 0, i * a->rows);
}

int answer_look(struct tensor *out, struct answer *a, const struct answer_prompt *p, int i,
                const struct gen_answer *answer, struct arena *mem)
{
    int64_t n = answer->n * p->rows;
    struct look l = { .watch.attention = add_layer, .p = p };
    struct answer_prompt all;
    l.sum = arena_calloc(mem, (size_t)n, sizeof *l.sum);
    if (!l.sum || extend(&all, p, answer, &a->mem) < 0)
        return -1;
    a->nn->watch = &l.watch;
    int rc = read_again(a, &all, p->n - 1, i * a->rows);
    a->nn->watch = NULL;
    for (int64_t k = 0; rc == 0 && k < n; k++)
        l.sum[k] /= (float)l.maps;
    *out = tensor_2d(l.sum, DT_F32, answer->n, p->rows);
    return rc;
}
