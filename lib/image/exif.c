/* exif.c - the one tag of EXIF that changes pixels. EXIF is a small TIFF file; every offset is
 * checked against its length. */
#include "base/err.h"
#include "image/codec.h"

#include <stdlib.h>
#include <string.h>

#define ORIENTATION 0x0112
#define SHORT       3

struct tiff {
    const unsigned char *p;
    size_t n;
    bool big; /* endian */
};

static unsigned get16(const struct tiff *t, size_t at)
{
    const unsigned char *b = t->p + at;
    return t->big ? b[0] << 8 | b[1] : b[1] << 8 | b[0];
}

static size_t get32(const struct tiff *t, size_t at)
{
    size_t a = get16(t, at), b = get16(t, at + 2);
    return t->big ? a << 16 | b : b << 16 | a;
}

/* The value in a directory at offset `at`, 1 if it has none or a wrong one. */
static int search(const struct tiff *t, size_t at)
{
    if (at < 8 || at > t->n || t->n - at < 2)
        return 1;
    size_t count = get16(t, at);
    at += 2;
    for (; count > 0 && t->n - at >= 12; count--, at += 12) {
        if (get16(t, at) != ORIENTATION)
            continue;
        unsigned v = get16(t, at + 8);
        return get16(t, at + 2) == SHORT && v >= 1 && v <= 8 ? (int)v : 1;
    }
    return 1;
}

int image_exif_orientation(const unsigned char *p, size_t n)
{
    if (n >= 6 && !memcmp(p, "Exif\0", 6)) {
        p += 6;
        n -= 6;
    }
    if (n < 8 || (memcmp(p, "II*\0", 4) && memcmp(p, "MM\0*", 4)))
        return 1;
    struct tiff t = { p, n, p[0] == 'M' };
    return search(&t, get32(&t, 4));
}

/* Where the pixel (x, y) of the upright image lies in the stored one, w * h. Orientation: the
 * stored row 0 is the picture's 1 top, 2 top mirrored, 3 bottom mirrored, 4 bottom, 5 left, 6
 * right, 7 right mirrored, 8 left mirrored side (EXIF 2.3, 4.6.4.A). */
static size_t stored_at(int orientation, int x, int y, int w, int h)
{
    int sx = x, sy = y;
    switch (orientation) {
    case 2:
        sx = w - 1 - x;
        break;
    case 3:
        sx = w - 1 - x, sy = h - 1 - y;
        break;
    case 4:
        sy = h - 1 - y;
        break;
    case 5:
        sx = y, sy = x;
        break;
    case 6:
        sx = y, sy = h - 1 - x;
        break;
    case 7:
        sx = w - 1 - y, sy = h - 1 - x;
        break;
    case 8:
        sx = w - 1 - y, sy = x;
        break;
    default:
        break;
    }
    return (size_t)sy * (size_t)w + (size_t)sx;
}

int image_orient(struct image *im, int orientation)
{
    if (orientation == 1)
        return 0;
    bool turned = orientation >= 5;
    struct image up = { turned ? im->h : im->w, turned ? im->w : im->h, NULL };
    up.rgb = malloc((size_t)im->w * (size_t)im->h * 3);
    if (!up.rgb)
        return err_nomem("pixels");
    unsigned char *to = up.rgb;
    for (int y = 0; y < up.h; y++)
        for (int x = 0; x < up.w; x++, to += 3)
            memcpy(to, im->rgb + 3 * stored_at(orientation, x, y, im->w, im->h), 3);
    image_release(im);
    *im = up;
    return 0;
}
