/* utf8.h - whether bytes are UTF-8 as RFC 3629 has it: no surrogates, no over-long forms. */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Length of the valid character at s, 0 if none begins there. n > 0 bytes are readable. */
size_t utf8_char(const char *s, size_t n);

bool utf8_valid(const char *s, size_t n);

#endif
