/* pack.h - msgpack out, by msgpack-c. Private to lib/wire. Errors: -1 with err set. */
#ifndef WIRE_PACK_H
#define WIRE_PACK_H

#include "wire/record.h"
#include "wire/wire.h"

/* Where bytes go: gather is called for every piece; big ones need not be copied. */
typedef int pack_sink(void *ctx, const void *p, size_t n);

int pack_record(pack_sink *sink, void *ctx, const struct record *r);

/* {"stream": {"version", "via": [...]}}; via: n producers already packed one after another;
 * me: one more, or NULL. */
int pack_header(pack_sink *sink, void *ctx, const void *via, size_t via_bytes, size_t via_count,
                const struct wire_producer *me);

/* {"end": {"records", "errors", "sha256"}} */
int pack_end(pack_sink *sink, void *ctx, struct wire_counts c, const unsigned char *sha256);

/* {"abort": {kind, message}} */
int pack_abort(pack_sink *sink, void *ctx, const char *kind, const char *message);

/* The value of "err" of an error record: {kind, stage, message}. */
int pack_error(struct buf *out, const char *kind, const char *stage, const char *message);

#endif
