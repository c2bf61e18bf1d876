/* beam.c - see beam.h. */
#include "gen/beam.h"

#include "gen/sequence.h"

#include <math.h>
#include <string.h>

#define NEVER (-1e9) /* the reference's score of what must not be taken */

static struct gen_hyp *hyps_new(int n, const struct gen_prompt *prompt, int room,
                                struct arena *mem)
{
    struct gen_hyp *h = arena_calloc(mem, (size_t)n, sizeof *h);
    for (int i = 0; h && i < n; i++) {
        h[i] = (struct gen_hyp){ .ids = gen_ids_new(prompt, room, mem),
                                 .n = prompt->n_history,
                                 .score = NEVER };
        if (!h[i].ids)
            return NULL;
    }
    return h;
}

int gen_beams_init(struct gen_beams *b, const struct gen_params *p,
                   const struct gen_prompt *prompt, struct arena *mem)
{
    int n = p->num_beams, room = gen_limit(p, prompt);
    *b = (struct gen_beams){ .beams = n,
                             .kept = n * (p->eos_count > 1 ? 1 + p->eos_count : 2),
                             .n_history = prompt->n_history,
                             .n = prompt->n_history,
                             .limit = prompt->n_history + room,
                             .running = hyps_new(n, prompt, room, mem),
                             .next = hyps_new(n, prompt, room, mem),
                             .finished = hyps_new(n, prompt, room, mem),
                             .improvable = true };
    b->step = arena_calloc(mem, (size_t)b->kept, sizeof *b->step);
    b->parent = arena_calloc(mem, (size_t)n, sizeof *b->parent);
    if (!b->running || !b->next || !b->finished || !b->step || !b->parent)
        return -1;
    b->running[0].score = 0; /* all beams are the same prompt: only one may branch */
    gen_rng_init(&b->rng, p->seed, prompt->stream, 0);
    return 0;
}

/* Puts c, which is among the `kept` best, in its place; earlier ones win over equals. */
static void offer(struct gen_beams *b, int *n, struct gen_step c)
{
    int i = *n < b->kept ? (*n)++ : *n - 1;
    for (; i > 0 && b->step[i - 1].key < c.key; i--)
        b->step[i] = b->step[i - 1];
    b->step[i] = c;
}

/* All continuations of running beam i, by w->scores. Most of a vocabulary is worse than the
 * worst candidate kept, and costs one comparison. */
static int offer_beam(struct gen_beams *b, int n, const struct gen_work *w, bool draw, int i)
{
    for (int64_t id = 0; id < w->vocab; id++) {
        double score = b->running[i].score + w->scores[id], key = score;
        if (draw && w->scores[id] > -INFINITY)
            key += gen_gumbel(&b->rng);
        if (n < b->kept || key > b->step[n - 1].key)
            offer(b, &n, (struct gen_step){ .key = key, .score = score, .beam = i, .id = id });
    }
    return n;
}

/* ---- telling ---- */

/* Rows that only fill up the number of beams are nobody's business. */
static bool is_real(double score)
{
    return score > NEVER / 2;
}

static int tell_scores(const struct gen_beams *b, const struct gen_work *w, int row)
{
    const struct gen_watch *t = b->watch;
    if (!t || !t->scores || !is_real(b->running[row].score))
        return 0;
    return t->scores(t->ctx, b->prompt, row, w->scores, w->vocab);
}

/* c goes on as row `row`, or is finished (-1); b->running are still the rows before it. */
static int tell_choice(const struct gen_beams *b, const struct gen_step *c, int row)
{
    const struct gen_watch *t = b->watch;
    double before = b->running[c->beam].score;
    if (!t || !t->choice || !is_real(c->score))
        return 0;
    return t->choice(
        t->ctx, b->prompt,
        &(struct gen_choice){ row, c->beam, c->id, c->score - before, c->score, c->eos });
}

/* ---- one step ---- */

/* The best continuations of all running beams, or with sampling as many draws without
 * replacement; gives their number, or -1. */
static int continuations(struct gen_beams *b, struct gen_work *w, const struct gen_params *p,
                         const float *const *logits)
{
    int n = 0;
    for (int i = 0; i < b->beams; i++) {
        struct gen_hyp *h = &b->running[i];
        if (gen_scores_copy(w, logits[i]) < 0)
            return -1;
        gen_log_softmax(w->scores, w->vocab);
        gen_process(w, p, h->ids, h->n, h->n - b->n_history);
        if (p->do_sample)
            gen_warp(w, p);
        if (tell_scores(b, w, i) < 0)
            return -1;
        n = offer_beam(b, n, w, p->do_sample, i);
    }
    return n;
}

static void mark_stops(struct gen_beams *b, const struct gen_params *p, int n)
{
    for (int i = 0; i < n; i++) {
        b->step[i].eos = gen_is_eos(p, b->step[i].id);
        b->step[i].stop = b->step[i].eos || b->n + 1 == b->limit;
    }
}

static void extend(struct gen_hyp *out, const struct gen_beams *b, const struct gen_step *c)
{
    const struct gen_hyp *from = &b->running[c->beam];
    memcpy(out->ids, from->ids, (size_t)from->n * sizeof *out->ids);
    out->ids[from->n] = c->id;
    out->n = from->n + 1;
}

/* The step of the highest score, stops last, not yet taken; -1 when there is none. */
static int best_running(const struct gen_beams *b, int n, const bool *taken)
{
    int best = -1;
    double top = 0;
    for (int i = 0; i < n; i++) {
        double score = b->step[i].score + (b->step[i].stop ? NEVER : 0);
        if (!taken[i] && (best < 0 || score > top)) {
            best = i;
            top = score;
        }
    }
    return best;
}

static int choose_running(struct gen_beams *b, int n)
{
    bool taken[GEN_BEAMS * (GEN_EOS + 1)] = { false };
    for (int r = 0; r < b->beams; r++) {
        int i = best_running(b, n, taken);
        const struct gen_step *c = &b->step[i < 0 ? 0 : i];
        extend(&b->next[r], b, c);
        b->next[r].score = c->score + (c->stop || i < 0 ? NEVER : 0);
        b->parent[r] = c->beam;
        if (i >= 0)
            taken[i] = true;
        if (is_real(b->next[r].score) && tell_choice(b, c, r) < 0)
            return -1;
    }
    return 0;
}

/* What candidate i is worth as a finished answer. */
static double finished_score(const struct gen_beams *b, const struct gen_params *p, int i,
                             bool full)
{
    const struct gen_step *c = &b->step[i];
    double score = c->score / pow((double)(b->n + 1 - b->n_history), p->length_penalty);
    bool closed = full && p->early_stopping == GEN_EARLY_TRUE;
    bool finishes = c->stop && i < b->beams;
    return score + (closed ? NEVER : 0) + (b->improvable ? 0 : NEVER) + (finishes ? 0 : NEVER);
}

static bool all_finished(const struct gen_beams *b)
{
    for (int i = 0; i < b->beams; i++)
        if (!b->finished[i].finished)
            return false;
    return true;
}

static void swap_hyp(struct gen_hyp *a, struct gen_hyp *b)
{
    struct gen_hyp t = *a;
    *a = *b;
    *b = t;
}

/* Puts candidate i, worth `score`, in its place among the finished. The worst falls out. */
static int insert_finished(struct gen_beams *b, int i, double score)
{
    int at = b->beams;
    while (at > 0 && b->finished[at - 1].score < score)
        at--;
    if (at == b->beams)
        return 0;
    struct gen_hyp *room = &b->finished[b->beams - 1];
    extend(room, b, &b->step[i]);
    room->score = score;
    room->finished = b->step[i].stop;
    room->eos = b->step[i].eos;
    for (int k = b->beams - 1; k > at; k--)
        swap_hyp(&b->finished[k], &b->finished[k - 1]);
    return is_real(score) ? tell_choice(b, &b->step[i], -1) : 0;
}

/* Only the best num_beams candidates may finish; an eos beyond them is lost. */
static int update_finished(struct gen_beams *b, const struct gen_params *p, int n)
{
    bool full = all_finished(b);
    for (int i = 0; i < n && i < b->beams; i++)
        if (b->step[i].stop && insert_finished(b, i, finished_score(b, p, i, full)) < 0)
            return -1;
    return 0;
}

/* Can a running beam still beat the worst of the finished? "never" asks about the greatest
 * length there can be, the other two about the present one. */
static bool can_improve(const struct gen_beams *b, const struct gen_params *p)
{
    bool never = p->early_stopping == GEN_EARLY_NEVER && p->length_penalty > 0;
    double length = (double)((never ? b->limit : b->n) - b->n_history);
    double best = b->running[0].score / pow(length, p->length_penalty);
    double worst = b->finished[b->beams - 1].score;
    for (int i = 0; i < b->beams; i++)
        if (best > (b->finished[i].finished ? worst : NEVER))
            return true;
    return false;
}

static bool all_stop(const struct gen_beams *b, int n)
{
    for (int i = 0; i < n; i++)
        if (!b->step[i].stop)
            return false;
    return true;
}

int gen_beams_advance(struct gen_beams *b, struct gen_work *w, const struct gen_params *p,
                      const float *const *logits)
{
    int n = continuations(b, w, p, logits);
    if (n < 0)
        return -1;
    mark_stops(b, p, n);
    if (update_finished(b, p, n) < 0 || choose_running(b, n) < 0)
        return -1;
    struct gen_hyp *t = b->running;
    b->running = b->next;
    b->next = t;
    b->n++;
    b->improvable = b->improvable && can_improve(b, p);
    b->done = !b->improvable || all_stop(b, n) ||
              (p->early_stopping == GEN_EARLY_TRUE && all_finished(b));
    return 0;
}
