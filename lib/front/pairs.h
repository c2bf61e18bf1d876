/* pairs.h - what a trainer learns from: pictures with captions, from JSON lines or streams.
 *
 *   JSON lines  {"image": PATH, "caption": TEXT}, a relative PATH from the file's directory on;
 *               a picture may have any number of captions. Other keys are passed over.
 *   a stream    records with image_embeds (S, E) before the post_layernorm, and text or prompt;
 *               records with one id are captions of one picture. Their tensors stay in memory.
 *
 * Owns:    everything read, until pairs_release().
 * Errors:  -1 with err set: "FILE:LINE: what, got, expected". ERR_DATA; ERR_NOINPUT a file or a
 *          picture that is not there. */
#ifndef FRONT_PAIRS_H
#define FRONT_PAIRS_H

#include "base/arena.h"
#include "tensor/tensor.h"

#include <stdint.h>

struct json_t;

struct pairs_image {
    const char *path;       /* NULL: features came with it */
    struct tensor features; /* (S, E) f32, or data NULL */
    const char *file;       /* where it was named first */
    int line;
};

struct pairs_pair {
    int image; /* index */
    const char *file;
    int line; /* of a stream: the record's number */
    const char *caption;
    const int64_t *ids; /* the trainer's: not set here */
    int length;
};

/* One of the files: how often it is drawn from, against the others. */
struct pairs_set {
    double weight;
    int first, count; /* of its pairs */
};

struct pairs {
    struct arena mem;
    struct pairs_image *image;
    struct pairs_pair *pair;
    struct pairs_set *set;
    int images, pairs, sets;
    struct json_t *seen; /* path or id: image; "IMAGE CAPTION": line */
    int skipped;
    bool skip_bad; /* a pair that cannot be used is said and left out, not an error */
    void (*say)(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
};

/* Adds a file as a set. p: zeroed but for skip_bad and say. */
int pairs_read(struct pairs *p, const char *file, double weight);
void pairs_release(struct pairs *p);

#endif
