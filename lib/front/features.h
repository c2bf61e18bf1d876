/* features.h - the frozen encoder's rows of a picture, as the Q-Former's trainer takes them:
 * before the post_layernorm. From the record they came in, from the cache, or computed.
 *
 * Owns:    the encoder, from the first picture that is not at hand to features_close().
 * Errors:  -1 with err set, which names the file and line that the picture is from. */
#ifndef FRONT_FEATURES_H
#define FRONT_FEATURES_H

#include "front/encode.h"
#include "front/pairs.h"

struct features {
    struct encode encode;
    struct record rec;
    bool open;
    int64_t S, E; /* of every picture; S 0: not known yet */
};

/* E: the width that the Q-Former reads. A zeroed struct; close it also after a failure. */
int features_open(struct features *f, const struct cli_model *m,
                  const struct cached_args *cache, int64_t E);
void features_close(struct features *f);

/* (S, E) f32, until the next call. Without a cache what was computed stays in p's memory. */
int features_get(struct tensor *t, struct features *f, struct pairs *p, int image);

#endif
