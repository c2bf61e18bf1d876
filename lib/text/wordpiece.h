/* wordpiece.h - BERT's uncased WordPiece, for the Q-Former's text.
 *
 * Source:  blip2.md 6.2; Hugging Face tokenizers BertNormalizer, BertPreTokenizer, WordPiece.
 * Errors:  NULL or -1 with err set. */
#ifndef TEXT_WORDPIECE_H
#define TEXT_WORDPIECE_H

#include "text/bpe.h"

struct wordpiece;

/* From tokenizer.json or vocab.txt in dir. */
struct wordpiece *wordpiece_open(const char *dir);
void wordpiece_close(struct wordpiece *t);

/* Appends [CLS] A [SEP]. max > 0: at most so many ids, cut at the end, [SEP] kept. */
int wordpiece_encode(struct bpe_ids *out, const struct wordpiece *t, const char *s, size_t n,
                     size_t max);
int wordpiece_decode(struct buf *out, const struct wordpiece *t, const int64_t *ids, size_t n,
                     bool skip_specials);

#endif
