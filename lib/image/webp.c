/* webp.c - WebP stills by libwebp; Pillow uses the same library. */
#include "base/err.h"
#include "image/codec.h"

#include <stdlib.h>
#include <string.h>

#include <webp/decode.h>

static size_t le32(const unsigned char *p)
{
    return p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16 | (size_t)p[3] << 24;
}

/* The file is as long as it says, and so is each chunk: libwebp itself reads zeros past the end
 * of a lossy image's last partition. The chunks after the image may hold EXIF. */
static int check_chunks(struct image_source *src)
{
    size_t end = le32(src->p + 4) + 8;
    if (end > src->n)
        return err_set(ERR_DATA, "truncated: %zu bytes, expected %zu", src->n, end);
    for (size_t at = 12; at < end;) {
        if (end - at < 8)
            return err_set(ERR_DATA, "%zu stray bytes at its end", end - at);
        size_t len = le32(src->p + at + 4);
        if (len > end - at - 8)
            return err_set(ERR_DATA, "chunk at offset %zu: %zu bytes, only %zu left", at, len,
                           end - at - 8);
        if (!memcmp(src->p + at, "EXIF", 4))
            src->orientation = image_exif_orientation(src->p + at + 8, len);
        at += 8 + len + (len & 1);
    }
    return 0;
}

static int decode_alpha(struct image *out, const struct image_source *src)
{
    size_t count = (size_t)out->w * (size_t)out->h;
    unsigned char *rgba = malloc(count * 4);
    if (!rgba)
        return err_nomem("pixels");
    bool ok = WebPDecodeRGBAInto(src->p, src->n, rgba, count * 4, out->w * 4) != NULL;
    if (ok)
        image_blend(out->rgb, rgba, count, src->lim->alpha);
    free(rgba);
    return ok ? 0 : err_set(ERR_DATA, "damaged");
}

int image_webp(struct image *out, struct image_source *src)
{
    WebPBitstreamFeatures f;
    if (check_chunks(src) < 0)
        return -1;
    if (WebPGetFeatures(src->p, src->n, &f) != VP8_STATUS_OK)
        return err_set(ERR_DATA, "damaged header");
    if (f.has_animation)
        return err_set(ERR_DATA, "animated, not read here; take a frame first: "
                                 "webpmux -get frame 1 FILE -o out.webp");
    if (image_begin(out, f.width, f.height, src->lim) < 0)
        return -1;
    if (f.has_alpha && src->lim->alpha != IMAGE_ALPHA_DROP)
        return decode_alpha(out, src);
    size_t bytes = (size_t)out->w * (size_t)out->h * 3;
    return WebPDecodeRGBInto(src->p, src->n, out->rgb, bytes, out->w * 3)
               ? 0
               : err_set(ERR_DATA, "damaged");
}

void image_webp_version(int v[3])
{
    int all = WebPGetDecoderVersion();
    for (int i = 0; i < 3; i++)
        v[i] = all >> (16 - 8 * i) & 0xff;
}
