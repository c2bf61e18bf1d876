/* match.h - what qformer-match does to its records: image_embeds and a text to itm_score and
 * itc_score.
 *
 * Owns:    the model and the memory of a batch, until match_close().
 * Errors:  as stage/stage.h; a faulty record becomes an error record in its place. */
#ifndef FRONT_MATCH_H
#define FRONT_MATCH_H

#include "front/compute.h"
#include "model/retrieval.h"
#include "stage/stage.h"
#include "text/wordpiece.h"

enum match_head { MATCH_BOTH, MATCH_ITM, MATCH_ITC };

struct match_args {
    struct cli_model m;
    struct opt_list texts; /* one record out for each; none: the record's own */
    int head;              /* enum match_head */
    bool features;         /* add image_embeds_proj; texts are then optional */
    bool keep;             /* image_embeds stay */
};

struct match {
    struct match_args args;
    struct compute compute;
    struct retrieval *model;
    struct wordpiece *words;
    struct bpe_ids ids; /* of the text at hand */
    float **vector;     /* of each --text, when it is known */
    struct record out;
};

/* struct stage's open and step, for a ctx that is a struct match with its args set. */
int match_open(void *ctx, struct stage_io *io, const char **model);
int match_step(void *ctx, struct stage_io *io, struct record **in, int n);
void match_close(struct match *m);

#endif
