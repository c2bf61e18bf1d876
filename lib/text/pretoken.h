/* pretoken.h - GPT-2's cut of a text into pieces that merges never cross.
 *
 * The pattern, by hand over code points:
 *   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
 * A byte that is not UTF-8 belongs to the "other" class, as U+FFFD does.
 *
 * Source:  blip2.md 6.1; Hugging Face tokenizers pre_tokenizers/byte_level.rs.
 * Errors:  none. Every byte is in exactly one piece; time is linear. */
#ifndef TEXT_PRETOKEN_H
#define TEXT_PRETOKEN_H

#include <stddef.h>

/* Length of the piece at s; n > 0. */
size_t pretoken_next(const char *s, size_t n);

#endif
