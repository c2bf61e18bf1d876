/* base64.h - bytes as letters (RFC 4648, section 4), for what takes only text. */
#ifndef BASE_BASE64_H
#define BASE_BASE64_H

#include "base/buf.h"

/* Appends the n bytes at p, padded with '='. -1 with err set (ERR_OS). */
int base64_append(struct buf *out, const void *p, size_t n);

#endif
