/* token_table.h - how a text becomes tokens, for people and programs: tokenize --explain.
 *
 * Errors:  -1 with err set, as text/prompt.h says. */
#ifndef FRONT_TOKEN_TABLE_H
#define FRONT_TOKEN_TABLE_H

#include "front/tokens.h"

struct token_table {
    const char *text; /* the caller's */
    size_t n;
    int64_t image_token, rows; /* placeholders in front; rows 0: none */
    struct bpe_span *span;     /* (spans), in mem */
    size_t spans;
    struct arena mem;
};

/* A zeroed table; release it also after a failure. */
int token_table_make(struct token_table *t, struct tokens *k, const char *text, size_t n);
void token_table_release(struct token_table *t);

/* The text cut into its tokens, then a line for each of them. */
int token_table_print(FILE *f, const struct token_table *t, bool colour);

/* {text, image: {id, rows} or null, tokens: [{at, id, mask, special, word, first, text,
 * bytes}]}; NULL with err set. The caller's reference. */
struct json_t *token_table_json(const struct token_table *t);

/* All of that for one text: the table, coloured where f is a terminal that may be, or a line of
 * JSON. */
int token_table_line(FILE *f, struct tokens *k, const char *text, size_t n, bool json);

#endif
