/* utf8.c - see utf8.h. */
#include "base/utf8.h"

static bool tail(unsigned char c)
{
    return (c & 0xc0) == 0x80;
}

size_t utf8_char(const char *s, size_t n)
{
    const unsigned char *u = (const unsigned char *)s;
    if (u[0] < 0x80)
        return 1;
    if (u[0] < 0xc2 || n < 2 || !tail(u[1]))
        return 0;
    if (u[0] < 0xe0)
        return 2;
    if (n < 3 || !tail(u[2]))
        return 0;
    if (u[0] < 0xf0)
        return (u[0] == 0xe0 && u[1] < 0xa0) || (u[0] == 0xed && u[1] > 0x9f) ? 0 : 3;
    if (n < 4 || !tail(u[3]) || u[0] > 0xf4)
        return 0;
    return (u[0] == 0xf0 && u[1] < 0x90) || (u[0] == 0xf4 && u[1] > 0x8f) ? 0 : 4;
}

bool utf8_valid(const char *s, size_t n)
{
    for (size_t i = 0, step; i < n; i += step)
        if (!(step = utf8_char(s + i, n - i)))
            return false;
    return true;
}
