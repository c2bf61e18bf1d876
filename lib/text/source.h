/* source.h - the files of a tokenizer as bytes and as JSON.
 *
 * Errors:  -1 with err set: ERR_DATA too large, not JSON, a git-lfs pointer; ERR_NOINPUT,
 * ERR_IO. */
#ifndef TEXT_SOURCE_H
#define TEXT_SOURCE_H

#include "base/buf.h"

struct json_t;

/* dir/name appended to b: 1 read, 0 not there. */
int source_read(struct buf *b, const char *dir, const char *name);

/* The same as a JSON object: 1 read (json_decref() it), 0 not there and *json NULL. */
int source_json(struct json_t **json, const char *dir, const char *name);

/* The JSON object that b holds; name tells how numbers are read. 1. */
int source_parse(struct json_t **json, const struct buf *b, const char *name);

/* That b is not a git-lfs pointer: 0. */
int source_check(const struct buf *b);

#endif
