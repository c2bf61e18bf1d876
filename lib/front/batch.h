/* batch.h - a part of a long list of images, worked on once: its files appear when they are
 * whole, and a mark says that they are done and from what.
 *
 *   OUT/part-00003-of-00064.jsonl        the results, in the order of the list
 *   OUT/part-00003-of-00064.stats.json   the mark: counts, what was asked of which images and
 *                                        model (`work`), SHA-256 of each file
 *
 * Parts are runs of the list, so the parts' files one after the other are those of the whole.
 * Two programs at one part write the same bytes; the last rename wins. Killed, it is begun
 * again, with what the cache holds.
 *
 * Memory:  constant in the number of images.
 * Errors:  -1 with err set: ERR_USAGE, ERR_IO; ERR_DATA for files made of something else. */
#ifndef FRONT_BATCH_H
#define FRONT_BATCH_H

#include "base/outfile.h"
#include "base/sha256.h"
#include "cli/opt.h"
#include "front/pipeline.h"
#include "front/stages.h"

#include <stdint.h>
#include <stdio.h>

struct batch_args {
    const char *out;   /* -o, or NULL: no batch */
    const char *shard; /* "I/N", "slurm", or NULL: 0/1 */
    bool overwrite, retry;
};
#define BATCH_OPTS(S, field)                                                                   \
    OPT_STR(S, field.out, 'o', "output", "DIR", "write files into DIR, for many images"),      \
        OPT_STR(S, field.shard, 0, "shard", "I/N", "only the I-th of N parts, from 0; slurm"), \
        OPT_FLAG(S, field.overwrite, 0, "overwrite", "replace files that were made before"),   \
        OPT_FLAG(S, field.retry, 0, "retry-failed", "do parts again in which images failed")

/* Options other than overwrite need -o: ERR_USAGE. */
int batch_check(const struct batch_args *a);

struct batch_file {
    char path[4096];
    struct outfile out;
    FILE *f;
};

struct batch {
    const struct batch_args *a;
    int shard, shards;
    char base[4000];         /* OUT/part-00003-of-00064 */
    char work[SHA256_HEX];   /* of what was asked, of which model, about which images */
    struct batch_file names; /* this part's, each ended by NUL; never published */
    struct batch_file file[2];
    int files;
    uint64_t images;
    uint64_t errors; /* of an earlier run, when there is nothing to do */
};

/* Takes this part's names from the images. asked: what is to be done, as text; model: -m's
 * value. 1: to be done; 0: done before. A zeroed struct; close it in any case. */
int batch_open(struct batch *b, const struct batch_args *a, const struct stages_images *im,
               const char *asked, const char *model);

/* Makes im say this part's images alone. The batch keeps their names. */
void batch_images(const struct batch *b, struct stages_images *im);

/* A file of results: OUT/part-...SUFFIX, at most two. NULL with err set. */
FILE *batch_create(struct batch *b, const char *suffix);

/* Publishes the files, then the mark. */
int batch_publish(struct batch *b, uint64_t records, uint64_t errors);

/* Removes what was not published. */
void batch_close(struct batch *b);

/* From here on SIGTERM and SIGINT end the pipeline. */
void batch_stop_on_signal(const struct pipeline *p);

/* The end of a pipeline whose results were read with rc: waits for it, releases it, and gives
 * rc. -1 with err set: ERR_TEMP if a signal came, to us or, by the pipeline's status, to a
 * stage (Slurm sends it to all of them, one after the other); ERR_BUG if a stage failed that no
 * result tells of. */
int batch_wait(struct pipeline *p, int rc);

#endif
