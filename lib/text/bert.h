/* bert.h - a text as BERT's uncased models see it: cleaned, without accents, in lower case, and
 * cut into words.
 *
 * Source:  blip2.md 6.2; Hugging Face tokenizers normalizers/bert.rs, pre_tokenizers/bert.rs.
 * Errors:  -1 with err set (ERR_OS). */
#ifndef TEXT_BERT_H
#define TEXT_BERT_H

#include "base/buf.h"

/* Appends the words of s, each followed by a newline: no word holds a blank. A byte that is not
 * UTF-8 is dropped, as U+FFFD is. */
int bert_words(struct buf *out, const char *s, size_t n);

#endif
