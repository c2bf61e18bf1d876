/* tables.h - the two large tables of a tokenizer, from any of the forms they come in.
 *
 * Errors:  -1 with err set: ERR_DATA names the rule, line or byte. */
#ifndef TEXT_TABLES_H
#define TEXT_TABLES_H

#include "text/files.h"
#include "text/scan.h"

/* {"token": id, ...}, ids dense from 0. */
int tables_vocab(struct files *f, struct scan *s);

/* [["left", "right"], ...] or ["left right", ...]: the rank is the place. */
int tables_merges(struct files *f, struct scan *s);

/* merges.txt: "left right" a line. */
int tables_merges_text(struct files *f, const struct buf *b);

/* The next line of b from *at on, without its end; false: there is none. */
bool tables_next_line(const char **s, size_t *n, const struct buf *b, size_t *at);

#endif
