/* queries.h - what qformer does to its records: image_embeds to language_model_inputs.
 *
 * Owns:    the model and the memory of a batch, until queries_close().
 * Errors:  as stage/stage.h; a faulty record becomes an error record in its place. */
#ifndef FRONT_QUERIES_H
#define FRONT_QUERIES_H

#include "front/cached.h"
#include "front/compute.h"
#include "front/hidden.h"
#include "model/qformer.h"
#include "stage/stage.h"
#include "text/wordpiece.h"

struct queries_args {
    struct cli_model m;
    struct cached_args cache; /* of language_model_inputs; with none of the next three */
    bool features;            /* add query_output */
    bool attention;           /* add cross_attentions and attention_rollout */
    bool hidden;              /* add hidden_states.0 and so on */
    bool keep;                /* image_embeds stay */
    const char *text; /* read with each image that has no qformer_text of its own, or NULL */
};

struct queries_item;

struct queries {
    struct queries_args args;
    struct compute compute;
    struct qformer *q;       /* NULL with a cache until its first miss */
    struct wordpiece *words; /* only for checkpoints that read text */
    struct bpe_ids ids;      /* of the record at hand */
    struct cached cached;
    struct arena looks;        /* where the queries of the group at hand look */
    struct hidden hidden;      /* their hidden states, if asked for */
    struct queries_item *item; /* of the batch at hand */
    int items;
    struct record **in;
};

/* struct stage's open and step, for a ctx that is a struct queries with its args set. */
int queries_open(void *ctx, struct stage_io *io, const char **model);
int queries_step(void *ctx, struct stage_io *io, struct record **in, int n);
void queries_close(struct queries *q);

#endif
