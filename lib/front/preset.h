/* preset.h - the numbers of a training run that are not given: those of LAVIS's configuration
 * files for the stages of pre-training, or the paper's (section 3.4).
 *
 * Errors:  -1 with err set (ERR_USAGE). */
#ifndef FRONT_PRESET_H
#define FRONT_PRESET_H

#include "front/learn.h"

/* In the order of --preset's, --cosine's and --gather's words. */
enum preset_of { PRESET_LAVIS, PRESET_PAPER };
enum preset_cosine { COSINE_EPOCH, COSINE_STEP };
enum preset_gather { GATHER_DETACHED, GATHER_ATTACHED };

/* What was given; negative: was not. */
struct preset {
    const char *loss; /* "itc,itm", or NULL */
    int stage, preset, cosine, gather, seed, micro, epochs, warmup;
    double lr, min_lr, warmup_lr, beta2, weight_decay, clip, dropout, lm_dropout, smoothing,
        temp_min, temp_max;
    bool init, no_temp_decay;
};
#define PRESET_NOTHING                                                                         \
    {                                                                                          \
        .stage = 1, .seed = 42, .cosine = -1, .warmup = -1, .lr = -1, .min_lr = -1,            \
        .warmup_lr = -1, .beta2 = -1, .weight_decay = -1, .clip = -1, .dropout = -1,           \
        .lm_dropout = -1, .smoothing = -1, .temp_min = -1, .temp_max = -1                      \
    }

/* Fills l's train and schedule, and its batch and length unless set. */
int preset_fill(struct learn_args *l, const struct preset *p);

#endif
