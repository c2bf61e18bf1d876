/* stages.h - the command lines of the four stages, as the front door runs them. */
#ifndef FRONT_STAGES_H
#define FRONT_STAGES_H

#include "cli/opt.h"
#include "front/pipeline.h"
#include "quant/quant.h"

/* Options of opt-generate that the front door hands on as they are. */
struct stages_gen {
    const char *max_new_tokens, *min_new_tokens, *num_beams, *length_penalty, *early_stopping,
        *repetition_penalty, *no_repeat_ngram_size, *temperature, *top_k, *top_p, *seed,
        *num_return_sequences;
    bool do_sample, stream;
};

#define STAGES_GEN_STR(S, field, member, name, arg, help)                                      \
    OPT_STR(S, field.member, 0, name, arg, help)

/* Their rows in a subcommand's option table. */
#define STAGES_GEN_OPTS(S, field)                                                              \
    STAGES_GEN_STR(S, field, max_new_tokens, "max-new-tokens", "N", "tokens of an answer"),    \
        STAGES_GEN_STR(S, field, min_new_tokens, "min-new-tokens", "N", "at least so many"),   \
        STAGES_GEN_STR(S, field, num_beams, "num-beams", "N", "beam search"),                  \
        STAGES_GEN_STR(S, field, length_penalty, "length-penalty", "X",                        \
                       "beams: above 0 longer"),                                               \
        STAGES_GEN_STR(S, field, early_stopping, "early-stopping", "WORD",                     \
                       "beams: true, false, never"),                                           \
        STAGES_GEN_STR(S, field, repetition_penalty, "repetition-penalty", "X", "1 is none"),  \
        STAGES_GEN_STR(S, field, no_repeat_ngram_size, "no-repeat-ngram-size", "N",            \
                       "0 is none"),                                                           \
        OPT_FLAG(S, field.do_sample, 0, "do-sample",                                           \
                 "draw tokens instead of taking the best"),                                    \
        STAGES_GEN_STR(S, field, temperature, "temperature", "X", "sampling"),                 \
        STAGES_GEN_STR(S, field, top_k, "top-k", "N", "sampling"),                             \
        STAGES_GEN_STR(S, field, top_p, "top-p", "X", "sampling"),                             \
        STAGES_GEN_STR(S, field, seed, "seed", "N", "sampling"),                               \
        OPT_FLAG(S, field.stream, 0, "stream", "print an answer as it comes")

/* The cache of img-encode and qformer: on, unless there is no place for one. */
struct stages_cache {
    const char *dir, *ro, *max; /* as given, or NULL */
    bool off;
    char arg[4112]; /* "--cache=DIR", from stages_prepare() */
};

/* The model and what all compute stages take; 0 and NULL for the default. What is no number
 * ends vqa before the stages start, which would each say so. */
struct stages_common {
    const char *model;
    int threads, batch, weights;
    char threads_arg[12], batch_arg[12]; /* from stages_prepare() */
    struct stages_cache cache;
};
#define STAGES_COMMON_OPTS(S, field)                                                           \
    OPT_STR(S, field.model, 'm', "model", "MODEL",                                             \
            "directory, or ORG/NAME[@REV] in the Hugging Face cache"),                         \
        OPT_COMPUTE(S, field),                                                                 \
        OPT_CHOICE(S, field.weights, 0, "weights", "WORD", quant_words,                        \
                   "stored (default), int8, int4 or bf16"),                                    \
        OPT_MAYBE(S, field.cache.dir, "cache", "DIR", "where results of encoding are kept"),   \
        OPT_STR(S, field.cache.ro, 0, "cache-ro", "DIR", "use those in DIR too, write none"),  \
        OPT_STR(S, field.cache.max, 0, "cache-max", "SIZE", "keep about so much, as 20G"),     \
        OPT_FLAG(S, field.cache.off, 0, "no-cache", "keep and use nothing")

/* Which images, and how img-encode reads them; as given, NULL for the default. */
struct stages_images {
    const char *files_from, *tar, *resize, *jobs;
    const char *skip, *tally; /* what img-encode's --skip-existing and --tally get */
    bool null, recursive;
    char **names; /* operands */
    int count;
};
#define STAGES_RESIZE_OPT(S, field)                                                            \
    OPT_STR(S, field, 0, "resize", "WORD", "pillow (default) or torchvision")
#define STAGES_IMAGES_OPTS(S, field)                                                           \
    OPT_STR(S, field.files_from, 'T', "files-from", "FILE", "images, one name a line"),        \
        OPT_FLAG(S, field.null, '0', "null", "names in FILE end in NUL"),                      \
        OPT_FLAG(S, field.recursive, 'r', "recursive", "descend into directories"),            \
        OPT_STR(S, field.tar, 0, "tar", "FILE", "the images of a tar archive"),                \
        OPT_STR(S, field.jobs, 'j', "jobs", "N", "threads that read and decode images"),       \
        STAGES_RESIZE_OPT(S, field.resize)

/* To be called once the options are read. */
void stages_prepare(struct stages_common *c);

/* One command each; the caller adds what is its own. */
void stages_img_encode(struct pipeline *p, const struct stages_common *c);
/* The same, for a qformer to follow that needs nothing but language_model_inputs. */
void stages_img_inputs(struct pipeline *p, const struct stages_common *c);
/* Those of img-encode's arguments that say which images: they end its command line. */
void stages_images(struct pipeline *p, const struct stages_images *im);
void stages_qformer(struct pipeline *p, const struct stages_common *c);
void stages_match(struct pipeline *p, const struct stages_common *c); /* --head itc */
void stages_tokenize(struct pipeline *p, const struct stages_common *c);
void stages_generate(struct pipeline *p, const struct stages_common *c,
                     const struct stages_gen *g);
void stages_decode(struct pipeline *p, const struct stages_common *c);

/* The pipeline on standard error, ready to paste, for --verbose. */
int stages_show(const struct pipeline *p);

#endif
