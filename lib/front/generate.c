/* generate.c - see generate.h. */
#include "front/generate.h"

#include "cli/die.h"
#include "front/question.h"

/* The passes of answers are what somebody waits for. */
static void watch_passes(struct generate *g)
{
    opt_set_watch(g->lm, compute_is_watched() ? compute_watch : NULL, &g->compute);
}

int generate_open(void *ctx, struct stage_io *io, const char **model)
{
    struct generate *g = ctx;
    (void)io;
    if (compute_open(&g->compute, &g->a.m) < 0)
        return -1;
    g->lm = opt_open(g->compute.store, &g->compute.weights);
    if (!g->lm)
        return -1;
    watch_passes(g);
    g->answer = answer_open(g->lm, &g->compute.nn, &g->a.p, g->a.m.batch);
    *model = store_fingerprint(g->compute.store);
    if (!g->answer || !*model)
        return -1;
    return g->a.explain ? steps_open(&g->steps, store_dir(g->compute.store), g->a.explain,
                                     g->compute.pool)
                        : 0;
}

/* answer numbers in records: none where there is one answer each */
static int numbered(const struct generate *g, int sequence)
{
    return g->a.p.num_return_sequences > 1 ? sequence : -1;
}

/* --stream */
static int tell_token(void *ctx, int prompt, int sequence, const int64_t *ids, int n)
{
    struct generate *g = ctx;
    if (question_put_part(&g->out, g->in[g->who[prompt]], numbered(g, sequence), ids, n) < 0)
        return -1;
    return stage_emit(g->io, &g->out);
}

/* --explain */
static int tell_scores(void *ctx, int prompt, int row, const float *scores, int64_t vocab)
{
    return steps_scores(&((struct generate *)ctx)->steps, prompt, row, scores, vocab);
}

static int tell_choice(void *ctx, int prompt, const struct gen_choice *c)
{
    return steps_choice(&((struct generate *)ctx)->steps, prompt, c);
}

static void lay_out(struct generate *g, int n)
{
    answer_begin(g->answer);
    g->n = 0;
    for (int i = 0; i < n; i++) {
        struct answer_prompt *p = &g->prompt[g->n];
        g->failed[i].kind = ERR_NONE;
        if (question_lay_out(p, g->answer, g->in[i], g->records++) < 0 ||
            (g->a.attention && question_check_rollout(g->in[i], p->rows) < 0))
            err_save(&g->failed[i]);
        else
            g->who[g->n++] = i;
    }
}

static void say_prompt(const struct generate *g, int prompt, const struct gen_answer *answer)
{
    const struct answer_prompt *p = &g->prompt[prompt];
    cli_warn("%s: prefill %lld of %lld positions, %d new tokens",
             record_id(g->in[g->who[prompt]]), (long long)(p->n - p->reused), (long long)p->n,
             answer->n);
}

/* --explain */
static int print_steps(struct generate *g, int prompt)
{
    const struct answer_prompt *p = &g->prompt[prompt];
    struct steps_of of = { record_id(g->in[g->who[prompt]]), p->n, p->reused,
                           answer_step_bytes(g->answer) };
    return g->a.explain ? steps_print(&g->steps, prompt, &of) : 0;
}

/* --attention */
static int look(struct generate *g, int prompt, const struct gen_answer *answer)
{
    const struct answer_prompt *p = &g->prompt[prompt];
    struct tensor map;
    if (!g->a.attention || p->rows == 0)
        return 0;
    if (answer_look(&map, g->answer, p, prompt, answer, record_mem(&g->out)) < 0)
        return -1;
    return question_put_looks(&g->out, map);
}

/* As transformers has them: the last one is the state after the final norm. */
static void take_state(void *ctx, int layer, struct tensor state)
{
    struct generate *g = ctx;
    if (layer != opt_info(g->lm).layers)
        hidden_take(&g->hidden, layer, state);
}

/* --hidden-states */
static int read_states(struct generate *g, int prompt)
{
    if (!g->a.hidden)
        return 0;
    hidden_reset(&g->hidden);
    opt_set_watch(g->lm, take_state, g);
    int rc = answer_read(g->answer, &g->prompt[prompt], prompt);
    watch_passes(g);
    return rc;
}

static int emit_answers(struct generate *g, int prompt, const struct gen_answer *answer)
{
    if (g->a.verbose)
        say_prompt(g, prompt, answer);
    if (print_steps(g, prompt) < 0 || read_states(g, prompt) < 0)
        return -1;
    struct record *in = g->in[g->who[prompt]];
    for (int k = 0; k < g->a.p.num_return_sequences; k++) {
        if (question_put_answer(&g->out, in, numbered(g, k), &answer[k], g->a.keep) < 0 ||
            look(g, prompt, &answer[k]) < 0)
            return -1;
        if (hidden_put(&g->out, &g->hidden, 0, 1) < 0)
            return stage_fail(g->io, in);
        if (stage_emit(g->io, &g->out) < 0)
            return -1;
    }
    return 0;
}

static int fail(struct generate *g, int i)
{
    err_restore(&g->failed[i]);
    return stage_fail(g->io, g->in[i]);
}

/* Answers all prompts of the batch, or none: then all have failed. */
static struct gen_answer *answer_all(struct generate *g)
{
    bool explain = g->a.explain != NULL;
    struct gen_watch watch = { .ctx = g,
                               .token = g->a.stream ? tell_token : NULL,
                               .scores = explain ? tell_scores : NULL,
                               .choice = explain ? tell_choice : NULL };
    struct gen_answer *answer;
    if ((!explain || steps_begin(&g->steps, g->n, gen_rows(&g->a.p)) == 0) &&
        answer_run(&answer, g->answer, g->prompt, g->n, &watch) == 0)
        return answer;
    for (int k = 0; k < g->n; k++)
        err_save(&g->failed[g->who[k]]);
    return NULL;
}

int generate_step(void *ctx, struct stage_io *io, struct record **in, int n)
{
    struct generate *g = ctx;
    int each = g->a.p.num_return_sequences;
    g->io = io;
    g->in = in;
    lay_out(g, n);
    struct gen_answer *answer = answer_all(g);
    for (int i = 0, k = 0; i < n; i++) {
        bool asked = k < g->n && g->who[k] == i;
        if ((g->failed[i].kind ? fail(g, i) : emit_answers(g, k, &answer[k * each])) < 0)
            return -1;
        k += asked;
    }
    return 0;
}

int generate_close(struct generate *g)
{
    int rc = steps_close(&g->steps);
    record_release(&g->out);
    answer_close(g->answer);
    hidden_release(&g->hidden);
    compute_close(&g->compute);
    return rc;
}
