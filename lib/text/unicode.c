/* unicode.c - see unicode.h. */
#include "text/unicode.h"

#include "base/utf8.h"

#include <utf8proc.h>

uint32_t unicode_get(size_t *len, const char *s, size_t n)
{
    const unsigned char *u = (const unsigned char *)s;
    *len = u[0] < 0x80 ? 1 : utf8_char(s, n);
    switch (*len) {
    case 1:
        return u[0];
    case 2:
        return (u[0] & 0x1fu) << 6 | (u[1] & 0x3fu);
    case 3:
        return (u[0] & 0x0fu) << 12 | (u[1] & 0x3fu) << 6 | (u[2] & 0x3fu);
    case 4:
        return (u[0] & 0x07u) << 18 | (u[1] & 0x3fu) << 12 | (u[2] & 0x3fu) << 6 |
               (u[3] & 0x3fu);
    default:
        *len = 1;
        return UNICODE_BAD;
    }
}

size_t unicode_put(char out[4], uint32_t cp)
{
    return (size_t)utf8proc_encode_char((utf8proc_int32_t)cp, (utf8proc_uint8_t *)out);
}

bool unicode_is_space(uint32_t cp)
{
    if (cp < 0x80)
        return cp == ' ' || (cp >= '\t' && cp <= '\r');
    return cp == 0x85 || cp == 0xa0 || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200a) ||
           cp == 0x2028 || cp == 0x2029 || cp == 0x202f || cp == 0x205f || cp == 0x3000;
}

static utf8proc_category_t category(uint32_t cp)
{
    return utf8proc_category((utf8proc_int32_t)cp);
}

/* Letters and numbers of Unicode 15.1 and 16, which the reference knows and Debian 12's
 * utf8proc does not: with them the split is the reference's for every code point. */
static enum unicode_class newer_class(uint32_t cp)
{
    static const struct {
        uint32_t from, to;
        enum unicode_class class;
    } newer[] = {
        { 0x1c89, 0x1c8a, UNICODE_LETTER },   { 0xa7cb, 0xa7cd, UNICODE_LETTER },
        { 0xa7da, 0xa7dc, UNICODE_LETTER },   { 0x105c0, 0x105f3, UNICODE_LETTER },
        { 0x10d40, 0x10d49, UNICODE_NUMBER }, { 0x10d4a, 0x10d65, UNICODE_LETTER },
        { 0x10d6f, 0x10d85, UNICODE_LETTER }, { 0x10ec2, 0x10ec4, UNICODE_LETTER },
        { 0x11380, 0x11389, UNICODE_LETTER }, { 0x1138b, 0x1138b, UNICODE_LETTER },
        { 0x1138e, 0x1138e, UNICODE_LETTER }, { 0x11390, 0x113b5, UNICODE_LETTER },
        { 0x113b7, 0x113b7, UNICODE_LETTER }, { 0x113d1, 0x113d1, UNICODE_LETTER },
        { 0x113d3, 0x113d3, UNICODE_LETTER }, { 0x116d0, 0x116e3, UNICODE_NUMBER },
        { 0x11bc0, 0x11be0, UNICODE_LETTER }, { 0x11bf0, 0x11bf9, UNICODE_NUMBER },
        { 0x13460, 0x143fa, UNICODE_LETTER }, { 0x16100, 0x1611d, UNICODE_LETTER },
        { 0x16130, 0x16139, UNICODE_NUMBER }, { 0x16d40, 0x16d6c, UNICODE_LETTER },
        { 0x16d70, 0x16d79, UNICODE_NUMBER }, { 0x18cff, 0x18cff, UNICODE_LETTER },
        { 0x1ccf0, 0x1ccf9, UNICODE_NUMBER }, { 0x1e5d0, 0x1e5ed, UNICODE_LETTER },
        { 0x1e5f0, 0x1e5f0, UNICODE_LETTER }, { 0x1e5f1, 0x1e5fa, UNICODE_NUMBER },
        { 0x2ebf0, 0x2ee5d, UNICODE_LETTER },
    };
    for (size_t i = 0; i < sizeof newer / sizeof *newer && cp >= newer[i].from; i++)
        if (cp <= newer[i].to)
            return newer[i].class;
    return UNICODE_OTHER;
}

enum unicode_class unicode_class(uint32_t cp)
{
    if (cp < 0x80 && ((cp | 0x20) >= 'a' && (cp | 0x20) <= 'z'))
        return UNICODE_LETTER;
    if (unicode_is_space(cp))
        return UNICODE_SPACE;
    utf8proc_category_t c = category(cp);
    if (c == UTF8PROC_CATEGORY_CN)
        return newer_class(cp);
    if (c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO)
        return UNICODE_LETTER;
    return c >= UTF8PROC_CATEGORY_ND && c <= UTF8PROC_CATEGORY_NO ? UNICODE_NUMBER
                                                                  : UNICODE_OTHER;
}

bool unicode_is_mark(uint32_t cp)
{
    return category(cp) == UTF8PROC_CATEGORY_MN;
}

bool unicode_is_control(uint32_t cp)
{
    utf8proc_category_t c = category(cp);
    return c >= UTF8PROC_CATEGORY_CC && c <= UTF8PROC_CATEGORY_CO;
}

bool unicode_is_punct(uint32_t cp)
{
    if (cp < 0x80)
        return (cp >= 33 && cp <= 47) || (cp >= 58 && cp <= 64) || (cp >= 91 && cp <= 96) ||
               (cp >= 123 && cp <= 126);
    utf8proc_category_t c = category(cp);
    return c >= UTF8PROC_CATEGORY_PC && c <= UTF8PROC_CATEGORY_PO;
}

bool unicode_is_ideograph(uint32_t cp)
{
    static const uint32_t block[][2] = {
        { 0x4e00, 0x9fff },   { 0x3400, 0x4dbf },   { 0x20000, 0x2a6df }, { 0x2a700, 0x2b73f },
        { 0x2b740, 0x2b81f }, { 0x2b920, 0x2ceaf }, { 0xf900, 0xfaff },   { 0x2f800, 0x2fa1f },
    };
    for (size_t i = 0; cp >= 0x3400 && i < sizeof block / sizeof *block; i++)
        if (cp >= block[i][0] && cp <= block[i][1])
            return true;
    return false;
}

uint32_t unicode_lower(uint32_t cp)
{
    if (cp < 0x80)
        return cp >= 'A' && cp <= 'Z' ? cp + 32 : cp;
    return (uint32_t)utf8proc_tolower((utf8proc_int32_t)cp);
}

size_t unicode_decompose(uint32_t out[UNICODE_DECOMPOSED], uint32_t cp)
{
    int boundary = 0;
    utf8proc_int32_t d[UNICODE_DECOMPOSED];
    utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)cp, d, UNICODE_DECOMPOSED,
                                                 UTF8PROC_DECOMPOSE, &boundary);
    if (n < 1 || n > UNICODE_DECOMPOSED) {
        out[0] = cp;
        return 1;
    }
    for (utf8proc_ssize_t i = 0; i < n; i++)
        out[i] = (uint32_t)d[i];
    return (size_t)n;
}

int unicode_combining(uint32_t cp)
{
    return cp < 0x300 ? 0 : utf8proc_get_property((utf8proc_int32_t)cp)->combining_class;
}
