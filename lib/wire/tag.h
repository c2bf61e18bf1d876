/* tag.h - the id of a record that is still bytes: a message is handed to a program under
 * another id, and its answer handed back under the first, without decoding or copying the rest.
 *
 * Lifetime:  pieces point into the bytes they were made from. */
#ifndef WIRE_TAG_H
#define WIRE_TAG_H

#include "wire/record.h"

#define TAG_VALUE                                                                              \
    160 /* room for a packed id of at most TAG_TEXT bytes, its key, a map's head */
#define TAG_TEXT 120

/* Where the id's value is among a record's bytes; n 0: it has none. */
struct tag {
    size_t head, at, n; /* head: bytes of the map's own head */
    size_t fields;
};
void tag_find(struct tag *t, const struct record *rec);

/* The record's bytes with the id's packed value replaced (value_n 0: taken away). */
struct tag_pieces {
    const void *p[3];
    size_t n[3];
};
void tag_replace(struct tag_pieces *out, unsigned char room[TAG_VALUE], const struct tag *t,
                 const void *bytes, size_t n, const void *value, size_t value_n);

/* text (at most TAG_TEXT bytes) as a packed value; gives its length. */
size_t tag_pack(unsigned char out[TAG_VALUE], const char *text);

#endif
