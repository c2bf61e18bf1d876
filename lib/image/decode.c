/* decode.c - a file's bytes to upright RGB pixels: see image.h. */
#include "base/err.h"
#include "base/math.h"
#include "image/codec.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIXELS_DEFAULT 178956970 /* beyond it Pillow refuses too: a decompression bomb */

int image_begin(struct image *out, int64_t w, int64_t h, const struct image_limits *lim)
{
    int64_t most = lim && lim->pixels ? lim->pixels : PIXELS_DEFAULT;
    size_t bytes;
    if (w < 1 || h < 1)
        return err_set(ERR_DATA, "%lld x %lld pixels", (long long)w, (long long)h);
    if (w > INT_MAX || h > INT_MAX || h > most / w)
        return err_set(ERR_DATA, "%lld x %lld pixels, more than the limit of %lld",
                       (long long)w, (long long)h, (long long)most);
    if (!math_mul(&bytes, (size_t)w * (size_t)h, 3))
        return err_nomem("pixels");
    out->w = (int)w;
    out->h = (int)h;
    out->rgb = malloc(bytes);
    return out->rgb ? 0 : err_nomem("pixels");
}

void image_release(struct image *im)
{
    free(im->rgb);
    *im = (struct image){ 0 };
}

/* Pillow's alpha_composite on an opaque background of one value, in its fixed point. */
static unsigned char composite(unsigned s, unsigned alpha, unsigned background)
{
    unsigned t = (s * alpha + background * (255 - alpha)) * 128 + (0x80 << 7);
    return (unsigned char)((((t >> 8) + t) >> 8) >> 7);
}

void image_blend(unsigned char *rgb, const unsigned char *rgba, size_t count,
                 enum image_alpha alpha)
{
    unsigned background = alpha == IMAGE_ALPHA_WHITE ? 255 : 0;
    for (size_t i = 0; i < count; i++)
        for (int c = 0; c < 3; c++) {
            unsigned char s = rgba[4 * i + c];
            rgb[3 * i + c] = alpha == IMAGE_ALPHA_DROP
                                 ? s
                                 : composite(s, rgba[4 * i + 3], background);
        }
}

void image_paint(unsigned char *rgb, const unsigned char *index, size_t count,
                 const unsigned char *palette, enum image_alpha alpha)
{
    unsigned char plain[256 * 3];
    image_blend(plain, palette, 256, alpha);
    for (size_t i = 0; i < count; i++)
        memcpy(rgb + 3 * i, plain + (size_t)3 * index[i], 3);
}

static int unknown(size_t n)
{
    if (n == 0)
        return err_set(ERR_DATA, "empty, expected an image");
    return err_set(ERR_DATA, "not an image (expected JPEG, PNG, WebP, GIF, BMP or PNM)");
}

int image_decode(struct image *out, const void *bytes, size_t n, const struct image_limits *lim)
{
    static const struct image_limits defaults = { 0 };
    struct image_source src = { bytes, n, lim ? lim : &defaults, 1 };
    *out = (struct image){ 0 };
    const struct image_format *f = image_sniff(bytes, n);
    if (!f)
        return unknown(n);
    if (!f->decode)
        return err_set(ERR_DATA, "%s, not read here; %s", f->name, f->advice);
    int rc = f->decode(out, &src);
    if (rc < 0)
        err_wrap("%s", f->name);
    else if (!src.lim->no_exif)
        rc = image_orient(out, src.orientation);
    if (rc < 0)
        image_release(out);
    return rc;
}

const char *image_libraries(char *buf, size_t n)
{
    int webp[3];
    image_webp_version(webp);
    snprintf(buf, n, "%s, libwebp %d.%d.%d", image_jpeg_version(), webp[0], webp[1], webp[2]);
    return buf;
}
