/* decode.c - see decode.h. */
#include "text/decode.h"

#include "base/utf8.h"
#include "text/unicode.h"

static bool stands_for_itself(uint32_t byte)
{
    return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) ||
           (byte >= 174 && byte <= 255);
}

/* The 68 others in ascending order: 0-32, 127-160, 173. */
uint32_t decode_char_of_byte(unsigned char byte)
{
    if (stands_for_itself(byte))
        return byte;
    return 256 + (byte <= 32 ? byte : byte <= 160 ? byte - 127u + 33 : 67);
}

int decode_byte_of_char(uint32_t cp)
{
    if (cp < 256)
        return stands_for_itself(cp) ? (int)cp : -1;
    uint32_t k = cp - 256;
    if (k > 67)
        return -1;
    return (int)(k <= 32 ? k : k <= 66 ? k - 33 + 127 : 173);
}

int decode_token(struct buf *out, const char *s, size_t n)
{
    size_t begin = out->len, len;
    for (size_t i = 0; i < n; i += len) {
        int byte = decode_byte_of_char(unicode_get(&len, s + i, n - i));
        if (byte < 0) {
            out->len = begin;
            return buf_append(out, s, n);
        }
        if (buf_putc(out, byte) < 0)
            return -1;
    }
    return 0;
}

/* How many bytes one U+FFFD replaces: of "F0 9F 98 41", three. s begins no whole character. */
static size_t broken(const char *s, size_t n)
{
    static const char *const fill[] = { "\x80\x80\x80", "\xa0\x80\x80", "\x90\x80\x80" };
    for (size_t have = n < 3 ? n : 3; have > 1; have--)
        for (size_t i = 0; i < 3; i++) {
            char whole[4] = { 0 };
            for (size_t k = 0; k < 4; k++)
                whole[k] = k < have ? s[k] : fill[i][k - 1];
            if (utf8_char(whole, 4) > have)
                return have;
        }
    return 1;
}

int decode_lossy(struct buf *out, const char *s, size_t n)
{
    size_t good = 0;
    while (good < n) {
        size_t end = good, len = 1;
        while (end < n && (len = utf8_char(s + end, n - end)))
            end += len;
        if (buf_append(out, s + good, end - good) < 0)
            return -1;
        good = end;
        if (end < n) {
            if (buf_append(out, "\xef\xbf\xbd", 3) < 0)
                return -1;
            good += broken(s + end, n - end);
        }
    }
    return 0;
}

/* Python counts four separators of ASCII among its blanks. */
static bool is_blank(uint32_t cp)
{
    return unicode_is_space(cp) || (cp >= 0x1c && cp <= 0x1f);
}

void decode_strip(const char **s, size_t *n)
{
    size_t len, keep = 0;
    while (*n && is_blank(unicode_get(&len, *s, *n))) {
        *s += len;
        *n -= len;
    }
    for (size_t i = 0; i < *n; i += len)
        if (!is_blank(unicode_get(&len, *s + i, *n - i)))
            keep = i + len;
    *n = keep;
}
