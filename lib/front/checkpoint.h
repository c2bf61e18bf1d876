/* checkpoint.h - what a training run leaves in its directory, whatever stops it.
 *
 *   OUT/checkpoint-000500/   a Hugging Face directory: config.json and tokenizer of the model
 *                            trained from; model-00001-of-00002.safetensors, what is frozen (a
 *                            hard link to OUT/.frozen-*.safetensors, written once) and -00002-,
 *                            what is trained; training_state.safetensors and .json, by which
 *                            the run goes on: moments, and what Hugging Face has no names for.
 *
 * Publish:  the directory is written under another name, synced and renamed: checkpoint-* is
 *           whole. Older ones go after that, by a rename first.
 * Errors:   -1 with err set: ERR_IO; ERR_DATA, ERR_USAGE a state that is not this run's. */
#ifndef FRONT_CHECKPOINT_H
#define FRONT_CHECKPOINT_H

#include "train/train.h"

struct json_t;

struct checkpoint {
    const char *out;   /* the run's directory */
    const char *model; /* the checkpoint trained from */
    struct store *store;
    struct train *train;
    int keep; /* how many stay */
};

/* The number of the newest checkpoint, -1: none, -2: err is set. Removes what was left half
 * written. */
int64_t checkpoint_newest(const struct checkpoint *c);

/* Publishes checkpoint-STEP with `state` (kept by the caller) in training_state.json. */
int checkpoint_write(const struct checkpoint *c, int64_t step, struct json_t *state);

/* Values and moments of checkpoint-STEP into the trainer; *state is the caller's. */
int checkpoint_read(const struct checkpoint *c, int64_t step, struct json_t **state);

#endif
