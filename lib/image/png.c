/* png.c - PNG: our own walk over its chunks with their checksums, then stb_image. */
#include "base/err.h"
#include "base/math.h"
#include "image/codec.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define FIRST   8 /* offset of the first chunk */
#define PALETTE 768

struct png {
    size_t w, h;
    int depth, colour;
    size_t palette, palette_len; /* offset of PLTE's data, and its length */
    bool image, end;             /* IDAT and IEND seen */
};

static uint32_t be32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void crc_table(uint32_t table[256])
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++)
            c = c & 1 ? 0xedb88320 ^ c >> 1 : c >> 1;
        table[i] = c;
    }
}

static uint32_t crc(const uint32_t table[256], const unsigned char *p, size_t n)
{
    uint32_t c = 0xffffffff;
    for (size_t i = 0; i < n; i++)
        c = table[(c ^ p[i]) & 0xff] ^ c >> 8;
    return ~c;
}

/* Bits of a pixel, 0 for a combination that does not exist. */
static int pixel_bits(const struct png *g)
{
    static const int channels[7] = { 1, 0, 3, 1, 2, 0, 4 };
    int d = g->depth, c = g->colour;
    bool small = d == 1 || d == 2 || d == 4, wide = d == 16 && c != 3;
    if (c < 0 || c > 6 || !channels[c])
        return 0;
    return d == 8 || wide || (small && (c == 0 || c == 3)) ? d * channels[c] : 0;
}

static int read_header(struct png *g, const unsigned char *p, size_t len)
{
    if (len != 13)
        return err_set(ERR_DATA, "IHDR of %zu bytes, expected 13", len);
    g->w = be32(p);
    g->h = be32(p + 4);
    g->depth = p[8];
    g->colour = p[9];
    if (!pixel_bits(g))
        return err_set(ERR_DATA, "colour type %d with %d bits, which PNG does not have",
                       g->colour, g->depth);
    return 0;
}

static int take(struct png *g, struct image_source *src, const unsigned char *type, size_t len)
{
    const unsigned char *data = type + 4;
    if (!memcmp(type, "IHDR", 4))
        return g->w ? err_set(ERR_DATA, "a second IHDR") : read_header(g, data, len);
    if (!memcmp(type, "PLTE", 4)) {
        if (len == 0 || len > PALETTE || len % 3)
            return err_set(ERR_DATA, "PLTE of %zu bytes, expected 1 to 256 colours", len);
        g->palette = (size_t)(data - src->p);
        g->palette_len = len;
    }
    if (!memcmp(type, "eXIf", 4))
        src->orientation = image_exif_orientation(data, len);
    g->image |= !memcmp(type, "IDAT", 4);
    g->end |= !memcmp(type, "IEND", 4);
    return 0;
}

static bool is_letter(unsigned char c)
{
    return (c | 32) >= 'a' && (c | 32) <= 'z';
}

/* One chunk is there, as long as it says and with the right checksum; gives its data's length.
 */
static int check_chunk(size_t *len, const struct image_source *src, size_t at,
                       const uint32_t *table)
{
    const unsigned char *p = src->p + at, *type = p + 4;
    size_t left = src->n - at;
    if (left < 12)
        return err_set(ERR_DATA, "truncated: no IEND");
    for (int i = 0; i < 4; i++)
        if (!is_letter(type[i]))
            return err_set(ERR_DATA, "damaged: no chunk at offset %zu", at);
    *len = be32(p);
    if (*len > left - 12)
        return err_set(ERR_DATA, "truncated: chunk %.4s at offset %zu: %zu bytes, %zu left",
                       type, at, *len, left - 12);
    if (crc(table, type, *len + 4) != be32(type + 4 + *len))
        return err_set(ERR_DATA, "damaged: wrong checksum of chunk %.4s at offset %zu", type,
                       at);
    if (at == FIRST && !memcmp(type, "CgBI", 4))
        return err_set(ERR_DATA, "Apple's CgBI variant, not read here");
    if (at == FIRST && memcmp(type, "IHDR", 4))
        return err_set(ERR_DATA, "does not begin with IHDR");
    return 0;
}

/* stb ignores checksums and the end: one flipped byte in three would give wrong pixels. */
static int walk(struct png *g, struct image_source *src)
{
    uint32_t table[256];
    crc_table(table);
    size_t len = 0;
    for (size_t at = FIRST; !g->end; at += len + 12)
        if (check_chunk(&len, src, at, table) < 0 || take(g, src, src->p + at + 4, len) < 0)
            return -1;
    return g->image ? 0 : err_set(ERR_DATA, "no IDAT");
}

/* The most that stb needs in one piece: the image as filtered bytes (interlaced passes take a
 * little more, and it doubles), as pixels of 4 channels, or all its IDATs. */
static size_t memory_bound(const struct png *g, size_t n)
{
    size_t row = (g->w * (size_t)pixel_bits(g) + 7) / 8 + 1;
    return 2 * (row * g->h) + 8 * g->w * g->h + 2 * n + (1 << 16);
}

/* A palette shorter than the indices could ask for is filled up with black: stb would read what
 * was on its stack. */
static unsigned char *pad_palette(size_t *n, const struct png *g,
                                  const struct image_source *src)
{
    size_t after = g->palette + g->palette_len;
    unsigned char *p = calloc(1, src->n + PALETTE);
    if (!p)
        return err_null(ERR_OS, "out of memory for an image of %zu bytes", src->n);
    memcpy(p, src->p, after);
    memcpy(p + g->palette - 8, "\0\0\3\0", 4);
    memcpy(p + g->palette + PALETTE, src->p + after, src->n - after);
    *n = src->n + PALETTE - g->palette_len;
    return p;
}

static int decode(struct image *out, const struct image_source *src, const struct png *g,
                  const unsigned char *p, size_t n)
{
    bool blend = src->lim->alpha != IMAGE_ALPHA_DROP;
    const char *why;
    int w, h;
    unsigned char *px = image_stb_png(&w, &h, p, n, blend ? 4 : 3, memory_bound(g, n), &why);
    if (!px)
        return err_set(ERR_DATA, "damaged (%s)", why ? why : "no memory");
    if (blend) {
        image_blend(out->rgb, px, (size_t)w * (size_t)h, src->lim->alpha);
    } else {
        free(out->rgb);
        out->rgb = px;
        return 0;
    }
    free(px);
    return 0;
}

int image_png(struct image *out, struct image_source *src)
{
    struct png g = { 0 };
    if (src->n > INT_MAX - PALETTE)
        return err_set(ERR_DATA, "%zu bytes, more than can be read", src->n);
    if (walk(&g, src) < 0 || image_begin(out, (int64_t)g.w, (int64_t)g.h, src->lim) < 0)
        return -1;
    if (g.colour != 3 || !g.palette || g.palette_len >= (size_t)3 << g.depth)
        return decode(out, src, &g, src->p, src->n);
    size_t n = 0;
    unsigned char *p = pad_palette(&n, &g, src);
    int rc = p ? decode(out, src, &g, p, n) : -1;
    free(p);
    return rc;
}
