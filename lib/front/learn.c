/* learn.c - see learn.h. */
#include "front/learn.h"

#include "base/err.h"
#include "base/io.h"
#include "base/signals.h"
#include "cli/die.h"
#include "cli/env.h"
#include "front/checkpoint.h"
#include "front/journal.h"
#include "front/line.h"
#include "front/model.h"
#include "front/sampler.h"
#include "model/qformer.h"
#include "text/bpe.h"
#include "text/wordpiece.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct learn {
    const struct learn_args *a;
    char model[4096];
    struct store *store, *from;
    struct pool *pool;
    struct train *train;
    struct pairs pairs, held_out;
    struct features features;
    struct sampler sampler;
    struct journal journal;
    struct checkpoint checkpoint;
    struct train_schedule schedule;
    int64_t total, step; /* optimiser steps: of the run, and done */
    int *chosen;         /* (B) pairs of the batch at hand, of this rank */
    int longest;         /* ids of a text in it, and of all texts; of all ranks */
    int64_t tokens;
    int stop;           /* the signal that ends the run: the same on all ranks */
    struct arena batch; /* its tensors */
    struct nn nn;       /* for measuring */
    struct arena scratch;
};

/* ---- ranks ---- */

static volatile sig_atomic_t signalled;

static bool is_first(const struct learn *l)
{
    return l->a->train.comm->rank == 0;
}

/* What another rank has said: the same end, without a line. */
static int follow(int kind)
{
    err_set(kind, "another process failed");
    err_set_said();
    return -1;
}

/* Where all ranks meet: -1 on all if rc is -1 on one, whose message it is (the first's, if
 * there are several); and whether one was told to stop. */
static int agree(struct learn *l, int rc)
{
    const struct train_comm *c = l->a->train.comm;
    struct {
        int kind, stop;
    } own = { rc < 0 ? err_kind() : ERR_NONE, signalled }, *all = &own;
    if (c->size > 1 && !(all = calloc((size_t)c->size, sizeof *all)))
        return err_nomem("ranks"), LEARN_ALONE;
    if (c->size > 1 && c->gather(c->ctx, all, &own, sizeof own) < 0)
        rc = LEARN_ALONE;
    for (int r = 0; r < c->size; r++) {
        l->stop = l->stop ? l->stop : all[r].stop;
        if (rc == LEARN_ALONE || !all[r].kind)
            continue;
        rc = r == c->rank ? -1 : follow(all[r].kind);
        break;
    }
    if (c->size > 1)
        free(all);
    return rc;
}

/* ---- words ---- */

struct words {
    struct wordpiece *pieces; /* stage 1 */
    struct bpe *bpe;          /* stage 2 */
    struct bpe_ids ids;
    struct buf text;
};

static int words_open(struct words *w, const struct learn *l)
{
    if (l->a->train.stage == 1)
        w->pieces = wordpiece_open(l->model);
    else
        w->bpe = bpe_open(l->model);
    return w->pieces || w->bpe ? 0 : -1;
}

static void words_close(struct words *w)
{
    wordpiece_close(w->pieces);
    bpe_close(w->bpe);
    bpe_ids_release(&w->ids);
    buf_release(&w->text);
}

/* Stage 1: [CLS] caption [SEP]. Stage 2: </s> prompt caption newline. At most max_words ids. */
static int encode(struct words *w, const struct learn_args *a, const char *caption)
{
    size_t max = (size_t)a->max_words;
    w->ids.n = 0;
    if (w->pieces)
        return wordpiece_encode(&w->ids, w->pieces, caption, strlen(caption), max);
    buf_clear(&w->text);
    if (buf_printf(&w->text, "%s%s\n", a->prompt ? a->prompt : "", caption) < 0 ||
        bpe_encode(&w->ids, w->bpe, (const char *)w->text.data, w->text.len, BPE_BOS) < 0)
        return -1;
    w->ids.n = w->ids.n < max ? w->ids.n : max;
    return 0;
}

static int encode_all(struct words *w, const struct learn_args *a, struct pairs *p)
{
    for (int i = 0; i < p->pairs; i++) {
        struct pairs_pair *pair = &p->pair[i];
        if (encode(w, a, pair->caption) < 0)
            return err_wrap("%s:%d", pair->file, pair->line);
        pair->length = (int)w->ids.n;
        pair->ids = arena_memdup(&p->mem, w->ids.v, w->ids.n * sizeof *w->ids.v);
        if (!pair->ids)
            return -1;
    }
    return 0;
}

/* ---- opening ---- */

static void say_nothing(const char *fmt, ...)
{
    (void)fmt;
}

static int read_pairs(struct learn *l)
{
    const struct learn_args *a = l->a;
    l->pairs.skip_bad = l->held_out.skip_bad = a->skip_bad;
    l->pairs.say = l->held_out.say = is_first(l) ? cli_warn : say_nothing;
    for (int i = 0; i < a->data.n; i++) {
        char *end = NULL;
        double weight = a->weights.n ? strtod(a->weights.v[i], &end) : 0;
        if (end && (*end || end == a->weights.v[i] || !(weight > 0) || isinf(weight)))
            return err_set(ERR_USAGE, "--weight: '%s', expected a number above 0",
                           a->weights.v[i]);
        if (pairs_read(&l->pairs, a->data.v[i], weight) < 0)
            return -1;
        if (!end)
            l->pairs.set[i].weight = l->pairs.set[i].count;
    }
    if (a->eval && pairs_read(&l->held_out, a->eval, 1) < 0)
        return -1;
    struct words w = { 0 };
    int rc = words_open(&w, l) < 0 || encode_all(&w, a, &l->pairs) < 0 ||
                     encode_all(&w, a, &l->held_out) < 0
                 ? -1
                 : 0;
    words_close(&w);
    return rc;
}

static int open_model(struct learn *l)
{
    const struct learn_args *a = l->a;
    char from[4096];
    if (front_model(l->model, sizeof l->model, a->m.model) < 0 ||
        (a->from && front_model(from, sizeof from, a->from) < 0))
        return -1;
    l->store = store_open(l->model);
    l->from = l->store && a->from ? store_open(from) : NULL;
    l->pool = l->store && (l->from || !a->from) ? pool_new(env_threads(a->m.threads)) : NULL;
    if (!l->pool)
        return -1;
    l->train = train_open(l->store, l->from, &a->train, l->pool, env_cpu());
    return l->train ? nn_init(&l->nn, &l->scratch, l->pool, env_cpu()) : -1;
}

/* Every picture is looked at before the first step, so that a bad one costs no work. */
static int warm(struct learn *l, struct pairs *p, const char *what)
{
    struct tensor t;
    for (int i = 0; i < p->images; i++) {
        if (features_get(&t, &l->features, p, i) < 0)
            return -1;
        if (l->journal.tty && (i + 1 == p->images || i % 16 == 15))
            line_show("%s: %d of %d pictures", what, i + 1, p->images);
    }
    if (l->journal.tty)
        fputc('\n', stderr);
    return 0;
}

static int plan(struct learn *l)
{
    const struct learn_args *a = l->a;
    int64_t world = a->train.comm->size, a_step = (int64_t)a->m.batch * a->accumulate * world;
    l->schedule = a->schedule;
    l->schedule.epoch_steps = l->pairs.pairs / a_step;
    if (l->pairs.pairs < a->m.batch * world)
        return err_set(ERR_USAGE, "--batch-size: %d, but there are %d pairs", a->m.batch,
                       l->pairs.pairs);
    if (l->schedule.epoch_steps == 0)
        l->schedule.epoch_steps = 1;
    l->total = a->max_steps ? a->max_steps : l->schedule.epochs * l->schedule.epoch_steps;
    if (a->max_steps) /* the cosine ends where the run does */
        l->schedule.epochs = (l->total + l->schedule.epoch_steps - 1) / l->schedule.epoch_steps;
    l->chosen = calloc((size_t)a->m.batch, sizeof *l->chosen);
    return l->chosen ? sampler_init(&l->sampler, &l->pairs, a->train.seed)
                     : err_nomem("a batch");
}

/* ---- what must be the same for a run to go on ---- */

static void put_number(json_t *o, const char *key, double v)
{
    bool whole = v == floor(v) && fabs(v) < 1e15;
    json_object_set_new(o, key, whole ? json_integer((json_int_t)v) : json_real(v));
}

static json_t *run_facts(const struct learn *l)
{
    const struct learn_args *a = l->a;
    const struct train_options *t = &a->train;
    const struct train_schedule *s = &l->schedule;
    json_t *o = json_object();
    put_number(o, "stage", t->stage);
    put_number(o, "loss", t->losses);
    put_number(o, "seed", (double)t->seed);
    put_number(o, "batch-size", a->m.batch);
    put_number(o, "accumulate", a->accumulate);
    put_number(o, "micro-batch", (double)t->micro);
    put_number(o, "max-words", a->max_words);
    put_number(o, "pairs", l->pairs.pairs);
    put_number(o, "images", l->pairs.images);
    put_number(o, "dropout", t->dropout);
    put_number(o, "lm-dropout", t->lm_dropout);
    put_number(o, "temp-decay", t->temp_decays);
    put_number(o, "temp-min", t->temp_min);
    put_number(o, "temp-max", t->temp_max);
    put_number(o, "label-smoothing", t->label_smoothing);
    put_number(o, "beta2", t->beta2);
    put_number(o, "weight-decay", t->weight_decay);
    put_number(o, "clip", t->clip);
    put_number(o, "lr", s->peak);
    put_number(o, "min-lr", s->min);
    put_number(o, "warmup-lr", s->start);
    put_number(o, "warmup-steps", (double)s->warmup);
    put_number(o, "steps", (double)l->total);
    put_number(o, "cosine", s->by_step);
    put_number(o, "gather", t->attached);
    put_number(o, "split", a->split);
    put_number(o, "image-ids", a->image_ids);
    put_number(o, "processes", t->comm->size);
    json_object_set_new(o, "prompt", json_string(a->prompt ? a->prompt : ""));
    json_object_set_new(o, "model", json_string(store_fingerprint(l->store)));
    return o;
}

static json_t *run_state(const struct learn *l)
{
    json_t *drawn = json_array();
    for (int k = 0; k < l->pairs.sets; k++)
        json_array_append_new(drawn, json_integer(l->sampler.set[k].drawn));
    return json_pack("{s:I, s:o, s:I, s:o}", "step", (json_int_t)l->step, "drawn", drawn,
                     "draws", (json_int_t)l->sampler.draws, "run", run_facts(l));
}

static int check_run(const struct learn *l, json_t *then)
{
    const char *key;
    json_t *v, *now = run_facts(l);
    int rc = 0;
    json_object_foreach(now, key, v)
    {
        json_t *was = json_object_get(then, key);
        if (rc < 0 || json_equal(was, v))
            continue;
        char *a = was ? json_dumps(was, JSON_ENCODE_ANY) : NULL;
        char *b = json_dumps(v, JSON_ENCODE_ANY);
        rc = err_set(ERR_USAGE, "--resume: %s: %s, but the run began with %s", key, b ? b : "",
                     a ? a : "nothing");
        free(a);
        free(b);
    }
    json_decref(now);
    return rc;
}

static int take_state(struct learn *l, json_t *state)
{
    json_t *drawn = json_object_get(state, "drawn");
    if (check_run(l, json_object_get(state, "run")) < 0)
        return -1;
    if ((int)json_array_size(drawn) != l->pairs.sets)
        return err_set(ERR_USAGE, "--resume: %d data files, but the run began with %zu",
                       l->pairs.sets, json_array_size(drawn));
    l->step = json_integer_value(json_object_get(state, "step"));
    l->sampler.draws = json_integer_value(json_object_get(state, "draws"));
    for (int k = 0; k < l->pairs.sets; k++)
        l->sampler.set[k].drawn = json_integer_value(json_array_get(drawn, (size_t)k));
    return 0;
}

static int resume(struct learn *l)
{
    json_t *state = NULL;
    int64_t newest = checkpoint_newest(&l->checkpoint);
    if (newest < 0)
        return newest == -1 ? 0 : -1;
    if (!l->a->resume)
        return err_set(ERR_USAGE,
                       "%s: holds checkpoints, expected --resume or another directory",
                       l->a->out);
    int rc = checkpoint_read(&l->checkpoint, newest, &state);
    if (rc == 0)
        rc = take_state(l, state);
    json_decref(state);
    return rc;
}

static int save(struct learn *l)
{
    json_t *state = is_first(l) ? run_state(l) : NULL;
    int rc = state ? checkpoint_write(&l->checkpoint, l->step, state) : 0;
    json_decref(state);
    return rc;
}

/* ---- a batch ---- */

/* The pairs of this process's batch: all processes draw alike, each keeps its own. */
static void draw(struct learn *l)
{
    const struct train_comm *c = l->a->train.comm;
    int B = l->a->m.batch;
    l->longest = 0;
    l->tokens = 0;
    for (int r = 0; r < c->size; r++)
        for (int b = 0; b < B; b++) {
            int pair = sampler_next(&l->sampler), length = l->pairs.pair[pair].length;
            l->longest = length > l->longest ? length : l->longest;
            l->tokens += length;
            if (r == c->rank)
                l->chosen[b] = pair;
        }
}

static int put_features(struct train_batch *b, struct learn *l)
{
    struct tensor t;
    float *at = NULL;
    for (int i = 0; i < b->B; i++) {
        const struct pairs_pair *pair = &l->pairs.pair[l->chosen[i]];
        if (features_get(&t, &l->features, &l->pairs, pair->image) < 0)
            return -1;
        int64_t n = tensor_count(t);
        if (!at && !(at = arena_calloc(&l->batch, (size_t)(b->B * n), sizeof *at)))
            return -1;
        tensor_to_f32(at + i * n, t);
    }
    b->features = tensor_3d(at, DT_F32, b->B, t.dim[0], t.dim[1]);
    return 0;
}

/* How many of a pair's first ids are no targets: </s> and the prompt, or up to a random cut. */
static int64_t prompt_length(const struct learn *l, int64_t prompt, int length, uint64_t at)
{
    if (!l->a->split || length < prompt + 2)
        return prompt;
    return prompt + 1 +
           sampler_draw(l->a->train.seed, UINT64_C(0x70726566), at, length - prompt - 1);
}

static int put_words(struct train_batch *b, struct learn *l, int64_t prompt)
{
    const struct learn_args *a = l->a;
    const struct train_comm *c = a->train.comm;
    size_t B = (size_t)b->B, T = (size_t)l->longest;
    uint64_t at = (b->number * (uint64_t)c->size + (uint64_t)c->rank) * B;
    b->T = l->longest;
    int64_t *ids = arena_calloc(&l->batch, B * T, sizeof *ids),
            *length = arena_calloc(&l->batch, B, sizeof *length),
            *first = arena_calloc(&l->batch, B, sizeof *first),
            *image = arena_calloc(&l->batch, B, sizeof *image);
    if (!ids || !length || !first || !image)
        return -1;
    for (size_t i = 0; i < B; i++) {
        const struct pairs_pair *pair = &l->pairs.pair[l->chosen[i]];
        memcpy(ids + i * T, pair->ids, (size_t)pair->length * sizeof *ids);
        length[i] = pair->length;
        first[i] = prompt_length(l, prompt, pair->length, at + i);
        image[i] = pair->image;
    }
    b->ids = ids;
    b->length = length;
    b->prompt = a->prompt || a->split ? first : NULL;
    b->image_id = a->image_ids ? image : NULL;
    return 0;
}

/* Ids of the prompt with its </s>, as they stand before each caption. */
static int count_prompt(int64_t *n, const struct learn *l)
{
    *n = 0;
    if (!l->a->prompt)
        return 0;
    struct bpe_ids ids = { 0 };
    struct bpe *t = bpe_open(l->model);
    int rc = t ? bpe_encode(&ids, t, l->a->prompt, strlen(l->a->prompt), BPE_BOS) : -1;
    *n = (int64_t)ids.n;
    bpe_ids_release(&ids);
    bpe_close(t);
    return rc;
}

/* ---- a step ---- */

/* Whether the model makes finite numbers of a pair by itself. */
static bool is_sound(struct learn *l, const struct train_batch *b, int i)
{
    const struct qformer *q = train_qformer(l->train);
    int64_t S = b->features.dim[1], E = b->features.dim[2];
    struct tensor x = tensor_3d((float *)b->features.data + i * S * E, DT_F32, 1, S, E);
    bool text = l->a->train.stage == 1;
    arena_reset(&l->scratch);
    return train_image_embeds(&x, l->train, &l->nn, x) == 0 &&
           qformer_forward(&x, q, &l->nn, x, text ? b->ids + i * b->T : NULL,
                           text ? b->length[i] : 0) == 0 &&
           tensor_check_finite(x, "query_output") == 0;
}

/* On all ranks; the first that has a bad pair tells of it. */
static int not_finite(struct learn *l, const struct train_batch *b)
{
    int bad = 0;
    while (bad < b->B && is_sound(l, b, bad))
        bad++;
    if (bad == b->B) { /* another rank's, or nobody's */
        int rc = agree(l, 0);
        if (rc < 0)
            return rc;
    }
    const struct pairs_pair *p = &l->pairs.pair[l->chosen[bad < b->B ? bad : 0]];
    int64_t newest = checkpoint_newest(&l->checkpoint);
    char kept[64] = "there is no checkpoint yet";
    if (newest >= 0)
        snprintf(kept, sizeof kept, "checkpoint-%06lld is good", (long long)newest);
    return agree(l, err_set(ERR_DATA,
                            "step %lld: the loss is not a finite number, %s %s:%d (%.100s); %s",
                            (long long)l->step + 1,
                            bad < b->B ? "from" : "in the batch that begins with", p->file,
                            p->line, p->caption, kept));
}

static void average(double *sum, double v, double weight, bool first)
{
    *sum = first ? v * weight : *sum + v * weight;
}

static void add_losses(struct train_losses *sum, const struct train_losses *l, double w,
                       bool first)
{
    average(&sum->itc, l->itc, w, first);
    average(&sum->itm, l->itm, w, first);
    average(&sum->itg, l->itg, w, first);
    average(&sum->lm, l->lm, w, first);
    average(&sum->align, l->align, w, first);
    average(&sum->sum, l->sum, w, first);
    average(&sum->itm_accuracy, l->itm_accuracy, w, first);
}

static int one_batch(struct journal_step *s, struct learn *l, int part, int64_t prompt)
{
    int accumulate = l->a->accumulate;
    struct train_losses losses;
    struct train_batch b = { .B = l->a->m.batch,
                             .number = (uint64_t)(l->step * accumulate + part),
                             .weight = 1.0 / accumulate };
    arena_reset(&l->batch);
    draw(l);
    int rc = agree(l, put_features(&b, l) < 0 || put_words(&b, l, prompt) < 0 ? -1 : 0);
    if (rc < 0)
        return rc;
    if (train_gradients(&losses, l->train, &b) < 0)
        return LEARN_ALONE;
    if (!isfinite(losses.sum))
        return not_finite(l, &b);
    add_losses(&s->losses, &losses, b.weight, part == 0);
    s->pairs += b.B * l->a->train.comm->size;
    s->tokens += l->tokens;
    if (part + 1 < accumulate)
        return 0;
    if (train_grad_norm(&s->norm, l->train) < 0)
        return LEARN_ALONE;
    return isfinite(s->norm) ? 0 : not_finite(l, &b);
}

static int one_step(struct learn *l, int64_t prompt)
{
    struct journal_step s = { .rate = train_rate(&l->schedule, l->step) };
    int rc = 0;
    for (int i = 0; rc == 0 && i < l->a->accumulate; i++)
        rc = one_batch(&s, l, i, prompt);
    if (rc < 0)
        return rc;
    if (train_update(l->train, s.rate) < 0)
        return LEARN_ALONE;
    s.step = ++l->step;
    s.epoch = (double)l->step / (double)l->schedule.epoch_steps;
    return agree(l, is_first(l) ? journal_step(&l->journal, &s) : 0);
}

static int measure(struct learn *l)
{
    struct recall r;
    if (!l->a->eval || !is_first(l))
        return 0;
    if (recall_measure(&r, l->train, &l->nn, &l->held_out, &l->features) < 0)
        return -1;
    return journal_recall(&l->journal, l->step, &r);
}

/* ---- the run ---- */

static void on_signal(int sig)
{
    signalled = sig;
}

/* What follows a step: measuring, a checkpoint. */
static int after_step(struct learn *l)
{
    const struct learn_args *a = l->a;
    bool last = l->step == l->total;
    int rc = 0;
    if (last || (a->eval_every && l->step % a->eval_every == 0))
        rc = agree(l, measure(l));
    if (rc == 0 && (last || l->stop || (a->save_every && l->step % a->save_every == 0)))
        rc = agree(l, save(l));
    return rc;
}

static int run(struct learn *l)
{
    int64_t prompt;
    int rc = agree(l, count_prompt(&prompt, l));
    while (rc == 0 && l->step < l->total && !l->stop) {
        rc = one_step(l, prompt);
        if (rc == 0)
            rc = after_step(l);
    }
    return rc;
}

static int begin(struct learn *l)
{
    const struct learn_args *a = l->a;
    l->journal = (struct journal){ .path = is_first(l) ? a->log : NULL, .every = a->log_every };
    if (mkdir(a->out, 0777) < 0 && errno != EEXIST)
        return err_sys(ERR_IO, "%s", a->out);
    if (open_model(l) < 0 || read_pairs(l) < 0 || plan(l) < 0)
        return -1;
    l->checkpoint = (struct checkpoint){
        .out = a->out, .model = l->model, .store = l->store, .train = l->train, .keep = a->keep
    };
    return 0;
}

/* The first process takes away what a killed run left, before others look. */
static int tidy(const struct learn *l)
{
    return is_first(l) && checkpoint_newest(&l->checkpoint) == -2 ? -1 : 0;
}

static int prepare(struct learn *l)
{
    const struct learn_args *a = l->a;
    if (resume(l) < 0 || features_open(&l->features, &a->m, &a->cache,
                                       qformer_encoder_size(train_qformer(l->train))) < 0)
        return -1;
    l->journal.total = l->total;
    if (journal_open(&l->journal, l->step) < 0)
        return -1;
    l->journal.tty = l->journal.tty && is_first(l);
    if (warm(l, &l->pairs, "encoding") < 0 ||
        warm(l, &l->held_out, "encoding the held-out") < 0)
        return -1;
    signals_catch(on_signal);
    journal_start(&l->journal);
    return 0;
}

static void end(struct learn *l)
{
    journal_close(&l->journal);
    features_close(&l->features);
    sampler_release(&l->sampler);
    pairs_release(&l->pairs);
    pairs_release(&l->held_out);
    free(l->chosen);
    train_close(l->train);
    pool_free(l->pool);
    store_close(l->store);
    store_close(l->from);
    arena_release(&l->batch);
    arena_release(&l->scratch);
}

/* The checkpoint's name, for scripts; on a signal, what to do. */
static int finish(const struct learn *l)
{
    if (is_first(l))
        printf("%s/checkpoint-%06lld\n", l->a->out, (long long)l->step);
    if (l->step == l->total)
        return 0;
    if (!is_first(l))
        return follow(ERR_TEMP);
    return err_set(ERR_TEMP, "stopped by a signal after step %lld of %lld; --resume goes on",
                   (long long)l->step, (long long)l->total);
}

int learn_run(const struct learn_args *a)
{
    struct learn l = { .a = a };
    int rc = agree(&l, begin(&l));
    if (rc == 0)
        rc = agree(&l, tidy(&l));
    if (rc == 0)
        rc = agree(&l, prepare(&l));
    if (rc == 0)
        rc = run(&l);
    if (rc == 0)
        rc = finish(&l);
    end(&l);
    struct err_saved why;
    err_save(&why);
    if (a->plot && is_first(&l) && (rc == 0 || why.kind == ERR_TEMP) &&
        journal_plot(a->plot, a->log) < 0 && rc == 0)
        return -1;
    if (rc < 0)
        err_restore(&why);
    return rc;
}
