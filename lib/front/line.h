/* line.h - the line on a terminal that says how far something is, and is written over.
 *
 * It goes to standard error and is cut at the terminal's width, whatever that has become. It
 * has no colours, so NO_COLOR changes nothing; with TERM=dumb (or none) it is wiped with
 * blanks, without an escape sequence. */
#ifndef FRONT_LINE_H
#define FRONT_LINE_H

#include <stdbool.h>

/* Whether anybody would see it: standard error is a terminal. */
bool line_seen(void);

/* In place of what the line showed; plain ASCII. */
void line_show(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* An empty line, with the cursor at its begin. */
void line_clear(void);

#endif
