/* filter.h - another program as a function: bytes to its standard input, bytes from its
 * standard output.
 *
 * Errors:  -1 with err set: ERR_UNAVAIL it is not installed, or failed (with the last line of
 * its standard error); ERR_OS. */
#ifndef FRONT_FILTER_H
#define FRONT_FILTER_H

#include "base/buf.h"

#include <stdbool.h>

/* Runs argv (ends in NULL), its program found along PATH, with the n bytes at in, and appends
 * what it writes to out. package: the Debian package to name when it is not installed. */
int filter_run(struct buf *out, const char *const argv[], const char *package, const void *in,
               size_t n);

/* Whether there is such a program along PATH. */
bool filter_there(const char *program);

#endif
