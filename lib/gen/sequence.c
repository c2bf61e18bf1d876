/* sequence.c - greedy search and sampling; see sequence.h. */
#include "gen/sequence.h"

#include <string.h>

int64_t *gen_ids_new(const struct gen_prompt *prompt, int room, struct arena *mem)
{
    int64_t *ids = arena_calloc(mem, (size_t)prompt->n_history + (size_t)room, sizeof *ids);
    if (ids && prompt->n_history)
        memcpy(ids, prompt->history, (size_t)prompt->n_history * sizeof *ids);
    return ids;
}

int gen_limit(const struct gen_params *p, const struct gen_prompt *prompt)
{
    return p->max_new_tokens < prompt->room ? p->max_new_tokens : prompt->room;
}

int gen_seq_init(struct gen_seq *s, const struct gen_params *p, const struct gen_prompt *prompt,
                 int sequence, struct arena *mem)
{
    int room = gen_limit(p, prompt);
    *s = (struct gen_seq){ .ids = gen_ids_new(prompt, room, mem),
                           .n_history = prompt->n_history,
                           .n = prompt->n_history,
                           .limit = prompt->n_history + room };
    gen_rng_init(&s->rng, p->seed, prompt->stream, (uint64_t)sequence);
    return s->ids ? 0 : -1;
}

int gen_seq_advance(struct gen_seq *s, struct gen_work *w, const struct gen_params *p,
                    const float *logits)
{
    if (gen_scores_copy(w, logits) < 0)
        return -1;
    gen_process(w, p, s->ids, s->n, s->n - s->n_history);
    if (p->do_sample)
        gen_warp(w, p);
    int64_t id = p->do_sample ? gen_draw(&s->rng, w->scores, w->vocab)
                              : gen_argmax(w->scores, w->vocab);
    s->score += w->scores[id] - gen_log_sum_exp(w->scores, w->vocab);
    s->ids[s->n++] = id;
    s->eos = gen_is_eos(p, id);
    s->done = s->eos || s->n == s->limit;
    return 0;
}
