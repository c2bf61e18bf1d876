/* preset.c - see preset.h. */
#include "front/preset.h"

#include "base/err.h"

#include <string.h>

/* "itc,itm" as a set of those that the stage has. */
static int parse_losses(int *set, const char *s, int stage)
{
    static const struct {
        const char *name;
        int stage, loss;
    } known[] = { { "itc", 1, TRAIN_ITC },
                  { "itg", 1, TRAIN_ITG },
                  { "itm", 1, TRAIN_ITM },
                  { "lm", 2, TRAIN_LM },
                  { "align", 2, TRAIN_ALIGN } };
    const size_t count = sizeof known / sizeof *known;
    *set = 0;
    for (const char *at = s; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
        size_t k = 0, n = strcspn(at, ",");
        while (k < count && (known[k].stage != stage || n != strlen(known[k].name) ||
                             strncmp(at, known[k].name, n)))
            k++;
        if (k == count)
            return err_set(ERR_USAGE, "--loss: '%s', expected some of %s", s,
                           stage == 1 ? "itc,itg,itm" : "lm,align");
        *set |= known[k].loss;
    }
    return 0;
}

static double given(double v, double otherwise)
{
    return v < 0 ? otherwise : v;
}

static int fill_train(struct train_options *t, const struct preset *p)
{
    *t = train_defaults(p->stage);
    if (p->loss && parse_losses(&t->losses, p->loss, p->stage) < 0)
        return -1;
    t->beta2 = given(p->beta2, p->preset == PRESET_PAPER ? 0.98 : t->beta2);
    t->weight_decay = given(p->weight_decay, t->weight_decay);
    t->clip = given(p->clip, t->clip);
    t->dropout = given(p->dropout, t->dropout);
    t->lm_dropout = given(p->lm_dropout, t->lm_dropout);
    t->label_smoothing = given(p->smoothing, t->label_smoothing);
    t->attached = p->gather == GATHER_ATTACHED;
    t->temp_decays = !p->no_temp_decay;
    t->temp_min = given(p->temp_min, 0);
    t->temp_max = given(p->temp_max, t->temp_min > 0 ? 1e9 : 0);
    t->seed = (uint64_t)p->seed;
    t->micro = p->micro;
    t->init = p->init;
    if (t->temp_min > t->temp_max)
        return err_set(ERR_USAGE, "--temp-min: %g, above --temp-max %g", t->temp_min,
                       t->temp_max);
    return 0;
}

int preset_fill(struct learn_args *l, const struct preset *p)
{
    bool first = p->stage == 1, paper = p->preset == PRESET_PAPER;
    if (l->m.batch == 0)
        l->m.batch = first ? paper ? 1680 : 100 : paper ? 1920 : 64;
    if (paper && !p->epochs && !l->max_steps)
        l->max_steps = first ? 250000 : 80000;
    l->schedule = (struct train_schedule){
        .peak = given(p->lr, 1e-4),
        .min = given(p->min_lr, paper ? first ? 0 : 5e-5 : 1e-5),
        .start = given(p->warmup_lr, 1e-6),
        .warmup = p->warmup < 0 ? first && !paper ? 5000 : 2000 : p->warmup,
        .epochs = p->epochs ? p->epochs : 10,
        .by_step = p->cosine < 0 ? paper : p->cosine == COSINE_STEP,
    };
    return fill_train(&l->train, p);
}
