/* encode.h - records with an image to records with pixel_values or image_embeds: what
 * img-encode does.
 *
 * Errors:  -1 with err set; what is wrong with one record becomes its error record. */
#ifndef FRONT_ENCODE_H
#define FRONT_ENCODE_H

#include "front/cached.h"
#include "front/compute.h"
#include "front/hidden.h"
#include "image/image.h"
#include "model/vit.h"
#include "stage/stage.h"

struct encode_args {
    struct cli_model m;
    struct cached_args cache; /* of image_embeds; not with pixels, attention, hidden */
    int resize;               /* enum image_resize */
    int alpha;                /* enum image_alpha */
    int dtype;                /* ENCODE_F32 or ENCODE_F16 */
    int attention;            /* enum encode_attention */
    const char *image_size;   /* "N" or "HxW": another size than the checkpoint's, or NULL */
    int max_pixels;           /* 0: as image.h says */
    int jobs;                 /* threads that read and decode ahead; 0: encode_jobs() */
    int tally;                /* descriptor that gets a letter a picture: h, c or f; 0: none */
    bool no_exif, interpolate, pixels, keep;
    bool hidden; /* add hidden_states.0 and so on */
    bool inputs; /* language_model_inputs in place of image_embeds, if the cache has them */
    bool no_post_layernorm; /* image_embeds as the Q-Former's trainer takes them */
    bool own_files;         /* paths come from this command's user, not from a stream */
};

enum { ENCODE_F32, ENCODE_F16 };

/* Nothing; vision_rollout and cls_attentions; those and vision_attentions. */
enum encode_attention { ENCODE_NO_ATTENTION, ENCODE_ROLLOUT, ENCODE_FULL };

struct encode_item;

struct encode {
    struct encode_args a;
    struct image_processor processor;
    struct image_limits limits;
    bool untrusted; /* records come from people we do not know: stage-serve says so */
    struct compute compute;
    struct vit *vit;               /* NULL with pixels, and with a cache until its first miss */
    struct cached cached, queries; /* of image_embeds; of language_model_inputs, with inputs */
    struct arena looks;            /* what the images of the run at hand look at */
    struct hidden hidden;          /* their hidden states, if asked for */
    struct encode_item *item;      /* by slot (stage.h) */
    int items;
    struct record **in; /* the batch at hand, and its items */
    struct encode_item **turn;
    double begun, ended,
        busy; /* seconds: when it was opened, the last time it computed, in sum */
};

/* How many threads are to run encode_prepare(), and how many records are read ahead for them:
 * enough for the next batch to be there when this one is done. */
int encode_jobs(const struct encode_args *a);
static inline int encode_ahead(const struct encode_args *a)
{
    return a->m.batch + encode_jobs(a);
}

/* Finds the model; with a.pixels only its preprocessing is opened. A zeroed struct with a set;
 * close it also after a failure. *model: its fingerprint, or as it was. */
int encode_open(struct encode *e, const char **model);
void encode_close(struct encode *e);

/* stage.h's prepare, and its step for up to a.m.batch records. */
void encode_prepare(struct encode *e, struct record *rec, int slot);
int encode_step(struct encode *e, struct stage_io *io, struct record **in, int n);

/* The image_embeds (S, E) of one picture, from the cache or computed: what the steps above give
 * for it, for a caller that runs no stage. Valid until the next call; rec stays as it is. */
int encode_one(struct tensor *image_embeds, struct encode *e, struct record *rec);

/* For --verbose: what the cache had, and how much of the time the encoder computed. */
void encode_report(const struct encode *e);

#endif
