/* steps.c - see steps.h. */
#include "front/steps.h"

#include "base/clock.h"
#include "base/err.h"
#include "front/bandwidth.h"
#include "front/show.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

struct likely {
    int64_t id;
    double score;
};

/* A row before its choice. */
struct row {
    int row, n;
    double log_sum; /* of exp(score) over the vocabulary */
    struct likely likely[STEPS_LIKELIEST];
};

struct taken {
    struct gen_choice c;
    double p;
};

struct step {
    struct step *next;
    double at; /* when its scores were there */
    int rows, taken;
    struct row *row;
    struct taken *take; /* twice as many: rows and answers that are finished */
};

struct steps_prompt {
    struct step *first, *last;
    int count;
};

/* ---- listening ---- */

static struct step *add_step(struct steps *s, struct steps_prompt *p)
{
    struct step *t = arena_calloc(&s->mem, 1, sizeof *t);
    if (!t || !(t->row = arena_calloc(&s->mem, (size_t)s->rows, sizeof *t->row)) ||
        !(t->take = arena_calloc(&s->mem, 2 * (size_t)s->rows, sizeof *t->take)))
        return NULL;
    *(p->last ? &p->last->next : &p->first) = t;
    p->last = t;
    p->count++;
    t->at = clock_seconds();
    return t;
}

static struct row *find_row(struct step *t, int row)
{
    for (int i = 0; t && i < t->rows; i++)
        if (t->row[i].row == row)
            return &t->row[i];
    return NULL;
}

/* Puts a token in its place among the likeliest; the first of equals wins. */
static void offer(struct row *r, int64_t id, double score)
{
    int i = r->n < STEPS_LIKELIEST ? r->n++ : r->n - 1;
    for (; i > 0 && r->likely[i - 1].score < score; i--)
        r->likely[i] = r->likely[i - 1];
    r->likely[i] = (struct likely){ id, score };
}

int steps_scores(struct steps *s, int prompt, int row, const float *scores, int64_t vocab)
{
    struct steps_prompt *p = &s->prompt[prompt];
    struct step *t = !p->last || find_row(p->last, row) ? add_step(s, p) : p->last;
    if (!t)
        return -1;
    struct row *r = &t->row[t->rows++];
    double sum = 0;
    r->row = row;
    for (int64_t i = 0; i < vocab; i++)
        if (scores[i] > -INFINITY &&
            (r->n < STEPS_LIKELIEST || scores[i] > r->likely[r->n - 1].score))
            offer(r, i, scores[i]);
    for (int64_t i = 0; i < vocab; i++)
        sum += exp(scores[i] - r->likely[0].score);
    r->log_sum = r->likely[0].score + log(sum);
    return 0;
}

int steps_choice(struct steps *s, int prompt, const struct gen_choice *c)
{
    struct step *t = s->prompt[prompt].last;
    const struct row *r = find_row(t, c->parent);
    if (!r || t->taken == 2 * s->rows)
        return err_set(ERR_BUG, "a choice without scores");
    t->take[t->taken++] = (struct taken){ *c, exp(c->own - r->log_sum) };
    return 0;
}

/* ---- opening ---- */

int steps_open(struct steps *s, const char *dir, const char *file, struct pool *pool)
{
    s->bpe = bpe_open(dir);
    if (!s->bpe || bandwidth_measure(&s->bandwidth, pool) < 0)
        return -1;
    s->name = file;
    s->file = *file ? fopen(file, "w") : NULL;
    return *file && !s->file ? err_sys(ERR_IO, "%s", file) : 0;
}

int steps_close(struct steps *s)
{
    int bad = s->file && (ferror(s->file) | fclose(s->file));
    bpe_close(s->bpe);
    arena_release(&s->mem);
    s->file = NULL;
    s->bpe = NULL;
    return bad ? err_sys(ERR_IO, "%s", s->name) : 0;
}

int steps_begin(struct steps *s, int n, int rows)
{
    arena_reset(&s->mem);
    s->prompt = arena_calloc(&s->mem, (size_t)n, sizeof *s->prompt);
    s->n = n;
    s->rows = rows;
    s->began = clock_seconds();
    return s->prompt ? 0 : -1;
}

/* ---- times ---- */

struct times {
    double prefill, decode; /* s; with several prompts of a batch, those of all */
    int steps;              /* after the prefill */
};

static struct times times_of(const struct steps *s, const struct steps_prompt *p)
{
    struct times t = { 0 };
    if (!p->first)
        return t;
    t.prefill = p->first->at - s->began;
    t.decode = p->last->at - p->first->at;
    t.steps = p->count - 1;
    return t;
}

static double rate(double n, double seconds)
{
    return seconds > 0 ? n / seconds : 0;
}

/* ---- for programs ---- */

static json_t *token_json(const struct steps *s, int64_t id, double p)
{
    struct buf text = { 0 };
    json_t *j = NULL;
    if (bpe_decode(&text, s->bpe, &id, 1, false) == 0)
        j = json_pack("{s:I, s:s%, s:f}", "id", (json_int_t)id, "text",
                      text.data ? (const char *)text.data : "", text.len, "p", p);
    buf_release(&text);
    return j;
}

static json_t *row_json(const struct steps *s, const struct row *r)
{
    json_t *likeliest = json_array();
    for (int i = 0; i < r->n; i++)
        json_array_append_new(
            likeliest, token_json(s, r->likely[i].id, exp(r->likely[i].score - r->log_sum)));
    return json_pack("{s:i, s:o}", "row", r->row, "likeliest", likeliest);
}

/* row is null for what beam search has finished. */
static json_t *taken_json(const struct steps *s, const struct taken *k)
{
    json_t *j = token_json(s, k->c.id, k->p);
    json_object_set_new(j, "row", k->c.row < 0 ? json_null() : json_integer(k->c.row));
    json_object_set_new(j, "from", json_integer(k->c.parent));
    json_object_set_new(j, "score", json_real(k->c.score));
    json_object_set_new(j, "eos", json_boolean(k->c.eos));
    return j;
}

static json_t *step_json(const struct steps *s, const struct step *t, int number,
                         double seconds)
{
    json_t *rows = json_array(), *taken = json_array();
    for (int i = 0; i < t->rows; i++)
        json_array_append_new(rows, row_json(s, &t->row[i]));
    for (int i = 0; i < t->taken; i++)
        json_array_append_new(taken, taken_json(s, &t->take[i]));
    return json_pack("{s:i, s:f, s:o, s:o}", "step", number, "seconds", seconds, "rows", rows,
                     "taken", taken);
}

/* The object with the record's id in front. */
static int put_line(FILE *f, json_t *j, const char *id)
{
    json_t *line = json_pack("{s:s}", "id", id);
    int rc = !j || !line || json_object_update(line, j) < 0 ||
             json_dumpf(line, f, JSON_COMPACT) < 0;
    fputc('\n', f);
    json_decref(j);
    json_decref(line);
    return rc ? err_nomem("JSON") : 0;
}

static json_t *times_json(const struct steps *s, const struct times *t,
                          const struct steps_of *of)
{
    return json_pack("{s:I, s:I, s:f, s:i, s:f, s:f, s:I, s:f, s:f, s:i}", "positions",
                     (json_int_t)of->positions, "reused", (json_int_t)of->reused,
                     "prefill_seconds", t->prefill, "steps", t->steps, "decode_seconds",
                     t->decode, "tokens_per_second", rate(t->steps, t->decode), "step_bytes",
                     (json_int_t)of->step_bytes, "bytes_per_second",
                     rate((double)(of->step_bytes * t->steps), t->decode),
                     "memory_bytes_per_second", s->bandwidth, "answered_together", s->n);
}

static int print_json(const struct steps *s, const struct steps_prompt *p,
                      const struct steps_of *of)
{
    struct times times = times_of(s, p);
    double before = s->began;
    int number = 0;
    for (const struct step *t = p->first; t; t = t->next) {
        if (put_line(s->file, step_json(s, t, number++, t->at - before), of->id) < 0)
            return -1;
        before = t->at;
    }
    return put_line(s->file, json_pack("{s:o}", "timing", times_json(s, &times, of)), of->id);
}

/* ---- for people ---- */

static int put_token(struct buf *out, const struct steps *s, int64_t id, double p, int columns)
{
    struct buf text = { 0 };
    int width;
    int rc = bpe_token(&text, s->bpe, id);
    if (rc == 0 &&
        (buf_puts(out, "\"") < 0 ||
         show_text(out, (const char *)text.data, text.len, &width) < 0 ||
         buf_printf(out, "\"%*s %.4f", width < columns ? columns - width : 0, "", p) < 0))
        rc = -1;
    buf_release(&text);
    return rc;
}

static int put_likeliest(struct buf *out, const struct steps *s, const struct row *r,
                         int64_t except)
{
    for (int i = 0, shown = 0; i < r->n && shown < STEPS_LIKELIEST - 1; i++) {
        if (r->likely[i].id == except)
            continue;
        if (buf_puts(out, "  ") < 0 ||
            put_token(out, s, r->likely[i].id, exp(r->likely[i].score - r->log_sum), 0) < 0)
            return -1;
        shown++;
    }
    return buf_puts(out, "\n");
}

static int put_taken(struct buf *out, const struct steps *s, struct step *t, int number,
                     const struct taken *k, bool many)
{
    char row[32] = "done";
    if (k->c.row >= 0)
        snprintf(row, sizeof row, "%d", k->c.row);
    if (buf_printf(out, "%6d  ", number) < 0 ||
        (many && buf_printf(out, "%4s %4d  ", row, k->c.parent) < 0) ||
        put_token(out, s, k->c.id, k->p, 14) < 0 ||
        (many && buf_printf(out, " %10.4f", k->c.score) < 0))
        return -1;
    return put_likeliest(out, s, find_row(t, k->c.parent), k->c.id);
}

static int put_times(struct buf *out, const struct steps *s, const struct steps_prompt *p,
                     const struct steps_of *of)
{
    struct times t = times_of(s, p);
    if (buf_printf(out, "  prefill: %lld of %lld positions in %.1f ms",
                   (long long)(of->positions - of->reused), (long long)of->positions,
                   t.prefill * 1e3) < 0)
        return -1;
    if (t.steps == 0)
        return buf_puts(out, "\n");
    return buf_printf(out,
                      "; then %d step%s in %.1f ms, %.1f a second\n  weights: %.2f MB a step, "
                      "%.2f GB/s; this machine reads %.2f GB/s\n",
                      t.steps, t.steps == 1 ? "" : "s", t.decode * 1e3, rate(t.steps, t.decode),
                      (double)of->step_bytes / 1e6,
                      rate((double)of->step_bytes * t.steps, t.decode) / 1e9,
                      s->bandwidth / 1e9);
}

static int put_table(struct buf *out, const struct steps *s, const struct steps_prompt *p,
                     const struct steps_of *of)
{
    bool many = s->rows > 1;
    int number = 0;
    if (buf_printf(out, "%s\n  step  %stoken                 p%s   likeliest others\n", of->id,
                   many ? " row from  " : "", many ? "           sum" : "") < 0)
        return -1;
    for (struct step *t = p->first; t; t = t->next, number++)
        for (int i = 0; i < t->taken; i++)
            if (put_taken(out, s, t, number, &t->take[i], many) < 0)
                return -1;
    return put_times(out, s, p, of);
}

int steps_print(const struct steps *s, int prompt, const struct steps_of *of)
{
    const struct steps_prompt *p = &s->prompt[prompt];
    struct buf out = { 0 };
    if (s->file)
        return print_json(s, p, of);
    int rc = put_table(&out, s, p, of);
    if (rc == 0)
        fwrite(out.data, 1, out.len, stderr);
    buf_release(&out);
    return rc;
}
