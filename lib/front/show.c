/* show.c - see show.h. */
#include "front/show.h"

#include "base/utf8.h"

#include <string.h>

/* One character of len bytes, or a byte that is none (len 0). */
static int show_char(struct buf *out, const char *s, size_t len)
{
    static const char named[] = "\n\t\r\"\\", names[] = "ntr\"\\";
    unsigned char c = (unsigned char)*s;
    const char *name = c ? strchr(named, *s) : NULL;
    if (name)
        return buf_printf(out, "\\%c", names[name - named]);
    bool c1 = len == 2 && c == 0xc2 && (unsigned char)s[1] < 0xa0; /* controls beyond ASCII */
    if (len == 0 || c < 0x20 || c == 0x7f)
        return buf_printf(out, "\\x%02x", c);
    return c1 ? buf_printf(out, "\\x%02x\\x%02x", c, (unsigned char)s[1])
              : buf_append(out, s, len);
}

int show_text(struct buf *out, const char *s, size_t n, int *width)
{
    int columns = 0;
    for (size_t i = 0; i < n;) {
        size_t len = utf8_char(s + i, n - i), begin = out->len;
        if (show_char(out, s + i, len) < 0)
            return -1;
        i += len ? len : 1;
        for (size_t k = begin; k < out->len; k++)
            columns += ((unsigned char)out->data[k] & 0xc0) != 0x80;
    }
    if (width)
        *width = columns;
    return 0;
}

int show_bytes(struct buf *out, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (buf_printf(out, "%s%02x", i ? " " : "", (unsigned char)s[i]) < 0)
            return -1;
    return 0;
}
