/* steps.h - how answers came about, told step by step: opt-generate --explain.
 *
 *     steps_begin(&s, n, gen_rows(&params));
 *     answer_run(..., a watch that hands on to steps_scores() and steps_choice());
 *     for each prompt i: steps_print(&s, i, &of)
 *
 * Owns:    what it was told, until the next steps_begin().
 * Errors:  -1 with err set: the checkpoint's tokenizer as bpe.h, the file ERR_IO. */
#ifndef FRONT_STEPS_H
#define FRONT_STEPS_H

#include "base/arena.h"
#include "base/pool.h"
#include "gen/gen.h"
#include "text/bpe.h"

#include <stdio.h>

#define STEPS_LIKELIEST 6 /* of each row: the one taken and five others, as a rule */

struct steps_prompt;

struct steps {
    struct bpe *bpe;
    FILE *file;       /* JSON lines; NULL: a table on standard error */
    const char *name; /* of the file */
    double bandwidth; /* bytes a second that this machine reads from memory */
    double began;     /* when the batch did */
    int n, rows;
    struct steps_prompt *prompt; /* (n), in mem */
    struct arena mem;
};

/* dir: the checkpoint, for the texts of tokens. file: "" for the table. pool: the threads to
 * measure the memory with. A zeroed struct; close it also after a failure. */
int steps_open(struct steps *s, const char *dir, const char *file, struct pool *pool);
int steps_close(struct steps *s);

/* Of n prompts that are about to be answered together, in so many rows each (gen_rows()). */
int steps_begin(struct steps *s, int n, int rows);

/* As struct gen_watch's functions of these names. */
int steps_scores(struct steps *s, int prompt, int row, const float *scores, int64_t vocab);
int steps_choice(struct steps *s, int prompt, const struct gen_choice *c);

/* What the prompt was: positions that it has and that did not have to be read again, bytes of
 * weights a step reads. */
struct steps_of {
    const char *id;
    int64_t positions, reused, step_bytes;
};
int steps_print(const struct steps *s, int prompt, const struct steps_of *of);

#endif
