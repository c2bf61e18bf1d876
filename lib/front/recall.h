/* recall.h - how well a Q-Former in training tells pairs apart that it does not learn from.
 *
 * Recall:    of pictures whose captions are among the k nearest of all captions by contrastive
 *            similarity, and of captions whose picture is among the k nearest pictures.
 *            Equal scores go to whom comes first.
 * Matching:  decisions of the matching head that are right: each caption with its own picture,
 *            and with that of the next pair that has another one.
 * Source:    LAVIS blip2_qformer.py compute_sim_matrix, without its re-ranking.
 * Errors:    -1 with err set. */
#ifndef FRONT_RECALL_H
#define FRONT_RECALL_H

#include "front/features.h"
#include "train/train.h"

enum { RECALL_1, RECALL_5, RECALL_10, RECALL_KINDS };

struct recall {
    double image_to_text[RECALL_KINDS], text_to_image[RECALL_KINDS];
    double itm_accuracy;
};

/* Dropout is off. nn: with no tape; its memory is reset. Pairs have their ids. */
int recall_measure(struct recall *out, struct train *t, struct nn *nn, struct pairs *held_out,
                   struct features *f);

#endif
