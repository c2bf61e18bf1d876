/* unicode.h - what the tokenizers ask about characters.
 *
 * Owns:      utf8proc: no other file sees it.
 * Versions:  the split into letters, numbers and blanks is tokenizers 0.23's (Unicode 16) for
 *            every code point. BERT's cleaning follows utf8proc (Unicode 15.0 in Debian 12);
 *            its reference is older: 624 of 1,112,063 characters differ, most of them marks
 *            and punctuation assigned since Unicode 8.
 * Errors:    none: every code point and every byte has an answer. */
#ifndef TEXT_UNICODE_H
#define TEXT_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UNICODE_BAD 0xfffd /* what a byte that is no UTF-8 stands for */

/* The code point at s; n > 0 bytes are readable. Its length through *len: 1 for UNICODE_BAD of
 * a byte that begins no character, 3 for a real U+FFFD. */
uint32_t unicode_get(size_t *len, const char *s, size_t n);

/* Writes cp as UTF-8, gives the length. */
size_t unicode_put(char out[4], uint32_t cp);

/* The classes of GPT-2's split pattern: \p{L}, \p{N}, \s, and the rest. */
enum unicode_class { UNICODE_OTHER, UNICODE_LETTER, UNICODE_NUMBER, UNICODE_SPACE };
enum unicode_class unicode_class(uint32_t cp);

bool unicode_is_space(uint32_t cp);     /* property White_Space */
bool unicode_is_mark(uint32_t cp);      /* Mn */
bool unicode_is_control(uint32_t cp);   /* Cc, Cf, Co, Cs: what BERT drops */
bool unicode_is_punct(uint32_t cp);     /* P*, and ASCII's symbols */
bool unicode_is_ideograph(uint32_t cp); /* the blocks that BERT puts blanks around */

uint32_t unicode_lower(uint32_t cp);

/* Canonical decomposition (NFD) of one character: 1 to UNICODE_DECOMPOSED code points. */
#define UNICODE_DECOMPOSED 8
size_t unicode_decompose(uint32_t out[UNICODE_DECOMPOSED], uint32_t cp);
int unicode_combining(uint32_t cp); /* canonical combining class, 0 for a starter */

#endif
