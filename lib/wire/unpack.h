/* unpack.h - reading msgpack without trusting it: a walk that asks for bytes as it goes, and a
 * cursor over bytes that a walk has already checked. Private to lib/wire.
 *
 * msgpack-c's reader allocates by lengths it has not seen bytes for, takes duplicate keys and
 * calls a truncated value "continue"; so reading is ours and writing is msgpack-c's (pack.c).
 *
 * Errors:  ERR_DATA. */
#ifndef WIRE_UNPACK_H
#define WIRE_UNPACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UNPACK_DEPTH    8     /* maps and arrays inside each other */
#define UNPACK_ELEMENTS 65536 /* of one map or array; tensors are bytes, not elements */

enum unpack_type {
    UNPACK_NIL,
    UNPACK_BOOL,
    UNPACK_INT,
    UNPACK_FLOAT,
    UNPACK_STR,
    UNPACK_BIN,
    UNPACK_ARRAY,
    UNPACK_MAP
};

/* One token: a scalar, the bytes of a str or bin, or the head of an array or map. */
struct unpack_token {
    enum unpack_type type;
    bool b;
    int64_t i; /* UNPACK_INT; a uint64 above INT64_MAX is refused */
    double f;
    const unsigned char *p; /* UNPACK_STR, UNPACK_BIN */
    size_t n;               /* bytes, elements, or pairs */
};

/* Makes at least `need` bytes available from the value's start: 1, 0 if the input ended, -1. */
typedef int unpack_more(void *ctx, size_t need);

/* Length of the value that begins at *base (which `more` may move). 1 and *len, 0 if the input
 * ended before its first byte, -1: ended inside ("truncated"), malformed, or beyond max bytes.
 */
int unpack_scan(size_t *len, const unsigned char **base, size_t *have, size_t max,
                unpack_more *more, void *ctx);

/* A cursor over checked bytes. */
struct unpack {
    const unsigned char *p, *end;
};

/* The next token; bytes are within the cursor's range because a scan walked them. */
struct unpack_token unpack_next(struct unpack *u);

/* Steps over one whole value; its bytes are [before, u->p). */
void unpack_skip(struct unpack *u);

#endif
