/* bmp.c - uncompressed Windows and OS/2 bitmaps. Ours, because the checks that stb_image lacks
 * here (the end of the file, palette indices) are most of a decoder. */
#include "base/err.h"
#include "image/codec.h"

#include <stdlib.h>
#include <string.h>

#define FILE_HEADER 14

enum { BI_RGB = 0, BI_RLE8 = 1, BI_RLE4 = 2, BI_BITFIELDS = 3, BI_ALPHABITFIELDS = 6 };

struct bmp {
    const unsigned char *p;
    size_t n, header; /* of the file; bytes of the second header */
    int64_t w, h;     /* h < 0: rows from the top */
    unsigned bits, compression;
    size_t pixels, stride; /* offset of the first stored row, bytes from row to row */
    uint32_t mask[4];      /* red, green, blue, alpha */
    unsigned char palette[256 * 4];
};

static uint32_t le(const unsigned char *p, int bytes)
{
    uint32_t v = 0;
    while (bytes-- > 0)
        v = v << 8 | p[bytes];
    return v;
}

static int read_header(struct bmp *b)
{
    const unsigned char *p = b->p + FILE_HEADER;
    b->header = le(p, 4);
    b->pixels = le(b->p + 10, 4);
    if (b->header > b->n - FILE_HEADER)
        return err_set(ERR_DATA, "truncated: ends in its header");
    if (b->header == 12) { /* OS/2 1.x */
        b->w = le(p + 4, 2);
        b->h = le(p + 6, 2);
        b->bits = le(p + 10, 2);
        return 0;
    }
    if (b->header < 40)
        return err_set(ERR_DATA, "header of %zu bytes, which is not known", b->header);
    b->w = (int32_t)le(p + 4, 4);
    b->h = (int32_t)le(p + 8, 4);
    b->bits = le(p + 14, 2);
    b->compression = le(p + 16, 4);
    return 0;
}

/* Channels of 16 and 32 bit pixels: given, or the usual ones. */
static int read_masks(struct bmp *b)
{
    static const uint32_t usual[2][3] = { { 0x7c00, 0x3e0, 0x1f }, { 0xff0000, 0xff00, 0xff } };
    bool given = b->compression != BI_RGB;
    int count = b->compression == BI_ALPHABITFIELDS || b->header >= 56 ? 4 : 3;
    size_t at = FILE_HEADER + 40; /* inside a longer header, or behind the short one */
    if (!given) {
        memcpy(b->mask, usual[b->bits == 32], sizeof usual[0]);
        return 0;
    }
    if (b->n < at + 16)
        return err_set(ERR_DATA, "truncated: ends in its masks");
    for (int i = 0; i < count; i++)
        b->mask[i] = le(b->p + at + (size_t)i * 4, 4);
    return 0;
}

static void read_palette(struct bmp *b)
{
    size_t entry = b->header == 12 ? 3 : 4, at = FILE_HEADER + b->header;
    for (size_t i = 0; i < (size_t)1 << b->bits; i++, at += entry) {
        unsigned char *to = b->palette + 4 * i;
        to[3] = 255;
        if (at + entry > b->pixels)
            continue; /* not there: black */
        to[0] = b->p[at + 2];
        to[1] = b->p[at + 1];
        to[2] = b->p[at];
    }
}

static int check(struct bmp *b)
{
    bool masks = b->bits == 16 || b->bits == 32;
    if (b->compression == BI_RLE8 || b->compression == BI_RLE4)
        return err_set(ERR_DATA, "run-length encoded, not read here; convert it first, as in: "
                                 "magick FILE png:- | img-encode -");
    if (b->compression != BI_RGB &&
        !(masks && (b->compression == BI_BITFIELDS || b->compression == BI_ALPHABITFIELDS)))
        return err_set(ERR_DATA, "compression %u with %u bits, not read here", b->compression,
                       b->bits);
    if (!masks && b->bits != 1 && b->bits != 4 && b->bits != 8 && b->bits != 24)
        return err_set(ERR_DATA, "%u bits a pixel, which BMP does not have", b->bits);
    return 0;
}

/* All rows are there. */
static int check_size(struct bmp *b, size_t rows)
{
    b->stride = ((size_t)b->w * b->bits + 31) / 32 * 4;
    size_t need = b->stride * rows;
    if (b->pixels < FILE_HEADER + b->header || b->pixels > b->n)
        return err_set(ERR_DATA, "pixels at offset %zu of %zu bytes", b->pixels, b->n);
    if (need > b->n - b->pixels)
        return err_set(ERR_DATA, "truncated: %zu bytes of pixels, expected %zu",
                       b->n - b->pixels, need);
    return 0;
}

/* The field of v under mask as 0 to 255; Pillow's rounding. */
static unsigned char field(uint32_t v, uint32_t mask)
{
    if (!mask)
        return 0;
    int shift = __builtin_ctz(mask);
    uint64_t most = mask >> shift;
    return (unsigned char)((uint64_t)((v & mask) >> shift) * 255 / most);
}

static void masked_row(unsigned char *rgb, const struct bmp *b, const unsigned char *row,
                       enum image_alpha alpha)
{
    int bytes = (int)b->bits / 8;
    for (int64_t x = 0; x < b->w; x++, rgb += 3) {
        uint32_t v = le(row + x * bytes, bytes);
        unsigned char px[4] = { field(v, b->mask[0]), field(v, b->mask[1]),
                                field(v, b->mask[2]), b->mask[3] ? field(v, b->mask[3]) : 255 };
        image_blend(rgb, px, 1, alpha);
    }
}

static void indexed_row(unsigned char *rgb, const struct bmp *b, const unsigned char *row)
{
    unsigned per = 8 / b->bits, mask = (1u << b->bits) - 1;
    for (int64_t x = 0; x < b->w; x++, rgb += 3) {
        unsigned shift = (per - 1 - (unsigned)(x % per)) * b->bits;
        unsigned i = row[x / per] >> shift & mask;
        memcpy(rgb, b->palette + 4 * i, 3);
    }
}

static void bgr_row(unsigned char *rgb, const struct bmp *b, const unsigned char *row)
{
    for (int64_t x = 0; x < b->w; x++, rgb += 3, row += 3) {
        rgb[0] = row[2];
        rgb[1] = row[1];
        rgb[2] = row[0];
    }
}

static void read_rows(struct image *out, const struct bmp *b, enum image_alpha alpha)
{
    for (int y = 0; y < out->h; y++) {
        int stored = b->h < 0 ? y : out->h - 1 - y;
        const unsigned char *row = b->p + b->pixels + b->stride * (size_t)stored;
        unsigned char *rgb = out->rgb + (size_t)y * (size_t)out->w * 3;
        if (b->bits <= 8)
            indexed_row(rgb, b, row);
        else if (b->bits == 24)
            bgr_row(rgb, b, row);
        else
            masked_row(rgb, b, row, alpha);
    }
}

int image_bmp(struct image *out, struct image_source *src)
{
    struct bmp b = { .p = src->p, .n = src->n };
    if (read_header(&b) < 0 || check(&b) < 0 ||
        image_begin(out, b.w, b.h < 0 ? -b.h : b.h, src->lim) < 0 ||
        check_size(&b, (size_t)out->h) < 0 || read_masks(&b) < 0)
        return -1;
    if (b.bits <= 8)
        read_palette(&b);
    read_rows(out, &b, src->lim->alpha);
    return 0;
}
