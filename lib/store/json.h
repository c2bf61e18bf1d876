/* json.h - JSON of a checkpoint directory, read with bounds on size and depth.
 *
 * Owns:    nothing; the caller drops what it gets with json_decref().
 * Errors:  NULL with err set: ERR_NOINPUT no such file, ERR_DATA not JSON, a key twice (after
 *          unescaping), too deep, too large, not an object, or a git-lfs pointer. */
#ifndef STORE_JSON_H
#define STORE_JSON_H

#include <stdbool.h>
#include <stddef.h>

struct json_t;

/* The object in n bytes; no more than depth arrays and objects inside each other. */
struct json_t *store_json_parse(const void *p, size_t n, int depth);

/* The object in a file of at most max bytes; messages name the path. */
struct json_t *store_json_read(const char *path, size_t max, int depth);

/* Whether these bytes are what git leaves in place of a large file it did not fetch. */
bool store_is_lfs_pointer(const void *p, size_t n);

#endif
