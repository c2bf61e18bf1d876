/* gen.c - lib/gen: distributions against transformers' (golden/sampling), policies against
 * small models whose best answers can be counted out. */
#include "gen/gen.h"
#include "gen/beam.h"
#include "gen/sample.h"
#include "lib/tap.h"
#include "store/safetensors.h"

#include <jansson.h>

/* ---- golden/sampling ---- */

static const struct safetensors_entry *entry(const struct safetensors *f, const char *kind,
                                             const char *vector, const char *config)
{
    char name[256];
    snprintf(name, sizeof name, "%s/%s%s%s", kind, vector, config ? "/" : "",
             config ? config : "");
    for (size_t i = 0; i < f->count; i++)
        if (!strcmp(f->entries[i].name, name))
            return &f->entries[i];
    return NULL;
}

static double number(json_t *o, const char *key, double def)
{
    json_t *v = json_object_get(o, key);
    return v ? json_number_value(v) : def;
}

static struct gen_params params_of(json_t *c)
{
    struct gen_params p;
    json_t *k = json_object_get(c, "kwargs");
    gen_params_init(&p);
    p.do_sample = true;
    p.top_k = (int)number(k, "top_k", 50);
    p.top_p = number(k, "top_p", 1);
    p.min_p = number(k, "min_p", 0);
    p.typical_p = number(k, "typical_p", 1);
    p.temperature = number(k, "temperature", 1);
    p.repetition_penalty = number(k, "repetition_penalty", 1);
    p.no_repeat_ngram_size = (int)number(k, "no_repeat_ngram_size", 0);
    p.min_new_tokens = (int)number(k, "min_new_tokens", 0);
    p.eos[0] = (int64_t)number(c, "eos_token_id", -1);
    p.eos_count = 1;
    return p;
}

/* Worst difference of the probabilities; tokens kept here and not there (or the other way
 * round) count as 1. */
static double compare(const struct gen_work *w, const struct safetensors *f, const char *vector,
                      const char *config)
{
    const struct safetensors_entry *dense = entry(f, "probs", vector, config),
                                   *ids = entry(f, "ids", vector, config),
                                   *p = entry(f, "p", vector, config);
    double *want = calloc((size_t)w->vocab, sizeof *want), worst = 0;
    double lse = gen_log_sum_exp(w->scores, w->vocab);
    for (int64_t i = 0; dense && i < w->vocab; i++)
        want[i] = tensor_at(dense->tensor, i);
    for (int64_t i = 0; !dense && ids && i < tensor_count(ids->tensor); i++)
        want[(int64_t)tensor_at(ids->tensor, i)] = tensor_at(p->tensor, i);
    for (int64_t i = 0; i < w->vocab; i++) {
        double got = exp(w->scores[i] - lse);
        worst = fmax(worst, (got > 0) == (want[i] > 0) ? fabs(got - want[i]) : 1);
    }
    free(want);
    return dense || ids ? worst : 1;
}

static void one_distribution(json_t *c, const struct safetensors *f, struct arena *mem)
{
    const char *vector = json_string_value(json_object_get(c, "vector")),
               *config = json_string_value(json_object_get(c, "config"));
    struct gen_params p = params_of(c);
    struct gen_work w;
    int64_t ids[64];
    json_t *history = json_object_get(c, "history");
    int64_t n = (int64_t)json_array_size(history), n_prompt = (int64_t)number(c, "n_prompt", 0);
    struct tensor logits = entry(f, "logits", vector, NULL)->tensor;
    for (int64_t i = 0; i < n; i++)
        ids[i] = json_integer_value(json_array_get(history, (size_t)i));
    arena_reset(mem);
    if (gen_work_init(&w, tensor_count(logits), mem) < 0 ||
        gen_scores_copy(&w, logits.data) < 0) {
        ok(0, "%s %s: %s", vector, config, err_msg());
        return;
    }
    gen_process(&w, &p, ids, n, n - n_prompt);
    gen_warp(&w, &p);
    double worst = compare(&w, f, vector, config);
    ok(worst <= 1e-6, "sampling %s %s: same tokens, probabilities within %.1e (<= 1e-6)",
       vector, config, worst);
}

static void test_distributions(void)
{
    const char *json = tap_fixture("golden/sampling/sampling.json");
    const char *data = tap_fixture("golden/sampling/sampling.safetensors");
    struct safetensors f;
    struct arena names, mem;
    if (!json || !data) {
        skip("fixtures: no golden/sampling");
        return;
    }
    arena_init(&names);
    arena_init(&mem);
    json_t *root = json_load_file(json, 0, NULL), *c;
    size_t i;
    if (!ok(safetensors_open(&f, data, &names) == 0, "the golden distributions open"))
        return;
    json_array_foreach(json_object_get(root, "cases"), i, c) one_distribution(c, &f, &mem);
    safetensors_close(&f);
    json_decref(root);
    arena_release(&names);
    arena_release(&mem);
}

/* ---- a language model of a few words: the next token depends on the last two ---- */

#define V   7
#define EOS 6

struct words {
    int64_t prev[64], last[64]; /* of each row */
    float logits[64][V];
    int steps, reorders;
};

static void words_logits(float *out, int64_t prev, int64_t last)
{
    struct gen_rng r;
    gen_rng_init(&r, 7, (uint64_t)prev, (uint64_t)last);
    for (int i = 0; i < V; i++)
        out[i] = (float)(4 * gen_rng_uniform(&r));
}

static int words_step(void *ctx, const float **logits, const struct gen_token *next, int n)
{
    struct words *m = ctx;
    m->steps++;
    for (int i = 0; i < n; i++) {
        int row = next[i].row;
        m->prev[row] = m->last[row];
        m->last[row] = next[i].id;
        words_logits(m->logits[i], m->prev[row], m->last[row]);
    }
    *logits = m->logits[0];
    return 0;
}

static int words_reorder(void *ctx, int first, const int *parent, int n)
{
    struct words *m = ctx, old = *m;
    m->reorders++;
    for (int i = 0; i < n; i++) {
        m->prev[first + i] = old.prev[first + parent[i]];
        m->last[first + i] = old.last[first + parent[i]];
    }
    return 0;
}

/* Runs n prompts that end in (0, start[i]); out (n, num_return_sequences). */
static int run(struct gen_answer *out, const struct gen_params *p, const int64_t *start, int n,
               const struct gen_watch *watch, struct arena *mem)
{
    struct words m = { 0 };
    struct gen_model model = { &m, V, words_step, words_reorder };
    struct gen_prompt prompts[8];
    float first[8][V];
    for (int i = 0; i < n; i++) {
        words_logits(first[i], 0, start[i]);
        prompts[i] = (struct gen_prompt){ .history = &start[i],
                                          .n_history = 1,
                                          .logits = first[i],
                                          .room = 40,
                                          .stream = (uint64_t)start[i] };
        for (int k = 0; k < gen_rows(p); k++)
            m.last[i * gen_rows(p) + k] = start[i];
    }
    return gen_run(out, p, &model, prompts, n, watch, mem);
}

static struct gen_params words_params(int max_new, int beams)
{
    struct gen_params p;
    gen_params_init(&p);
    p.max_new_tokens = max_new;
    p.num_beams = beams;
    p.eos[0] = EOS;
    p.eos_count = 1;
    return p;
}

/* The best sequence there is, by trying all. */
struct best {
    double score;
    int n;
    int64_t ids[8], path[8];
};
static void search(struct best *b, int64_t prev, int64_t last, double sum, int n, int max,
                   double penalty)
{
    float lp[V];
    if (n && (last == EOS || n == max)) {
        if (sum / pow(n, penalty) > b->score) {
            b->score = sum / pow(n, penalty);
            b->n = n;
            memcpy(b->ids, b->path, sizeof b->ids);
        }
        return;
    }
    words_logits(lp, prev, last);
    gen_log_softmax(lp, V);
    for (int i = 0; i < V; i++) {
        b->path[n] = i;
        search(b, last, i, sum + lp[i], n + 1, max, penalty);
    }
}

static int same_ids(const struct gen_answer *a, const int64_t *ids, int n)
{
    return a->n == n && !memcmp(a->ids, ids, (size_t)n * sizeof *ids);
}

static void test_exhaustive(struct arena *mem)
{
    static const double penalties[] = { 0, 1, -1, 0.6 };
    int wrong = 0, cases = 0;
    for (int64_t start = 0; start < 6; start++)
        for (int k = 0; k < 4; k++) {
            struct gen_params p = words_params(3, 49);
            struct best b = { .score = -INFINITY };
            struct gen_answer a[1];
            p.length_penalty = penalties[k];
            p.early_stopping = GEN_EARLY_NEVER;
            search(&b, 0, start, 0, 0, 3, penalties[k]);
            arena_reset(mem);
            wrong += run(a, &p, &start, 1, NULL, mem) < 0 || !same_ids(a, b.ids, b.n) ||
                     fabs(a->score - b.score) > 1e-6;
            cases++;
        }
    ok(wrong == 0, "%d searches with a beam for every prefix find the best sequence there is",
       cases);
}

static void test_greedy(struct arena *mem)
{
    struct gen_params p = words_params(10, 1);
    struct gen_answer a[3];
    int64_t start[3] = { 1, 2, 3 }, prev = 0, last = 2, want[10];
    int n = 0;
    double score = 0;
    float lp[V];
    do {
        words_logits(lp, prev, last);
        gen_log_softmax(lp, V);
        prev = last;
        last = want[n++] = gen_argmax(lp, V);
        score += lp[last];
    } while (last != EOS && n < 10);
    ok(run(a, &p, start, 3, NULL, mem) == 0 && same_ids(&a[1], want, n) &&
           fabs(a[1].score - score) < 1e-5 && a[1].eos == (last == EOS),
       "greedy: the likeliest token each time, score the sum of their log p");
    p.min_new_tokens = 10;
    ok(run(a, &p, start, 3, NULL, mem) == 0 && a[0].n == 10 && a[1].n == 10 && a[2].n == 10,
       "min_new_tokens: no eos before");
    p.max_new_tokens = 1000;
    p.eos_count = 0;
    ok(run(a, &p, start, 3, NULL, mem) == 0 && a[0].n == 40 && !a[0].eos,
       "the context's room ends an answer");
}

/* Every policy: prompts together and alone give the same answers. */
static void same_alone(const char *what, struct gen_params p, struct arena *mem)
{
    struct gen_answer together[4 * 4], alone[4];
    int64_t start[4] = { 1, 4, 2, 5 };
    int k = p.num_return_sequences, wrong = run(together, &p, start, 4, NULL, mem) != 0;
    for (int i = 0; i < 4; i++) {
        wrong += run(alone, &p, &start[i], 1, NULL, mem) != 0;
        for (int j = 0; j < k && !wrong; j++)
            wrong += !same_ids(&alone[j], together[i * k + j].ids, together[i * k + j].n) ||
                     alone[j].score != together[i * k + j].score;
    }
    ok(wrong == 0, "%s: the same answers and scores in a batch and alone", what);
}

static void test_batches(struct arena *mem)
{
    struct gen_params p = words_params(12, 1);
    same_alone("greedy", p, mem);
    p.do_sample = true;
    p.num_return_sequences = 3;
    p.seed = 5;
    same_alone("sampling", p, mem);
    p.num_beams = 4;
    same_alone("beam sampling", p, mem);
    p.do_sample = false;
    p.seed = 0;
    same_alone("beams", p, mem);
}

static void test_beams(struct arena *mem)
{
    struct gen_params p = words_params(12, 4);
    struct gen_answer a[4];
    int64_t start = 1;
    p.num_return_sequences = 4;
    int rc = run(a, &p, &start, 1, NULL, mem), sorted = 1;
    for (int i = 0; i < 4; i++)
        sorted &= i == 0 ||
                  (a[i - 1].score >= a[i].score && !same_ids(&a[i], a[i - 1].ids, a[i - 1].n));
    ok(rc == 0 && sorted, "beams give different answers, best first");
    p.length_penalty = -2;
    struct gen_answer s[4];
    ok(run(s, &p, &start, 1, NULL, mem) == 0 && s[0].n < a[0].n + (a[0].n == 1),
       "a length penalty below 0 favours shorter answers");
    p.repetition_penalty = 1e6;
    p.length_penalty = 1;
    p.max_new_tokens = 5;
    p.min_new_tokens = 5;
    ok(run(a, &p, &start, 1, NULL, mem) == 0 && a[0].n == 5, "penalties act inside beams");
}

/* Frequencies of the first sampled token against the distribution it is drawn from. */
static void test_frequencies(struct arena *mem)
{
    struct gen_params p = words_params(1, 1);
    int64_t start = 3;
    int count[V] = { 0 }, draws = 40000, beam_count[V] = { 0 };
    float lp[V];
    struct gen_answer a[1];
    p.do_sample = true;
    words_logits(lp, 0, start);
    gen_log_softmax(lp, V);
    double chi2 = 0, chi2_beam = 0;
    for (int i = 0; i < draws; i++) {
        p.seed = (uint64_t)i;
        p.num_beams = 1;
        arena_reset(mem);
        if (run(a, &p, &start, 1, NULL, mem) == 0)
            count[a->ids[0]]++;
        struct gen_rng r;
        gen_rng_init(&r, (uint64_t)i, 0, 0);
        int best = 0;
        double top = -INFINITY;
        for (int k = 0; k < V; k++) {
            double key = lp[k] + gen_gumbel(&r);
            best = key > top ? k : best;
            top = fmax(key, top);
        }
        beam_count[best]++;
    }
    for (int k = 0; k < V; k++) {
        double want = draws * exp(lp[k]);
        chi2 += (count[k] - want) * (count[k] - want) / want;
        chi2_beam += (beam_count[k] - want) * (beam_count[k] - want) / want;
    }
    ok(chi2 < 22.5,
       "40,000 draws follow the distribution (chi2 %.1f of 6, < 22.5 is p > 0.001)", chi2);
    ok(chi2_beam < 22.5, "and so do the largest of score + Gumbel (chi2 %.1f)", chi2_beam);
}

static void test_seeds(struct arena *mem)
{
    struct gen_params p = words_params(12, 1);
    struct gen_answer a[4], b[4];
    int64_t start = 1;
    p.do_sample = true;
    p.num_return_sequences = 4;
    p.eos_count = 0;
    int rc = run(a, &p, &start, 1, NULL, mem) | run(b, &p, &start, 1, NULL, mem);
    ok(rc == 0 && same_ids(&a[0], b[0].ids, 12) && same_ids(&a[3], b[3].ids, 12) &&
           !same_ids(&a[0], a[1].ids, 12),
       "a seed gives the same answers again, and each its own");
    p.seed = 1;
    ok(run(b, &p, &start, 1, NULL, mem) == 0 && !same_ids(&a[0], b[0].ids, 12),
       "another seed gives others");
    p.temperature = 1e-3;
    p.top_k = 1;
    struct gen_params g = words_params(12, 1);
    g.eos_count = 0;
    ok(run(a, &p, &start, 1, NULL, mem) == 0 && run(b, &g, &start, 1, NULL, mem) == 0 &&
           same_ids(&a[2], b[0].ids, 12),
       "top_k 1 is greedy search");
}

/* The first numbers of the authors' xoshiro256plusplus.c from the state {1, 2, 3, 4}. */
static void test_generator(void)
{
    struct gen_rng r = { { 1, 2, 3, 4 } };
    ok(gen_rng_next(&r) == 41943041u && gen_rng_next(&r) == 58720359u,
       "the generator is xoshiro256++");
}

struct heard {
    int n, wrong;
    int64_t ids[64];
};
static int hear(void *ctx, int prompt, int sequence, const int64_t *ids, int n)
{
    struct heard *h = ctx;
    h->wrong += prompt != 0 || sequence != 0 || n != h->n + 1 ||
                memcmp(h->ids, ids, (size_t)h->n * sizeof *ids);
    h->ids[h->n++] = ids[n - 1];
    return h->n == 5 ? err_set(ERR_IO, "the listener left") : 0;
}

static void test_watch(struct arena *mem)
{
    struct gen_params p = words_params(4, 1);
    struct gen_answer a[1];
    struct heard h = { 0 };
    struct gen_watch watch = { .ctx = &h, .token = hear };
    int64_t start = 1;
    p.eos_count = 0;
    ok(run(a, &p, &start, 1, &watch, mem) == 0 && h.wrong == 0 && same_ids(a, h.ids, h.n),
       "tokens are told of as they come");
    h.n = 0;
    p.max_new_tokens = 8;
    fails(run(a, &p, &start, 1, &watch, mem), ERR_IO, "the listener left");
}

static void test_refusals(struct arena *mem)
{
    struct gen_params p = words_params(4, 1);
    struct gen_answer a[8];
    int64_t start = 1;
    p.num_return_sequences = 2;
    fails(run(a, &p, &start, 1, NULL, mem), ERR_USAGE,
          "num_return_sequences: 2, but greedy search has one answer");
    p.num_return_sequences = 4;
    p.num_beams = 3;
    fails(gen_params_check(&p), ERR_USAGE,
          "num_return_sequences: 4, expected at most num_beams");
    p = words_params(0, 1);
    fails(gen_params_check(&p), ERR_USAGE, "max_new_tokens: 0, expected 1 to");
    p = words_params(1, 1);
    p.do_sample = true;
    p.temperature = 0;
    fails(gen_params_check(&p), ERR_USAGE, "temperature: 0, expected more than 0");
    p = words_params(1, 1);
    p.top_p = 1.5;
    fails(gen_params_check(&p), ERR_USAGE, "top_p: 1.5, expected 0 to 1");
    p = words_params(1, 1);
    p.top_k = 3;
    fails(gen_params_check(&p), ERR_USAGE, "do nothing without do_sample");
    p = words_params(1, 1);
    p.length_penalty = 2;
    fails(gen_params_check(&p), ERR_USAGE, "do nothing without num_beams");
    struct gen_work w;
    float bad[3] = { 0, NAN, 1 }, none[3] = { -INFINITY, -INFINITY, -INFINITY };
    if (gen_work_init(&w, 3, mem) < 0)
        return;
    fails(gen_scores_copy(&w, bad), ERR_DATA, "logits: NaN for token 1");
    bad[1] = INFINITY;
    fails(gen_scores_copy(&w, bad), ERR_DATA, "logits: infinity for token 1");
    fails(gen_scores_copy(&w, none), ERR_DATA, "no token is possible");
}

int main(void)
{
    struct arena mem;
    arena_init(&mem);
    test_distributions();
    test_generator();
    test_greedy(&mem);
    test_beams(&mem);
    test_exhaustive(&mem);
    test_batches(&mem);
    test_frequencies(&mem);
    test_seeds(&mem);
    test_watch(&mem);
    test_refusals(&mem);
    arena_release(&mem);
    return tap_done();
}
