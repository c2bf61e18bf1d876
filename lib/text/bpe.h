/* bpe.h - OPT's byte-level BPE: from tokenizer.json, or vocab.json with merges.txt.
 *
 * Any bytes can be encoded: one that is not UTF-8 counts as neither letter, number nor blank,
 * as U+FFFD does. Encode then decode gives valid UTF-8 back unchanged. Source:  blip2.md 6.1;
 * Hugging Face tokenizers ByteLevel and BPE, GPT2Tokenizer. Errors:  NULL or -1 with err set:
 * ERR_NOINPUT no tokenizer files, ERR_DATA damaged ones, ERR_CONFIG a tokenizer.json that asks
 * for a method that is not GPT-2's. */
#ifndef TEXT_BPE_H
#define TEXT_BPE_H

#include "base/arena.h"
#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bpe;

struct bpe *bpe_open(const char *dir);
void bpe_close(struct bpe *t);

/* Ids, growing as needed; owns v until ids_release(). */
struct bpe_ids {
    int64_t *v;
    size_t n, cap;
};
void bpe_ids_release(struct bpe_ids *ids);
int bpe_ids_push(struct bpe_ids *ids, int64_t id);

/* No text becomes this id from now on: its token is ordinary text (the image placeholder, which
 * the reference would take from a prompt and then fail on). -1: no such id. */
void bpe_reserve(struct bpe *t, int64_t id);

enum bpe_flags {
    BPE_BOS = 1,      /* the template's leading </s> */
    BPE_SPECIALS = 2, /* "</s>" and the like in the text become their ids, as the reference
                         does; without it they are ordinary text */
};

/* Appends the ids of n bytes of text. */
int bpe_encode(struct bpe_ids *out, const struct bpe *t, const char *s, size_t n, int flags);

/* Appends the text of ids; bytes that are not UTF-8 become U+FFFD. skip_specials drops special
 * tokens; ids beyond the vocabulary give nothing. */
int bpe_decode(struct buf *out, const struct bpe *t, const int64_t *ids, size_t n,
               bool skip_specials);

int64_t bpe_id(const struct bpe *t, const char *token); /* -1: no such token */

/* Appends the bytes that an id stands for, which need not be whole characters; nothing for an
 * id beyond the vocabulary. */
int bpe_token(struct buf *out, const struct bpe *t, int64_t id);
bool bpe_is_special(const struct bpe *t, int64_t id);

/* Where in a text an id comes from. */
struct bpe_span {
    int64_t id;
    size_t at, n; /* bytes; n 0: from none of them, the template's </s> */
    int word;     /* counted from 0: pieces that merges never cross; -1: an added token */
    bool first;   /* of its word */
    bool special;
};

/* The spans of the ids that bpe_encode() gave for n bytes of text with these flags: as many as
 * ids, in mem. NULL with err set. */
struct bpe_span *bpe_spans(const struct bpe *t, const struct bpe_ids *ids, const char *s,
                           size_t n, int flags, struct arena *mem);

#endif
