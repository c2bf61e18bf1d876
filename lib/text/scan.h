/* scan.h - JSON read in place, for the two large tables of a tokenizer: 50,000 tokens and as
 * many pairs take a tenth of the time that they take as jansson's objects.
 *
 * Lifetime:  a scan points into the text, which the caller keeps.
 * Errors:    -1 with err set (ERR_DATA): what was expected, and the byte it was expected at. */
#ifndef TEXT_SCAN_H
#define TEXT_SCAN_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct scan {
    const char *begin, *p, *end;
};

struct scan scan_of(const void *text, size_t n);

/* Passes blanks, and then c if it is next; whether it was. */
bool scan_take(struct scan *s, char c);

/* Whether c is next after blanks. */
bool scan_sees(struct scan *s, char c);

/* After an element of an array or object that ends in `close`: 1 there is another one, 0 it was
 * the last. */
int scan_more(struct scan *s, char close);

/* A string, without its escapes, appended to out. */
int scan_str(struct buf *out, struct scan *s);

int scan_int(int64_t *v, struct scan *s);

/* Any value, passed over. It is not checked beyond finding its end. */
int scan_skip(struct scan *s);

/* The value of a key of the object at s: 1 found, 0 not; s itself stays. */
int scan_find(struct scan *value, struct scan s, const char *key);

int scan_fail(const struct scan *s, const char *expected);

#endif
