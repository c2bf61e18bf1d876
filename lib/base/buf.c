/* buf.c - growable bytes: see buf.h. */
#include "base/buf.h"

#include "base/err.h"
#include "base/math.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buf_init(struct buf *b)
{
    *b = (struct buf){ 0 };
}

int buf_reserve(struct buf *b, size_t n)
{
    size_t need;
    if (!math_add(&need, b->len, n))
        return err_set(ERR_OS, "buffer of %zu + %zu bytes overflows", b->len, n);
    if (need <= b->cap)
        return 0;
    size_t cap = b->cap < 256 ? 256 : b->cap;
    while (cap < need)
        if (!math_mul(&cap, cap, 2))
            cap = need;
    unsigned char *p = realloc(b->data, cap);
    if (!p)
        return err_set(ERR_OS, "out of memory growing a buffer to %zu bytes", cap);
    b->data = p;
    b->cap = cap;
    return 0;
}

int buf_append(struct buf *b, const void *p, size_t n)
{
    if (buf_reserve(b, n) < 0)
        return -1;
    if (n)
        memcpy(b->data + b->len, p, n);
    b->len += n;
    return 0;
}

int buf_puts(struct buf *b, const char *s)
{
    return buf_append(b, s, strlen(s));
}

int buf_putc(struct buf *b, int c)
{
    unsigned char byte = (unsigned char)c;
    return buf_append(b, &byte, 1);
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    int rc = n < 0 ? err_set(ERR_BUG, "bad format") : buf_reserve(b, (size_t)n + 1);
    if (rc == 0) {
        vsnprintf((char *)b->data + b->len, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
    return rc;
}

const char *buf_str(struct buf *b)
{
    if (buf_reserve(b, 1) < 0)
        return NULL;
    b->data[b->len] = '\0';
    return (const char *)b->data;
}

void buf_clear(struct buf *b)
{
    b->len = 0;
}

void buf_release(struct buf *b)
{
    free(b->data);
    buf_init(b);
}
