/* buf.h - a growable run of bytes.
 *
 * Owns:    data, until buf_release(). A zero-initialised struct buf is empty and valid.
 * Errors:  -1 with err set (ERR_OS); the contents are then as before. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stddef.h>

struct buf {
    unsigned char *data;
    size_t len, cap;
};

void buf_init(struct buf *b);

/* Room for n more bytes after len. */
int buf_reserve(struct buf *b, size_t n);

int buf_append(struct buf *b, const void *p, size_t n);
int buf_puts(struct buf *b, const char *s);
int buf_putc(struct buf *b, int c);
int buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The bytes as a C string: terminated, not counted in len. NULL for lack of memory. */
const char *buf_str(struct buf *b);

void buf_clear(struct buf *b);   /* length 0, memory kept */
void buf_release(struct buf *b); /* memory returned */

#endif
