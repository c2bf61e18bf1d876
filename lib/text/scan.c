/* scan.c - see scan.h. */
#include "text/scan.h"

#include "base/err.h"
#include "base/utf8.h"
#include "text/unicode.h"

#include <string.h>

struct scan scan_of(const void *text, size_t n)
{
    return (struct scan){ text, text, (const char *)text + n };
}

int scan_fail(const struct scan *s, const char *expected)
{
    return err_set(ERR_DATA, "byte %zu: expected %s", (size_t)(s->p - s->begin), expected);
}

bool scan_sees(struct scan *s, char c)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\n' || *s->p == '\r' || *s->p == '\t'))
        s->p++;
    return s->p < s->end && *s->p == c;
}

bool scan_take(struct scan *s, char c)
{
    bool is = scan_sees(s, c);
    s->p += is;
    return is;
}

int scan_more(struct scan *s, char close)
{
    if (scan_take(s, ','))
        return 1;
    return scan_take(s, close) ? 0 : scan_fail(s, close == '}' ? "',' or '}'" : "',' or ']'");
}

/* ---- strings ---- */

static int hex4(uint32_t *v, struct scan *s)
{
    *v = 0;
    for (int i = 0; i < 4; i++, s->p++) {
        static const char digits[] = "0123456789abcdef0123456789ABCDEF";
        const char *d = s->p < s->end && *s->p ? strchr(digits, *s->p) : NULL;
        if (!d)
            return scan_fail(s, "four hexadecimal digits");
        *v = *v << 4 | ((uint32_t)(d - digits) & 15);
    }
    return 0;
}

/* After "\u": one code point, of one escape or of a surrogate pair. */
static int escaped_char(struct buf *out, struct scan *s)
{
    uint32_t cp, low;
    char utf8[4];
    if (hex4(&cp, s) < 0)
        return -1;
    if (cp >= 0xd800 && cp < 0xdc00 && s->end - s->p > 2 && s->p[0] == '\\' && s->p[1] == 'u') {
        s->p += 2;
        if (hex4(&low, s) < 0)
            return -1;
        cp = low >= 0xdc00 && low < 0xe000 ? 0x10000 + ((cp - 0xd800) << 10) + (low - 0xdc00)
                                           : 0xd800;
    }
    if (cp >= 0xd800 && cp < 0xe000)
        return scan_fail(s, "a pair of surrogates");
    return buf_append(out, utf8, unicode_put(utf8, cp));
}

static int escape(struct buf *out, struct scan *s)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    char c = s->p < s->end ? *s->p : '\0';
    const char *name = c ? strchr(names, c) : NULL;
    if (!name && c != 'u')
        return scan_fail(s, "an escape of JSON");
    s->p++;
    return c == 'u' ? escaped_char(out, s) : buf_putc(out, values[name - names]);
}

/* The bytes up to the next quote, backslash or control character. */
static size_t plain(const struct scan *s)
{
    const char *p = s->p;
    while (p < s->end && *p != '"' && *p != '\\' && (unsigned char)*p >= 0x20)
        p++;
    return (size_t)(p - s->p);
}

int scan_str(struct buf *out, struct scan *s)
{
    size_t begin = out->len;
    if (!scan_take(s, '"'))
        return scan_fail(s, "a string");
    for (;;) {
        size_t n = plain(s);
        if (buf_append(out, s->p, n) < 0)
            return -1;
        s->p += n;
        if (s->p == s->end || (*s->p != '"' && *s->p != '\\'))
            return scan_fail(s, "the end of a string");
        if (*s->p++ == '"')
            break;
        if (escape(out, s) < 0)
            return -1;
    }
    return utf8_valid((const char *)out->data + begin, out->len - begin)
               ? 0
               : scan_fail(s, "UTF-8 in a string");
}

/* ---- other values ---- */

int scan_int(int64_t *v, struct scan *s)
{
    bool negative = scan_take(s, '-');
    const char *first = s->p;
    for (*v = 0; s->p < s->end && *s->p >= '0' && *s->p <= '9' && s->p - first < 18; s->p++)
        *v = *v * 10 + (*s->p - '0');
    if (s->p == first || (s->p < s->end && strchr("0123456789.eE", *s->p) && *s->p))
        return scan_fail(s, "an integer");
    *v = negative ? -*v : *v;
    return 0;
}

static void skip_string(struct scan *s)
{
    while (s->p < s->end && *s->p != '"')
        s->p += 1 + (*s->p == '\\' && s->end - s->p > 1);
    s->p += s->p < s->end;
}

int scan_skip(struct scan *s)
{
    scan_sees(s, ' ');
    const char *first = s->p;
    for (size_t depth = 0; s->p < s->end; s->p++) {
        char c = *s->p;
        if (c == '"') {
            s->p++;
            skip_string(s);
            s->p--;
        }
        bool closes = c == ']' || c == '}', opens = c == '[' || c == '{';
        if (depth == 0 && (closes || c == ','))
            break;
        depth += opens;
        depth -= closes;
    }
    return s->p > first && s->p < s->end ? 0 : scan_fail(s, "a value and what follows it");
}

int scan_find(struct scan *value, struct scan s, const char *key)
{
    struct buf name = { 0 };
    int rc = scan_take(&s, '{') ? 1 : scan_fail(&s, "an object");
    if (rc > 0 && scan_take(&s, '}'))
        rc = 0;
    while (rc > 0) {
        buf_clear(&name);
        if (scan_str(&name, &s) < 0 || !buf_str(&name))
            rc = -1;
        else if (!scan_take(&s, ':'))
            rc = scan_fail(&s, "':'");
        else if (!strcmp((char *)name.data, key))
            break;
        else
            rc = scan_skip(&s) < 0 ? -1 : scan_more(&s, '}');
    }
    buf_release(&name);
    *value = s;
    return rc;
}
