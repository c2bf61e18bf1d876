/* names.h - a list of names, one a line or each ended by NUL, read as it comes.
 *
 * Errors:  -1 with err set: ERR_NOINPUT the list cannot be opened, ERR_IO not read. */
#ifndef FRONT_NAMES_H
#define FRONT_NAMES_H

#include "base/buf.h"

#include <stdbool.h>

struct names {
    int fd;
    int end; /* '\n' or '\0' */
    struct buf got;
    size_t at;     /* what of got has been given out */
    size_t looked; /* and what holds no end of a name */
    bool over;     /* the list has ended */
};

/* list: a file, or "-" for standard input. */
int names_open(struct names *n, const char *list, bool null);
void names_close(struct names *n); /* also of a struct of zeros */

/* The next name that is not empty, until the next call: 1, 0 at the end, -1. */
int names_next(const char **s, struct names *n);

/* Whether names_next() would not wait. */
bool names_ready(struct names *n);

#endif
