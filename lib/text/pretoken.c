/* pretoken.c - see pretoken.h. */
#include "text/pretoken.h"

#include "text/unicode.h"

#include <string.h>

static size_t contraction(const char *s, size_t n)
{
    static const char *const after[] = { "s", "t", "re", "ve", "m", "ll", "d" };
    for (size_t i = 0; i < sizeof after / sizeof *after; i++) {
        size_t len = strlen(after[i]);
        if (n > len && !memcmp(s + 1, after[i], len))
            return 1 + len;
    }
    return 0;
}

/* Bytes from s on that are of one class; *last: where the last character of them begins. */
static size_t run(size_t *last, const char *s, size_t n, enum unicode_class class)
{
    size_t end = 0, len;
    while (end < n && unicode_class(unicode_get(&len, s + end, n - end)) == class) {
        *last = end;
        end += len;
    }
    return end;
}

/* Blanks before a word leave their last one to it, unless it is the only one. */
static size_t blanks(const char *s, size_t n)
{
    size_t last = 0, end = run(&last, s, n, UNICODE_SPACE);
    return end == n || last == 0 ? end : last;
}

size_t pretoken_next(const char *s, size_t n)
{
    size_t len, skip = *s == ' ', last;
    if (*s == '\'' && (len = contraction(s, n)))
        return len;
    if (skip == n)
        return n;
    enum unicode_class class = unicode_class(unicode_get(&len, s + skip, n - skip));
    if (class == UNICODE_SPACE)
        return blanks(s, n);
    return skip + run(&last, s + skip, n - skip, class);
}
