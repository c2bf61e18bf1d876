/* decode.h - from tokens back to text.
 *
 * Source:  Hugging Face tokenizers decoders/byte_level.rs; Rust's String::from_utf8_lossy.
 * Errors:  -1 with err set (ERR_OS). */
#ifndef TEXT_DECODE_H
#define TEXT_DECODE_H

#include "base/buf.h"

#include <stdint.h>

/* GPT-2's alphabet: the character that stands for a byte, and the byte of a character (-1:
 * none). Printable bytes stand for themselves, the other 68 are U+0100 and on. */
uint32_t decode_char_of_byte(unsigned char byte);
int decode_byte_of_char(uint32_t cp);

/* Appends the bytes of a token in that alphabet; of one that is not (an added token in any
 * script), its own bytes. */
int decode_token(struct buf *out, const char *s, size_t n);

/* Appends s; each longest run of bytes that begins a character and is cut, and each other byte
 * that is not UTF-8, becomes one U+FFFD. */
int decode_lossy(struct buf *out, const char *s, size_t n);

/* Without blanks at both ends, as Python's str.strip(). s must be UTF-8. */
void decode_strip(const char **s, size_t *n);

#endif
