/* show.h - bytes of other people for the eyes of a person. */
#ifndef FRONT_SHOW_H
#define FRONT_SHOW_H

#include "base/buf.h"

/* Appends n bytes as a terminal may have them: control characters and what is not UTF-8 as \n,
 * \t, \xNN; a quote and a backslash with a backslash before them. Gives how many columns that
 * is through *width if width is not NULL, one for each character. */
int show_text(struct buf *out, const char *s, size_t n, int *width);

/* Appends n bytes as "e2 9c 93". */
int show_bytes(struct buf *out, const char *s, size_t n);

#endif
