/* unpack.c - a bounded msgpack reader: see unpack.h. Format: the msgpack specification. */
#include "wire/unpack.h"

#include "base/err.h"
#include "base/math.h"

#include <string.h>

/* What a first byte announces: `size` bytes of number or length follow it. */
struct head {
    enum unpack_type type;
    int size;      /* 0: the value or count is in the first byte */
    uint64_t tiny; /* that value or count */
    bool is_signed;
};

static bool head_fixed(struct head *h, unsigned char c)
{
    if (c < 0x80)
        *h = (struct head){ UNPACK_INT, 0, c, false };
    else if (c < 0x90)
        *h = (struct head){ UNPACK_MAP, 0, c & 15, false };
    else if (c < 0xa0)
        *h = (struct head){ UNPACK_ARRAY, 0, c & 15, false };
    else if (c < 0xc0)
        *h = (struct head){ UNPACK_STR, 0, c & 31, false };
    else if (c >= 0xe0)
        *h = (struct head){ UNPACK_INT, 0, (uint64_t)(int64_t)(int8_t)c, true };
    else
        return false;
    return true;
}

/* First bytes c0..df; size -1: not allowed (c1 is reserved, the ext types are nobody's here).
 */
static const struct head heads[32] = {
    [0x00] = { UNPACK_NIL, 0, 0, 0 },   [0x01] = { UNPACK_NIL, -1, 0, 0 },
    [0x02] = { UNPACK_BOOL, 0, 0, 0 },  [0x03] = { UNPACK_BOOL, 0, 1, 0 },
    [0x04] = { UNPACK_BIN, 1, 0, 0 },   [0x05] = { UNPACK_BIN, 2, 0, 0 },
    [0x06] = { UNPACK_BIN, 4, 0, 0 },   [0x07] = { UNPACK_NIL, -1, 0, 0 },
    [0x08] = { UNPACK_NIL, -1, 0, 0 },  [0x09] = { UNPACK_NIL, -1, 0, 0 },
    [0x0a] = { UNPACK_FLOAT, 4, 0, 0 }, [0x0b] = { UNPACK_FLOAT, 8, 0, 0 },
    [0x0c] = { UNPACK_INT, 1, 0, 0 },   [0x0d] = { UNPACK_INT, 2, 0, 0 },
    [0x0e] = { UNPACK_INT, 4, 0, 0 },   [0x0f] = { UNPACK_INT, 8, 0, 0 },
    [0x10] = { UNPACK_INT, 1, 0, 1 },   [0x11] = { UNPACK_INT, 2, 0, 1 },
    [0x12] = { UNPACK_INT, 4, 0, 1 },   [0x13] = { UNPACK_INT, 8, 0, 1 },
    [0x14] = { UNPACK_NIL, -1, 0, 0 },  [0x15] = { UNPACK_NIL, -1, 0, 0 },
    [0x16] = { UNPACK_NIL, -1, 0, 0 },  [0x17] = { UNPACK_NIL, -1, 0, 0 },
    [0x18] = { UNPACK_NIL, -1, 0, 0 },  [0x19] = { UNPACK_STR, 1, 0, 0 },
    [0x1a] = { UNPACK_STR, 2, 0, 0 },   [0x1b] = { UNPACK_STR, 4, 0, 0 },
    [0x1c] = { UNPACK_ARRAY, 2, 0, 0 }, [0x1d] = { UNPACK_ARRAY, 4, 0, 0 },
    [0x1e] = { UNPACK_MAP, 2, 0, 0 },   [0x1f] = { UNPACK_MAP, 4, 0, 0 },
};

static struct head head_of(unsigned char c)
{
    struct head h;
    return head_fixed(&h, c) ? h : heads[c - 0xc0];
}

static uint64_t big_endian(const unsigned char *p, int size)
{
    uint64_t v = 0;
    for (int i = 0; i < size; i++)
        v = v << 8 | p[i];
    return v;
}

static int64_t sign_extend(uint64_t v, int size)
{
    int shift = 64 - 8 * size;
    return (int64_t)(v << shift) >> shift;
}

static double to_float(uint64_t bits, int size)
{
    if (size == 4) {
        uint32_t u = (uint32_t)bits;
        float f;
        memcpy(&f, &u, sizeof f);
        return (double)f;
    }
    double d;
    memcpy(&d, &bits, sizeof d);
    return d;
}

static size_t count_of(const struct head *h, const unsigned char *after)
{
    return (size_t)(h->size ? big_endian(after, h->size) : h->tiny);
}

/* The walk: one call of step() consumes one head (and the bytes of a str or bin). */
struct walk {
    const unsigned char **base;
    size_t *have;
    size_t max, at;
    uint64_t left[UNPACK_DEPTH + 1]; /* values still to come at each level */
    int depth;
    unpack_more *more;
    void *ctx;
};

static int need(struct walk *w, size_t n)
{
    size_t end;
    if (!math_add(&end, w->at, n) || end > w->max)
        return err_set(ERR_DATA, "record larger than %zu bytes, the limit", w->max);
    if (end <= *w->have)
        return 1;
    int got = w->more(w->ctx, end);
    if (got == 0 && w->at > 0)
        return err_set(ERR_DATA, "truncated: the stream ends inside a record");
    return got;
}

static int enter(struct walk *w, const struct head *h, uint64_t n)
{
    if (n > UNPACK_ELEMENTS)
        return err_set(ERR_DATA, "a map or array claims %llu elements, at most %d allowed",
                       (unsigned long long)n, UNPACK_ELEMENTS);
    if (n == 0)
        return 1;
    if (w->depth == UNPACK_DEPTH)
        return err_set(ERR_DATA, "maps and arrays nested deeper than %d", UNPACK_DEPTH);
    w->left[++w->depth] = h->type == UNPACK_MAP ? 2 * n : n;
    return 1;
}

static int step(struct walk *w)
{
    int got = need(w, 1);
    if (got <= 0)
        return got;
    unsigned char c = (*w->base)[w->at];
    struct head h = head_of(c);
    if (h.size < 0)
        return err_set(ERR_DATA, "malformed: byte 0x%02x at offset %zu of a record", c, w->at);
    if ((got = need(w, 1 + (size_t)h.size)) <= 0)
        return got;
    uint64_t v = count_of(&h, *w->base + w->at + 1);
    w->at += 1 + (size_t)h.size;
    w->left[w->depth]--;
    if (h.type == UNPACK_INT && h.size == 8 && !h.is_signed && v > INT64_MAX)
        return err_set(ERR_DATA, "integer %llu is too large", (unsigned long long)v);
    if (h.type == UNPACK_ARRAY || h.type == UNPACK_MAP)
        return enter(w, &h, v);
    if (h.type != UNPACK_STR && h.type != UNPACK_BIN)
        return 1;
    if ((got = need(w, (size_t)v)) > 0)
        w->at += (size_t)v;
    return got;
}

int unpack_scan(size_t *len, const unsigned char **base, size_t *have, size_t max,
                unpack_more *more, void *ctx)
{
    struct walk w = { .base = base, .have = have, .max = max, .more = more, .ctx = ctx };
    w.left[0] = 1;
    for (;;) {
        int got = step(&w);
        if (got <= 0)
            return got;
        while (w.depth && w.left[w.depth] == 0)
            w.depth--;
        if (w.depth == 0 && w.left[0] == 0)
            break;
    }
    *len = w.at;
    return 1;
}

struct unpack_token unpack_next(struct unpack *u)
{
    struct head h = head_of(*u->p++);
    struct unpack_token t = { .type = h.type, .b = h.tiny != 0 };
    uint64_t v = h.size ? big_endian(u->p, h.size) : h.tiny;
    u->p += h.size;
    t.n = (size_t)v;
    if (h.type == UNPACK_INT)
        t.i = h.size && h.is_signed ? sign_extend(v, h.size) : (int64_t)v;
    else if (h.type == UNPACK_FLOAT)
        t.f = to_float(v, h.size);
    else if (h.type == UNPACK_STR || h.type == UNPACK_BIN) {
        t.p = u->p;
        u->p += t.n;
    }
    return t;
}

void unpack_skip(struct unpack *u)
{
    for (uint64_t left = 1; left; left--) {
        struct unpack_token t = unpack_next(u);
        if (t.type == UNPACK_ARRAY)
            left += t.n;
        else if (t.type == UNPACK_MAP)
            left += 2 * (uint64_t)t.n;
    }
}
