/* explain.h - vqa ask --explain: the stages one after the other, each told to show what it
 * does, and a page (page.h) of what they said.
 *
 * Owns:    a directory for what goes from stage to stage, until explain_close().
 * Errors:  -1 with err set. What a stage said itself is not said again: its status is given. */
#ifndef FRONT_EXPLAIN_H
#define FRONT_EXPLAIN_H

#include "front/stages.h"

#define EXPLAIN_PAGE "vqa-explain.html" /* without a name */

enum {
    EXPLAIN_ENCODE,
    EXPLAIN_QUERIES,
    EXPLAIN_TOKENS,
    EXPLAIN_ANSWER,
    EXPLAIN_TEXT,
    EXPLAIN_STAGES
};

struct explain {
    const struct stages_common *common;
    const struct stages_gen *gen;
    const struct stages_images *images; /* one picture */
    const struct opt_list *prompts;     /* none: a caption */
    const char *const *questions;       /* as asked, one for each prompt */
    bool verbose;

    char dir[64], steps[112];       /* opt-generate's option */
    double seconds[EXPLAIN_STAGES]; /* from start to end, loading the model included */
};

/* The file of a stage's records, or (EXPLAIN_STAGES) of opt-generate's JSON lines. */
void explain_path(char *path, size_t n, const struct explain *e, int stage);

/* Runs the stages. 0, or 1 if records failed, or a stage's status, or -1. From here to
 * explain_close() a signal ends the stage at work, and its status is 128 and the signal. */
int explain_run(struct explain *e);

/* Writes the page to `file`. */
int explain_page_write(const struct explain *e, const char *file);

void explain_close(struct explain *e);

#endif
