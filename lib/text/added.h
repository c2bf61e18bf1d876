/* added.h - the tokens that are cut out of a text before anything else: "</s>", "<image>".
 *
 * Lifetime:  struct added_token points into the list, until the next added_add().
 * Source:    Hugging Face tokenizers tokenizer/added_vocabulary.rs.
 * Errors:    -1 with err set: ERR_DATA, ERR_OS. A zero-initialised struct added is empty. */
#ifndef TEXT_ADDED_H
#define TEXT_ADDED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ADDED_MAX 4096

struct added_token {
    char *s;
    size_t n;
    int64_t id;
    bool special;    /* dropped by decoding with skip_specials */
    bool normalized; /* looked for after those that are not */
};

struct added {
    struct added_token *v;
    size_t n, cap;
    bool first[256]; /* some token begins with this byte */
};

void added_release(struct added *a);

/* Replaces what is there of the same text; copies s. */
int added_add(struct added *a, const char *s, size_t n, const struct added_token *like);

const struct added_token *added_of_id(const struct added *a, int64_t id);

/* The leftmost, and of those the longest, token of that kind in s[0..n), except the one with id
 * `never`; where it begins through *at. NULL: there is none. */
const struct added_token *added_next(size_t *at, const struct added *a, const char *s, size_t n,
                                     bool normalized, int64_t never);

#endif
