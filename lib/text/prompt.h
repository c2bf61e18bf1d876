/* prompt.h - the ids that a language model reads: placeholders of the image, "</s>", the text.
 *
 * A checkpoint with an image token has one placeholder for each query row in front, as the
 * reference's processor puts them; the language stage replaces them by the image's rows. An
 * older one has none: there the rows are simply put in front.
 *
 * Source:  blip2.md 1.3 and 5.3; transformers processing_blip_2.py.
 * Errors:  -1 with err set: ERR_DATA a text that is too long or not UTF-8. */
#ifndef TEXT_PROMPT_H
#define TEXT_PROMPT_H

#include "text/bpe.h"

#define PROMPT_BYTES ((size_t)64 << 10) /* the longest text */

struct prompt_layout {
    int64_t image_token; /* -1: the checkpoint has none */
    int64_t rows;        /* of the image: num_query_tokens */
    int64_t positions;   /* most that the model reads: placeholders or rows, "</s>" and text */
    bool split_specials; /* "</s>" and the like in the text are ordinary text */
};

/* Appends the ids of n bytes of text, behind an image or alone. t must have the image token
 * reserved (bpe_reserve()): a text never makes a placeholder. */
int prompt_encode(struct bpe_ids *out, const struct prompt_layout *l, const struct bpe *t,
                  const char *s, size_t n, bool image);

#endif
