/* run.c - all prompts of a batch side by side, each to its own end. */
#include "gen/beam.h"
#include "gen/sequence.h"

#include <string.h>

/* One prompt under way: either its answers (rows of them) or its beams. */
struct item {
    struct gen_seq *seq;
    struct gen_beams beams;
};

struct run {
    const struct gen_params *p;
    const struct gen_model *m;
    const struct gen_watch *watch;
    struct gen_work work;
    struct item *item;
    int n, rows;
    struct gen_token *next;   /* (n * rows) */
    const float **row_logits; /* (rows): of the prompt being advanced */
};

static bool is_beam(const struct run *r)
{
    return r->p->num_beams > 1;
}

static int init_beams(const struct run *r, struct item *it, const struct gen_prompt *prompt,
                      struct arena *mem)
{
    if (gen_beams_init(&it->beams, r->p, prompt, mem) < 0)
        return -1;
    it->beams.watch = r->watch;
    it->beams.prompt = (int)(it - r->item);
    return 0;
}

static int init_item(struct run *r, struct item *it, const struct gen_prompt *prompt,
                     struct arena *mem)
{
    if (is_beam(r))
        return init_beams(r, it, prompt, mem);
    it->seq = arena_calloc(mem, (size_t)r->rows, sizeof *it->seq);
    if (!it->seq)
        return -1;
    for (int i = 0; i < r->rows; i++)
        if (gen_seq_init(&it->seq[i], r->p, prompt, i, mem) < 0)
            return -1;
    return 0;
}

static int init(struct run *r, const struct gen_prompt *prompts, struct arena *mem)
{
    size_t rows = (size_t)r->n * (size_t)r->rows;
    r->item = arena_calloc(mem, (size_t)r->n, sizeof *r->item);
    r->next = arena_calloc(mem, rows, sizeof *r->next);
    r->row_logits = arena_calloc(mem, (size_t)r->rows, sizeof *r->row_logits);
    if (!r->item || !r->next || !r->row_logits || gen_work_init(&r->work, r->m->vocab, mem) < 0)
        return -1;
    for (int i = 0; i < r->n; i++)
        if (init_item(r, &r->item[i], &prompts[i], mem) < 0)
            return -1;
    return 0;
}

/* Of the token that a row was just given; its scores are still there. */
static int tell(const struct run *r, int prompt, int row)
{
    const struct gen_seq *s = &r->item[prompt].seq[row];
    const struct gen_watch *t = r->watch;
    if (!t)
        return 0;
    int64_t id = s->ids[s->n - 1];
    struct gen_choice c = { row, row, id, r->work.scores[id], s->score, s->eos };
    if (t->scores && t->scores(t->ctx, prompt, row, r->work.scores, r->work.vocab) < 0)
        return -1;
    if (t->choice && t->choice(t->ctx, prompt, &c) < 0)
        return -1;
    return t->token ? t->token(t->ctx, prompt, row, s->ids + s->n_history,
                               (int)(s->n - s->n_history))
                    : 0;
}

/* Chooses the next token of every row that is not done; row_logits has those rows' logits. */
static int advance(struct run *r, int i)
{
    struct item *it = &r->item[i];
    if (is_beam(r))
        return gen_beams_advance(&it->beams, &r->work, r->p, r->row_logits);
    for (int k = 0; k < r->rows; k++) {
        if (it->seq[k].done)
            continue;
        if (gen_seq_advance(&it->seq[k], &r->work, r->p, r->row_logits[k]) < 0 ||
            tell(r, i, k) < 0)
            return -1;
    }
    return 0;
}

/* The first tokens: all rows of a prompt have read the same. */
static int start(struct run *r, const struct gen_prompt *prompts)
{
    for (int i = 0; i < r->n; i++) {
        for (int k = 0; k < r->rows; k++)
            r->row_logits[k] = prompts[i].logits;
        if (advance(r, i) < 0)
            return -1;
    }
    return 0;
}

static int add_beams(struct run *r, int i, int n)
{
    const struct gen_beams *b = &r->item[i].beams;
    int first = i * r->rows;
    if (b->done)
        return n;
    if (r->m->reorder(r->m->ctx, first, b->parent, b->beams) < 0)
        return -1;
    for (int k = 0; k < b->beams; k++)
        r->next[n++] = (struct gen_token){ first + k, b->running[k].ids[b->n - 1] };
    return n;
}

static int add_sequences(struct run *r, int i, int n)
{
    for (int k = 0; k < r->rows; k++) {
        const struct gen_seq *s = &r->item[i].seq[k];
        if (!s->done)
            r->next[n++] = (struct gen_token){ i * r->rows + k, s->ids[s->n - 1] };
    }
    return n;
}

/* What every unfinished row reads next, into r->next; gives their number, or -1. */
static int collect(struct run *r)
{
    int n = 0;
    for (int i = 0; i < r->n && n >= 0; i++)
        n = is_beam(r) ? add_beams(r, i, n) : add_sequences(r, i, n);
    return n;
}

/* Hands each prompt the logits (n, V) of its rows. */
static int spread(struct run *r, const float *logits, int n)
{
    for (int at = 0; at < n;) {
        int i = r->next[at].row / r->rows;
        for (; at < n && r->next[at].row / r->rows == i; at++)
            r->row_logits[r->next[at].row % r->rows] = logits + (size_t)at * r->m->vocab;
        if (advance(r, i) < 0)
            return -1;
    }
    return 0;
}

static void take_answers(struct gen_answer *out, const struct run *r, int i)
{
    const struct item *it = &r->item[i];
    for (int k = 0; k < r->p->num_return_sequences; k++) {
        if (is_beam(r)) {
            const struct gen_hyp *h = &it->beams.finished[k];
            int64_t skip = it->beams.n_history;
            out[k] = (struct gen_answer){ h->ids + skip, (int)(h->n - skip), h->score, h->eos };
        } else {
            const struct gen_seq *s = &it->seq[k];
            out[k] = (struct gen_answer){ s->ids + s->n_history, (int)(s->n - s->n_history),
                                          s->score, s->eos };
        }
    }
}

int gen_run(struct gen_answer *out, const struct gen_params *p, const struct gen_model *m,
            const struct gen_prompt *prompts, int n, const struct gen_watch *watch,
            struct arena *mem)
{
    struct run r = { .p = p, .m = m, .watch = watch, .n = n, .rows = gen_rows(p) };
    const float *logits;
    int rows;
    if (gen_params_check(p) < 0 || init(&r, prompts, mem) < 0 || start(&r, prompts) < 0)
        return -1;
    while ((rows = collect(&r)) > 0)
        if (m->step(m->ctx, &logits, r.next, rows) < 0 || spread(&r, logits, rows) < 0)
            return -1;
    for (int i = 0; rows == 0 && i < n; i++)
        take_answers(out + (size_t)i * p->num_return_sequences, &r, i);
    return rows;
}
