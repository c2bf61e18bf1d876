/* gif.c - the first frame of a GIF. Ours: stb_image neither notices a frame that ends early nor
 * keeps the colours under transparent pixels, as Pillow does. */
#include "base/err.h"
#include "image/codec.h"

#include <stdlib.h>
#include <string.h>

#define HEADER    13
#define CODES     4096
#define NO_COLOUR (-1)

struct gif {
    const unsigned char *p;
    size_t n, at;
    int w, h;           /* of the screen, grown to hold the frame */
    int fx, fy, fw, fh; /* the frame */
    bool interlaced;
    int transparent; /* index, or NO_COLOUR */
    unsigned char palette[256 * 4];
    unsigned char *index; /* w * h */
};

static int le16(const unsigned char *p)
{
    return p[0] | p[1] << 8;
}

static int truncated(const char *where)
{
    return err_set(ERR_DATA, "truncated: ends in %s", where);
}

static int read_palette(struct gif *g, int flags)
{
    size_t count = (size_t)2 << (flags & 7);
    if (g->n - g->at < 3 * count)
        return truncated("its palette");
    memset(g->palette, 0, sizeof g->palette);
    for (size_t i = 0; i < 256; i++) {
        if (i < count)
            memcpy(g->palette + 4 * i, g->p + g->at + 3 * i, 3);
        g->palette[4 * i + 3] = 255;
    }
    g->at += 3 * count;
    return 0;
}

static int read_screen(struct gif *g)
{
    if (g->n < HEADER)
        return truncated("its header");
    g->w = le16(g->p + 6);
    g->h = le16(g->p + 8);
    g->at = HEADER;
    for (int i = 0; i < 256; i++) { /* without any palette an index is a grey level */
        memset(g->palette + 4 * i, i, 3);
        g->palette[4 * i + 3] = 255;
    }
    return g->p[10] & 0x80 ? read_palette(g, g->p[10]) : 0;
}

static int skip_blocks(struct gif *g)
{
    while (g->at < g->n && g->p[g->at])
        g->at += (size_t)g->p[g->at] + 1;
    if (g->at >= g->n)
        return truncated("an extension");
    g->at++;
    return 0;
}

static int read_extension(struct gif *g)
{
    if (g->n - g->at < 8)
        return truncated("an extension");
    const unsigned char *p = g->p + g->at;
    if (p[1] == 0xf9 && p[2] == 4) /* graphic control */
        g->transparent = p[3] & 1 ? p[6] : NO_COLOUR;
    g->at += 2;
    return skip_blocks(g);
}

static int read_descriptor(struct gif *g)
{
    if (g->n - g->at < 11)
        return truncated("a frame's header");
    const unsigned char *p = g->p + g->at + 1;
    g->fx = le16(p);
    g->fy = le16(p + 2);
    g->fw = le16(p + 4);
    g->fh = le16(p + 6);
    g->interlaced = p[8] & 0x40;
    g->at += 10;
    if (p[8] & 0x80 && read_palette(g, p[8]) < 0)
        return -1;
    g->w = g->fx + g->fw > g->w ? g->fx + g->fw : g->w;
    g->h = g->fy + g->fh > g->h ? g->fy + g->fh : g->h;
    return 0;
}

static int find_frame(struct gif *g)
{
    for (;;) {
        int block = g->at < g->n ? g->p[g->at] : -1;
        if (block == ',')
            return read_descriptor(g);
        if (block == '!') {
            if (read_extension(g) < 0)
                return -1;
        } else if (block < 0) {
            return truncated("front of the first frame");
        } else {
            return err_set(ERR_DATA, "no frame in it (byte %#x at offset %zu)", (unsigned)block,
                           g->at);
        }
    }
}

/* ---- LZW ---- */

struct lzw {
    struct gif *g;
    size_t block_end; /* of the present sub-block */
    unsigned bits, have;
    int width, clear, next, first_width;
    uint16_t prefix[CODES];
    unsigned char suffix[CODES], first[CODES], stack[CODES];
    int64_t done, total; /* pixels */
    int row, pass;       /* where the next pixel goes */
    int column;
};

/* The next code, or -1. */
static int next_code(struct lzw *z)
{
    struct gif *g = z->g;
    while (z->have < (unsigned)z->width) {
        if (g->at == z->block_end) {
            if (g->at >= g->n || !g->p[g->at] || g->n - g->at - 1 < g->p[g->at])
                return -1;
            z->block_end = g->at + 1 + g->p[g->at];
            g->at++;
        }
        z->bits |= (unsigned)g->p[g->at++] << z->have;
        z->have += 8;
    }
    int code = (int)(z->bits & ((1u << z->width) - 1));
    z->bits >>= z->width;
    z->have -= (unsigned)z->width;
    return code;
}

/* Rows come as 0, 8, 16...; 4, 12...; 2, 6...; 1, 3... */
static void next_row(struct lzw *z)
{
    static const int start[] = { 0, 4, 2, 1 }, step[] = { 8, 8, 4, 2 };
    z->column = 0;
    if (!z->g->interlaced) {
        z->row++;
        return;
    }
    z->row += step[z->pass];
    while (z->row >= z->g->fh && z->pass < 3)
        z->row = start[++z->pass];
}

static void put_pixel(struct lzw *z, unsigned char v)
{
    struct gif *g = z->g;
    if (z->done == z->total)
        return; /* more data than pixels does no harm */
    size_t y = (size_t)(g->fy + z->row), x = (size_t)(g->fx + z->column);
    g->index[y * (size_t)g->w + x] = v;
    z->done++;
    if (++z->column == g->fw)
        next_row(z);
}

static unsigned char first_of(const struct lzw *z, int code)
{
    return code < z->clear ? (unsigned char)code : z->first[code];
}

static void put_string(struct lzw *z, int code)
{
    int n = 0;
    for (; code > z->clear; code = z->prefix[code])
        z->stack[n++] = z->suffix[code];
    put_pixel(z, (unsigned char)code);
    while (n > 0)
        put_pixel(z, z->stack[--n]);
}

static void start_table(struct lzw *z)
{
    z->width = z->first_width;
    z->next = z->clear + 2;
}

static void add_string(struct lzw *z, int prefix, unsigned char suffix)
{
    if (z->next == CODES)
        return;
    z->prefix[z->next] = (uint16_t)prefix;
    z->suffix[z->next] = suffix;
    z->first[z->next] = first_of(z, prefix);
    z->next++;
    if (z->next == 1 << z->width && z->width < 12)
        z->width++;
}

static int broken(const struct lzw *z, const char *what)
{
    return err_set(ERR_DATA, "%s at pixel %lld of %lld", what, (long long)z->done,
                   (long long)z->total);
}

/* Codes until all pixels are there. Each completes the string of the one before by its own
 * first byte; it may be that very string. */
static int read_codes(struct lzw *z)
{
    int before = -1;
    start_table(z);
    while (z->done < z->total) {
        int code = next_code(z);
        if (code < 0 || code == z->clear + 1)
            return broken(z, "truncated");
        if (code == z->clear) {
            start_table(z);
            before = -1;
            continue;
        }
        if (before < 0 ? code > z->clear : code > z->next)
            return broken(z, "damaged");
        if (before >= 0)
            add_string(z, before, first_of(z, code < z->next ? code : before));
        put_string(z, code);
        before = code;
    }
    return 0;
}

static int read_frame(struct gif *g)
{
    if (g->at >= g->n)
        return truncated("front of the pixels");
    int width = g->p[g->at++];
    if (width < 1 || width > 8)
        return err_set(ERR_DATA, "codes of %d bits, expected 1 to 8", width);
    struct lzw *z = calloc(1, sizeof *z);
    if (!z)
        return err_nomem("a GIF decoder");
    z->g = g;
    z->block_end = g->at;
    z->clear = 1 << width;
    z->first_width = width + 1;
    z->total = (int64_t)g->fw * g->fh;
    int rc = read_codes(z);
    free(z);
    return rc;
}

/* What the frame leaves free of the screen is transparent, or colour 0. */
static int new_screen(struct gif *g)
{
    size_t count = (size_t)g->w * (size_t)g->h;
    g->index = malloc(count);
    if (!g->index)
        return err_nomem("pixels");
    memset(g->index, g->transparent == NO_COLOUR ? 0 : g->transparent, count);
    if (g->transparent != NO_COLOUR)
        g->palette[4 * g->transparent + 3] = 0;
    return 0;
}

int image_gif(struct image *out, struct image_source *src)
{
    struct gif g = { .p = src->p, .n = src->n, .transparent = NO_COLOUR };
    if (read_screen(&g) < 0 || find_frame(&g) < 0)
        return -1;
    if (g.fw < 1 || g.fh < 1)
        return err_set(ERR_DATA, "a frame of %d x %d pixels", g.fw, g.fh);
    if (image_begin(out, g.w, g.h, src->lim) < 0)
        return -1;
    int rc = new_screen(&g);
    if (rc == 0)
        rc = read_frame(&g);
    if (rc == 0)
        image_paint(out->rgb, g.index, (size_t)g.w * (size_t)g.h, g.palette, src->lim->alpha);
    free(g.index);
    return rc;
}
