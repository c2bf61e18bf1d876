/* tokens.h - what tokenize does to a record or a line: prompts to ids, ids to text.
 *
 * Owns:    the tokenizer of a checkpoint, from tokens_open() to tokens_close().
 * Errors:  -1 with err set, as text/bpe.h, text/prompt.h and store/store.h say. */
#ifndef FRONT_TOKENS_H
#define FRONT_TOKENS_H

#include "text/prompt.h"
#include "wire/record.h"

#include <stdio.h>

struct tokens {
    struct bpe *bpe;
    struct prompt_layout layout;
    struct bpe_ids ids; /* scratch */
    struct buf text;    /* scratch */
};

/* Finds the model of -m; t is zeroed but for layout.split_specials. Close it also after a
 * failure. */
int tokens_open(struct tokens *t, const char *model);
void tokens_close(struct tokens *t);

/* Sets input_ids and attention_mask, both i64 (T), and prompt. prompt NULL: the record's own,
 * or none (captioning). */
int tokens_encode(struct record *rec, struct tokens *t, const char *prompt);

/* Sets text from output_ids, special tokens skipped, stripped; drops output_ids unless keep. */
int tokens_decode(struct record *rec, struct tokens *t, bool keep);

/* A line of text as a line of ids, and the other way round (special tokens skipped). */
int tokens_print_ids(FILE *f, struct tokens *t, const char *s, size_t n);
int tokens_print_text(FILE *f, struct tokens *t, const char *ids, size_t n);

/* Calls fn for each of the n operands, or without any for each line of standard input, less its
 * end. -1 when fn gave -1, with the number of the line in front. */
int tokens_each_line(char **operands, int n, int (*fn)(void *ctx, const char *s, size_t n),
                     void *ctx);

#endif
