/* params.c - generation parameters: defaults and what is refused. */
#include "base/err.h"
#include "gen/process.h"

#include <math.h>
#include <string.h>

void gen_params_init(struct gen_params *p)
{
    memset(p, 0, sizeof *p);
    p->max_new_tokens = 20;
    p->repetition_penalty = 1;
    p->num_beams = 1;
    p->length_penalty = 1;
    p->temperature = 1;
    p->top_k = 50;
    p->top_p = 1;
    p->typical_p = 1;
    p->num_return_sequences = 1;
}

static int in_range(const char *name, double v, double min, double max)
{
    if (v >= min && v <= max)
        return 0;
    return err_set(ERR_USAGE, "%s: %g, expected %.10g to %.10g", name, v, min, max);
}

static int above_zero(const char *name, double v)
{
    if (v > 0 && isfinite(v))
        return 0;
    return err_set(ERR_USAGE, "%s: %g, expected more than 0", name, v);
}

static int check_ranges(const struct gen_params *p)
{
    if (in_range("max_new_tokens", p->max_new_tokens, 1, INT32_MAX) < 0 ||
        in_range("min_new_tokens", p->min_new_tokens, 0, INT32_MAX) < 0 ||
        in_range("num_beams", p->num_beams, 1, GEN_BEAMS) < 0 ||
        in_range("num_return_sequences", p->num_return_sequences, 1, GEN_BEAMS) < 0 ||
        in_range("no_repeat_ngram_size", p->no_repeat_ngram_size, 0, INT32_MAX) < 0 ||
        in_range("top_k", p->top_k, 0, INT32_MAX) < 0 ||
        in_range("top_p", p->top_p, 0, 1) < 0 || in_range("min_p", p->min_p, 0, 1) < 0 ||
        !isfinite(p->length_penalty))
        return -1;
    return above_zero("repetition_penalty", p->repetition_penalty) < 0 ||
                   above_zero("temperature", p->temperature) < 0 ||
                   above_zero("typical_p", p->typical_p) < 0
               ? -1
               : 0;
}

/* The reference ignores what has no effect, with a warning that is easily missed. */
static int check_effects(const struct gen_params *p)
{
    struct gen_params d;
    gen_params_init(&d);
    bool draws = p->temperature != d.temperature || p->top_k != d.top_k ||
                 p->top_p != d.top_p || p->min_p != d.min_p || p->typical_p != d.typical_p ||
                 p->seed != d.seed;
    bool beams = p->length_penalty != d.length_penalty || p->early_stopping != d.early_stopping;
    if (draws && !p->do_sample)
        return err_set(ERR_USAGE, "temperature, top_k, top_p, min_p, typical_p and seed do "
                                  "nothing without do_sample");
    if (beams && p->num_beams == 1)
        return err_set(ERR_USAGE,
                       "length_penalty and early_stopping do nothing without num_beams");
    return 0;
}

int gen_params_check(const struct gen_params *p)
{
    if (check_ranges(p) < 0 || check_effects(p) < 0)
        return -1;
    if (p->num_return_sequences > 1 && p->num_beams == 1 && !p->do_sample)
        return err_set(ERR_USAGE,
                       "num_return_sequences: %d, but greedy search has one answer: set "
                       "num_beams or do_sample",
                       p->num_return_sequences);
    if (p->num_beams > 1 && p->num_return_sequences > p->num_beams)
        return err_set(ERR_USAGE, "num_return_sequences: %d, expected at most num_beams, %d",
                       p->num_return_sequences, p->num_beams);
    return 0;
}

int gen_rows(const struct gen_params *p)
{
    return p->num_beams > 1 ? p->num_beams : p->num_return_sequences;
}

bool gen_is_eos(const struct gen_params *p, int64_t id)
{
    for (int i = 0; i < p->eos_count; i++)
        if (p->eos[i] == id)
            return true;
    return false;
}
