/* cached.h - --cache and its companions: which cache a stage uses, and what its keys are made
 * of.
 *
 * Errors:  none that end a run but usage. A cache that cannot be used is said once, and the
 *          stage computes everything. */
#ifndef FRONT_CACHED_H
#define FRONT_CACHED_H

#include "base/buf.h"
#include "cli/opt.h"
#include "stage/cache.h"
#include "store/identity.h"

struct cached_args {
    const char *dir; /* --cache[=DIR]: "" is the usual place, NULL none */
    const char *ro;  /* --cache-ro, or NULL */
    uint64_t max;    /* --cache-max, 0: $VQA_CACHE_MAX */
    bool off;        /* --no-cache wins over the others */
};
#define CACHED_OPTS(S, field)                                                                  \
    OPT_MAYBE(S, field.dir, "cache", "DIR", "keep results, and use those kept"),               \
        OPT_STR(S, field.ro, 0, "cache-ro", "DIR", "use results kept in DIR, write nothing"),  \
        OPT_SIZE(S, field.max, "cache-max", "SIZE", "keep about so much, as 20G"),             \
        OPT_FLAG(S, field.off, 0, "no-cache", "keep and use nothing")

/* The usual place: $VQA_CACHE, else vqa in $XDG_CACHE_HOME, else ~/.cache/vqa. false if none of
 * them is set, or too long. */
bool cached_dir(char *dir, size_t n);

/* $VQA_CACHE_MAX in bytes, 0 if it is not set. ERR_USAGE. */
int cached_max(uint64_t *max);

/* Whether the arguments ask for a cache at all. */
static inline bool cached_asked(const struct cached_args *a)
{
    return !a->off && (a->dir || a->ro);
}

/* A stage's cache. */
struct cached {
    struct cache *cache; /* NULL: none */
    char dir[4096];
    struct cached_args usable; /* the arguments, less what must not be used */
    struct buf context, note;
    uint64_t hits, misses;
};

/* What a stage's results depend on but for the input and the checkpoint. */
struct cached_stage {
    const char *program;
    struct store *store;       /* where it lies is not in the key */
    struct identity_part part; /* all that is read of the checkpoint */
    const char *fingerprint;   /* of the checkpoint, for the header of entries */
    const char *facts;         /* lines: preprocessing, decoders, what is given out */
};

/* Opens what the arguments ask for; 0 also without a cache. -1: ERR_USAGE, ERR_OS. A zeroed
 * struct; the stage's strings are kept by the caller. */
int cached_open(struct cached *c, const struct cached_args *a, const struct cached_stage *s);
void cached_close(struct cached *c);

/* For --verbose: hits and misses, if there is a cache. */
void cached_report(const struct cached *c);

#endif
