/* generate.c - lib/answer with lib/gen and the real OPT code: every case of
 * golden/<checkpoint>/generate.json and generate_batch.json, from the golden visual rows; what
 * a batch, a prefix that was read before or another instruction set may change (nothing). */
#include "answer/answer.h"
#include "lib/tap.h"
#include "store/safetensors.h"

#include <jansson.h>

#define BATCH 8

struct checkpoint {
    const char *name;
    struct store *st;
    struct arena weights, scratch, names;
    struct nn nn;
    struct opt_lm *lm;
    struct safetensors rows; /* golden language_model_inputs; no entries for text alone */
    json_t *cases, *batches;
};

static json_t *golden(const char *name, const char *file, const char *key)
{
    char path[512];
    snprintf(path, sizeof path, "golden/%s/%s", name, file);
    const char *found = tap_fixture(path);
    json_t *root = found ? json_load_file(found, JSON_ALLOW_NUL, NULL) : NULL;
    json_t *v = json_incref(json_object_get(root, key));
    json_decref(root);
    return v;
}

/* 0, or -1: what is missing is said as a skip or a failure. */
static int open_checkpoint(struct checkpoint *c, const char *name)
{
    char path[512];
    memset(c, 0, sizeof *c);
    c->name = name;
    snprintf(path, sizeof path, "checkpoints/%s/config.json", name);
    c->cases = golden(name, "generate.json", "cases");
    c->batches = golden(name, "generate_batch.json", "batches");
    if (!c->cases || !tap_fixture(path)) {
        skip(name);
        return -1;
    }
    snprintf(path, sizeof path, "%s", tap_fixture(path));
    path[strlen(path) - strlen("/config.json")] = '\0';
    char rows[512];
    snprintf(rows, sizeof rows, "golden/%s/qformer.safetensors", name);
    const char *file = tap_fixture(rows);
    c->st = store_open(path);
    int rc = c->st ? nn_init(&c->nn, &c->scratch, NULL, NULL) : -1;
    if (rc == 0 && file)
        rc = safetensors_open(&c->rows, file, &c->names);
    c->lm = rc == 0 ? opt_open(c->st, &c->weights) : NULL;
    return ok(c->lm != NULL, "%s: opens (%s)", name, c->lm ? "" : err_msg()) ? 0 : -1;
}

static void close_checkpoint(struct checkpoint *c)
{
    if (c->rows.count)
        safetensors_close(&c->rows);
    store_close(c->st);
    arena_release(&c->weights);
    arena_release(&c->scratch);
    arena_release(&c->names);
    json_decref(c->cases);
    json_decref(c->batches);
}

/* ---- a golden case as a question ---- */

static struct tensor visual_rows(const struct checkpoint *c, const char *image)
{
    char name[256];
    struct tensor t = { 0 };
    snprintf(name, sizeof name, "language_model_inputs/%s", image ? image : "");
    for (size_t i = 0; i < c->rows.count; i++)
        if (!strcmp(c->rows.entries[i].name, name))
            safetensors_tensor(&t, &c->rows.entries[i]);
    return t;
}

static int64_t *id_list(json_t *list, struct arena *mem, int64_t *n)
{
    *n = (int64_t)json_array_size(list);
    int64_t *ids = json_is_array(list) ? arena_calloc(mem, (size_t)*n, sizeof *ids) : NULL;
    for (int64_t i = 0; ids && i < *n; i++)
        ids[i] = json_integer_value(json_array_get(list, (size_t)i));
    return ids;
}

static double number(json_t *o, const char *key, double def)
{
    json_t *v = json_object_get(o, key);
    return v ? json_number_value(v) : def;
}

static int early(json_t *k)
{
    json_t *v = json_object_get(k, "early_stopping");
    return json_is_string(v) ? GEN_EARLY_NEVER
           : json_is_true(v) ? GEN_EARLY_TRUE
                             : GEN_EARLY_FALSE;
}

/* max_length and min_length count the prompt, `prompt` ids of it. */
static struct gen_params params_of(json_t *k, int64_t prompt)
{
    struct gen_params p;
    json_t *eos = json_object_get(k, "eos_token_id");
    gen_params_init(&p);
    p.max_new_tokens = (int)number(k, "max_new_tokens", 20);
    p.min_new_tokens = (int)number(k, "min_new_tokens", 0);
    if (json_object_get(k, "max_length"))
        p.max_new_tokens = (int)(number(k, "max_length", 0) - (double)prompt);
    if (json_object_get(k, "min_length"))
        p.min_new_tokens = (int)(number(k, "min_length", 0) - (double)prompt);
    p.num_beams = (int)number(k, "num_beams", 1);
    p.length_penalty = number(k, "length_penalty", 1);
    p.early_stopping = early(k);
    p.repetition_penalty = number(k, "repetition_penalty", 1);
    p.no_repeat_ngram_size = (int)number(k, "no_repeat_ngram_size", 0);
    p.num_return_sequences = (int)number(k, "num_return_sequences", 1);
    for (size_t i = 0; i < json_array_size(eos); i++)
        p.eos[p.eos_count++] = json_integer_value(json_array_get(eos, i));
    return p;
}

static struct answer_question question_of(const struct checkpoint *c, json_t *ids, json_t *mask,
                                          const char *image, struct arena *mem)
{
    struct answer_question q = { 0 };
    int64_t n_mask;
    q.ids = id_list(ids, mem, &q.n);
    q.mask = id_list(mask, mem, &n_mask);
    q.visual = visual_rows(c, image);
    return q;
}

/* ---- comparing ---- */

struct tally {
    int stable, stable_same, other, other_same, scores, scores_off;
    double worst_score;
};

static bool same_as(const struct gen_answer *a, json_t *want)
{
    bool same = a->n == (int)json_array_size(want);
    for (int i = 0; same && i < a->n; i++)
        same = a->ids[i] == json_integer_value(json_array_get(want, (size_t)i));
    return same;
}

static void compare(struct tally *t, const struct checkpoint *c, json_t *kase,
                    const struct gen_answer *a)
{
    json_t *want = json_object_get(kase, "generated"), *stop = json_object_get(kase, "stop"),
           *scores = json_object_get(kase, "sequences_scores");
    bool stable = json_is_true(json_object_get(kase, "stable")), same = true;
    for (size_t i = 0; i < json_array_size(want); i++)
        same = same && same_as(&a[i], json_array_get(want, i)) &&
               !strcmp(json_string_value(json_array_get(stop, i)), a[i].eos ? "eos" : "length");
    for (size_t i = 0; same && i < json_array_size(scores); i++) {
        double s = json_number_value(json_array_get(scores, i));
        double off = fabs(a[i].score - s) / fmax(1, fabs(s));
        t->scores++;
        t->scores_off += off > 1e-5;
        t->worst_score = fmax(t->worst_score, off);
    }
    *(stable ? &t->stable : &t->other) += 1;
    *(stable ? &t->stable_same : &t->other_same) += same;
    const char *id = json_string_value(json_object_get(kase, "id"));
    if (!same)
        printf("# %s: %s differs%s\n", c->name,
               id ? id : json_string_value(json_object_get(kase, "prompt")),
               stable ? "" : " (not stable)");
}

static const char *image_of(json_t *kase)
{
    return json_string_value(json_object_get(kase, "image"));
}

/* Cases first..first+n of one set of arguments, together. */
static int run_cases(struct tally *t, const struct checkpoint *c, struct nn *nn, size_t first,
                     int n)
{
    struct arena mem;
    struct answer_prompt p[BATCH];
    struct gen_answer *a;
    int rc = 0;
    arena_init(&mem);
    json_t *kase = json_array_get(c->cases, first);
    json_t *ids = json_object_get(kase, "input_ids"); /* null: image tokens and bos */
    int64_t prompt = json_is_array(ids) ? (int64_t)json_array_size(ids)
                                        : opt_info(c->lm).num_query_tokens + 1;
    struct gen_params params = params_of(json_object_get(kase, "kwargs"), prompt);
    struct answer *s = answer_open(c->lm, nn, &params, n);
    for (int i = 0; i < n && rc == 0; i++) {
        kase = json_array_get(c->cases, first + (size_t)i);
        struct answer_question q = question_of(c, json_object_get(kase, "input_ids"),
                                               json_object_get(kase, "attention_mask"),
                                               image_of(kase), &mem);
        rc = answer_layout(&p[i], s, &q);
    }
    if (rc == 0)
        rc = answer_run(&a, s, p, n, NULL);
    for (int i = 0; i < n && rc == 0; i++)
        compare(t, c, json_array_get(c->cases, first + (size_t)i),
                a + (size_t)i * params.num_return_sequences);
    answer_close(s);
    arena_release(&mem);
    return rc;
}

/* How many cases from i on have the same arguments and can run together; lengths that count
 * the prompt differ from case to case. */
static int alike(const struct checkpoint *c, size_t i)
{
    json_t *kwargs = json_object_get(json_array_get(c->cases, i), "kwargs");
    int n = 1;
    if (json_object_get(kwargs, "max_length"))
        return 1;
    while (
        n < BATCH && i + (size_t)n < json_array_size(c->cases) &&
        json_equal(kwargs, json_object_get(json_array_get(c->cases, i + (size_t)n), "kwargs")))
        n++;
    return n;
}

static void all_cases(struct tally *all, struct checkpoint *c)
{
    struct tally t = { 0 };
    int n;
    for (size_t i = 0; i < json_array_size(c->cases); i += (size_t)n) {
        n = alike(c, i);
        if (run_cases(&t, c, &c->nn, i, n) < 0) {
            ok(0, "%s: case %zu: %s", c->name, i, err_msg());
            return;
        }
    }
    ok(t.stable_same == t.stable, "%s: %d of %d stable cases: transformers' ids and stops",
       c->name, t.stable_same, t.stable);
    if (t.scores)
        ok(t.scores_off == 0, "%s: %d sequences_scores within %.1e (<= 1e-5, relative)",
           c->name, t.scores, t.worst_score);
    printf("# %s: %d of %d other cases the same\n", c->name, t.other_same, t.other);
    all->stable += t.stable;
    all->stable_same += t.stable_same;
    all->other += t.other;
    all->other_same += t.other_same;
}

/* The reference's left-padded batches, with their padding and masks. */
static void padded_batches(struct checkpoint *c)
{
    int rows = 0, same = 0, rc = 0;
    for (size_t b = 0; b < json_array_size(c->batches) && rc == 0; b++) {
        json_t *o = json_array_get(c->batches, b);
        struct gen_params params = params_of(json_object_get(o, "kwargs"), 0);
        struct answer_prompt p[BATCH];
        struct gen_answer *a;
        struct arena mem;
        arena_init(&mem);
        json_t *ids = json_object_get(o, "input_ids"), *images = json_object_get(o, "images");
        int n = (int)json_array_size(ids);
        struct answer *s = answer_open(c->lm, &c->nn, &params, n);
        for (int i = 0; i < n && rc == 0; i++) {
            struct answer_question q = question_of(
                c, json_array_get(ids, (size_t)i),
                json_array_get(json_object_get(o, "attention_mask"), (size_t)i),
                json_string_value(json_array_get(images, (size_t)i)), &mem);
            rc = answer_layout(&p[i], s, &q);
        }
        if (rc == 0)
            rc = answer_run(&a, s, p, n, NULL);
        for (int i = 0; i < n && rc == 0; i++, rows++)
            same += same_as(&a[i], json_array_get(json_object_get(o, "generated"), (size_t)i));
        answer_close(s);
        arena_release(&mem);
    }
    if (json_array_size(c->batches))
        ok(rc == 0 && same == rows,
           "%s: %d of %d rows of padded batches: transformers' ids (%s)", c->name, same, rows,
           rc ? err_msg() : "");
}

/* ---- the same bits, whatever was read before ---- */

/* A conversation about one picture: every question begins with all of the one before. */
#define TURNS 4

struct turn {
    int64_t ids[64], n;
    struct tensor visual;
};

static void make_turns(struct turn *t, const struct checkpoint *c)
{
    struct opt_info info = opt_info(c->lm);
    struct tensor rows = visual_rows(c, "astronaut.png");
    for (int k = 0; k < TURNS; k++) {
        t[k].visual = rows;
        t[k].n = 0;
        for (int i = 0; rows.data && info.image_token >= 0 && i < rows.dim[0]; i++)
            t[k].ids[t[k].n++] = info.image_token;
        t[k].ids[t[k].n++] = info.bos;
        for (int i = 0; i < 3 + 5 * k; i++)
            t[k].ids[t[k].n++] = 10 + 7 * i % 150;
    }
}

/* What each turn gives: ids, and the score as a fingerprint of all its logits. */
struct said {
    int64_t ids[16];
    int n;
    double score;
    int64_t reused, positions;
};

static int ask(struct said *out, struct answer *s, struct turn *t, int n)
{
    struct answer_prompt p[TURNS];
    struct gen_answer *a;
    answer_begin(s);
    for (int k = 0; k < n; k++) {
        struct answer_question q = {
            .ids = t[k].ids, .n = t[k].n, .visual = t[k].visual, .number = 7
        };
        if (answer_layout(&p[k], s, &q) < 0)
            return -1;
    }
    if (answer_run(&a, s, p, n, NULL) < 0)
        return -1;
    for (int k = 0; k < n; k++) {
        const struct gen_answer *first = &a[k]; /* one answer each */
        out[k] = (struct said){
            .n = first->n, .score = first->score, .reused = p[k].reused, .positions = p[k].n
        };
        memcpy(out[k].ids, first->ids, (size_t)first->n * sizeof *first->ids);
    }
    return 0;
}

static bool same_said(const struct said *a, const struct said *b)
{
    return a->n == b->n && a->score == b->score &&
           !memcmp(a->ids, b->ids, (size_t)a->n * sizeof *a->ids);
}

static void reuse(struct checkpoint *c, const char *what, struct gen_params params)
{
    struct turn turns[TURNS];
    struct said fresh[TURNS], chat[TURNS], batch[TURNS];
    int rc = 0, same_chat = 0, same_batch = 0, only_new = 0, shared = 0;
    make_turns(turns, c);
    params.max_new_tokens = 6;
    params.eos_count = 1; /* never comes: answers of full length */
    params.eos[0] = -5;
    for (int k = 0; k < TURNS; k++) {
        struct answer *s = answer_open(c->lm, &c->nn, &params, 1);
        rc |= ask(&fresh[k], s, &turns[k], 1);
        answer_close(s);
    }
    struct answer *s = answer_open(c->lm, &c->nn, &params, 1);
    for (int k = 0; k < TURNS; k++)
        rc |= ask(&chat[k], s, &turns[k], 1);
    answer_close(s);
    s = answer_open(c->lm, &c->nn, &params, TURNS);
    rc |= ask(batch, s, turns, TURNS);
    answer_close(s);
    for (int k = 0; k < TURNS && rc == 0; k++) {
        same_chat += same_said(&fresh[k], &chat[k]);
        same_batch += same_said(&fresh[k], &batch[k]);
        only_new += k == 0 || chat[k].reused >= fresh[k - 1].positions;
        shared += k == 0 || batch[k].reused >= batch[0].positions - 1;
    }
    ok(rc == 0 && same_chat == TURNS && only_new == TURNS,
       "%s, %s: a conversation reads only what is new (last turn %lld of %lld), same bits (%s)",
       c->name, what, (long long)(chat[TURNS - 1].positions - chat[TURNS - 1].reused),
       (long long)chat[TURNS - 1].positions, rc ? err_msg() : "");
    ok(rc == 0 && same_batch == TURNS && shared == TURNS,
       "%s, %s: questions of a batch share the picture's prefix, same bits", c->name, what);
}

static void all_reuse(struct checkpoint *c)
{
    struct gen_params p;
    gen_params_init(&p);
    reuse(c, "greedy", p);
    p.do_sample = true;
    p.seed = 3;
    reuse(c, "sampling", p);
    p.do_sample = false;
    p.seed = 0;
    p.num_beams = 3;
    reuse(c, "beams", p);
}

/* Another picture, or none, behind the same ids shares nothing but what is in front of it. */
static void no_false_reuse(struct checkpoint *c)
{
    struct turn t[TURNS];
    struct said first, other, alone;
    struct gen_params p;
    make_turns(t, c);
    gen_params_init(&p);
    p.max_new_tokens = 6;
    struct answer *s = answer_open(c->lm, &c->nn, &p, 1);
    int rc = ask(&first, s, &t[2], 1);
    t[2].visual = visual_rows(c, "coffee.png");
    rc |= ask(&other, s, &t[2], 1);
    answer_close(s);
    s = answer_open(c->lm, &c->nn, &p, 1);
    rc |= ask(&alone, s, &t[2], 1);
    answer_close(s);
    ok(rc == 0 && other.reused == 0 && same_said(&other, &alone),
       "%s: another picture is read anew", c->name);
}

/* ---- refusals ---- */

static void refusals(struct checkpoint *c)
{
    struct opt_info info = opt_info(c->lm);
    struct gen_params p;
    struct answer_prompt out;
    struct turn t[TURNS];
    static int64_t many[4096];
    gen_params_init(&p);
    make_turns(t, c);
    struct answer *s = answer_open(c->lm, &c->nn, &p, 1);
    struct answer_question q = { .ids = t[0].ids, .n = t[0].n, .visual = t[0].visual };
    ok(answer_layout(&out, s, &q) == 0, "%s: a sound question", c->name);
    struct answer_question bad = q;
    bad.visual.dim[1]--;
    fails(answer_layout(&out, s, &bad), ERR_DATA, "language_model_inputs: shape (");
    bad = q;
    bad.visual.dim[0]--;
    fails(answer_layout(&out, s, &bad), ERR_DATA, "language_model_inputs: shape (");
    bad = q;
    float nan_rows[4096] = { 0 };
    nan_rows[5] = NAN;
    bad.visual.data = nan_rows;
    fails(answer_layout(&out, s, &bad), ERR_DATA, "language_model_inputs");
    bad = (struct answer_question){ 0 };
    fails(answer_layout(&out, s, &bad), ERR_DATA, "neither input_ids nor");
    int64_t one = info.vocab_size;
    bad = (struct answer_question){ .ids = &one, .n = 1 };
    fails(answer_layout(&out, s, &bad), ERR_DATA, "input_ids: ");
    one = -1;
    fails(answer_layout(&out, s, &bad), ERR_DATA, "input_ids: -1 at 0, expected 0 to");
    bad.n = 0;
    fails(answer_layout(&out, s, &bad), ERR_DATA, "input_ids: empty");
    if (info.image_token >= 0) {
        bad = q;
        bad.ids++;
        bad.n--;
        fails(answer_layout(&out, s, &bad), ERR_DATA, "image tokens, expected");
        bad = q;
        bad.visual.data = NULL;
        fails(answer_layout(&out, s, &bad), ERR_DATA, "image tokens, but no");
    }
    for (int i = 0; i < 4096; i++)
        many[i] = 5;
    bad = (struct answer_question){ .ids = many, .n = info.max_positions + 1 };
    fails(answer_layout(&out, s, &bad), ERR_DATA, "positions, the model's context has");
    answer_close(s);
}

/* A prompt that fills the context has room for the one token that need not be read. */
static void full_context(struct checkpoint *c)
{
    struct opt_info info = opt_info(c->lm);
    struct gen_params p;
    int64_t ids[1024];
    int short_of[] = { 0, 1, 5 }, right = 0, rc = 0;
    gen_params_init(&p);
    p.eos_count = 1;
    p.eos[0] = -5;
    for (int i = 0; i < 1024; i++)
        ids[i] = 4 + i % 200;
    for (int k = 0; k < 3; k++)
        for (int beams = 1; beams < 3; beams++) {
            struct answer_prompt prompt;
            struct gen_answer *a;
            struct answer_question q = { .ids = ids, .n = info.max_positions - short_of[k] };
            p.num_beams = beams;
            struct answer *s = answer_open(c->lm, &c->nn, &p, 1);
            rc |= answer_layout(&prompt, s, &q);
            rc |= answer_run(&a, s, &prompt, 1, NULL);
            right += rc == 0 && a->n == short_of[k] + 1 && !a->eos;
            answer_close(s);
        }
    ok(rc == 0 && right == 6, "%s: answers end where the context of %d does (%s)", c->name,
       info.max_positions, rc ? err_msg() : "");
}

static void one_checkpoint(struct tally *all, const char *name)
{
    struct checkpoint c;
    if (open_checkpoint(&c, name) == 0) {
        all_cases(all, &c);
        padded_batches(&c);
        all_reuse(&c);
        full_context(&c);
        if (c.rows.count) {
            no_false_reuse(&c);
            refusals(&c);
        }
    }
    close_checkpoint(&c);
}

int main(void)
{
    static const char *const names[] = {
        "tiny-blip2-opt",      "tiny-blip2-opt-old",      "tiny-blip2-opt-fp16-sharded",
        "tiny-blip2-opt-bf16", "tiny-blip2-opt-postnorm", "tiny-opt-350m-style"
    };
    struct tally all = { 0 };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        one_checkpoint(&all, names[i]);
    if (!all.stable)
        return tap_done();
    ok(all.stable_same == all.stable && all.other_same >= 0.95 * all.other,
       "all checkpoints: %d of %d stable cases, %d of %d others (>= 95 %%)", all.stable_same,
       all.stable, all.other_same, all.other);
    return tap_done();
}
