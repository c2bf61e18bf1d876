/* vocab.h - tokens by id and ids by token.
 *
 * Owns:      copies of all tokens, until vocab_release().
 * Lifetime:  what vocab_token() gives lasts until the next vocab_add().
 * Errors:    -1 with err set: ERR_DATA an id out of range or a second time, a token a second
 *            time; ERR_OS. A zero-initialised struct vocab is empty and valid. */
#ifndef TEXT_VOCAB_H
#define TEXT_VOCAB_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>

#define VOCAB_MAX   (1 << 20) /* ids are below it */
#define VOCAB_BYTES ((size_t)64 << 20)

struct vocab_token {
    uint32_t at, len; /* in text; len 0: no such id */
};

struct vocab {
    struct buf text;
    struct vocab_token *token; /* by id */
    uint32_t *slot;            /* hash table of id + 1; 0: free */
    size_t n, cap;             /* ids are below n */
    size_t count;              /* tokens */
    size_t mask;               /* slots - 1 */
    size_t longest;            /* bytes of the longest token */
};

void vocab_release(struct vocab *v);

int vocab_add(struct vocab *v, const char *s, size_t n, int64_t id);

/* Every id below n has a token: -1 (ERR_DATA) names the first that has none. */
int vocab_check_dense(const struct vocab *v);

int64_t vocab_find(const struct vocab *v, const char *s, size_t n); /* -1: no such token */

/* The token's bytes, NULL if there is none of that id. */
const char *vocab_token(size_t *n, const struct vocab *v, int64_t id);

#endif
