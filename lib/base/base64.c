/* base64.c - see base64.h. */
#include "base/base64.h"

int base64_append(struct buf *out, const void *p, size_t n)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                  "0123456789+/";
    const unsigned char *b = p;
    if (buf_reserve(out, (n / 3 + 1) * 4) < 0)
        return -1;
    for (size_t i = 0; i < n; i += 3) {
        unsigned v = (unsigned)b[i] << 16 | (i + 1 < n ? (unsigned)b[i + 1] << 8 : 0) |
                     (i + 2 < n ? b[i + 2] : 0u);
        unsigned char *to = out->data + out->len;
        to[0] = (unsigned char)letters[v >> 18];
        to[1] = (unsigned char)letters[v >> 12 & 63];
        to[2] = i + 1 < n ? (unsigned char)letters[v >> 6 & 63] : '=';
        to[3] = i + 2 < n ? (unsigned char)letters[v & 63] : '=';
        out->len += 4;
    }
    return 0;
}
