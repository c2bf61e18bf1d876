/* codec.h - the decoders behind image_decode(). Private to lib/image.
 *
 * Every decoder reads the dimensions first and calls image_begin(), which refuses a size beyond
 * the limits before a byte of pixels is allocated; none believes a length that it has not
 * compared with the bytes that are there.
 *
 * Errors:  -1 with err set (ERR_DATA, "PNG: ..."); out may then be partly filled, and
 * image_decode() releases it. */
#ifndef IMAGE_CODEC_H
#define IMAGE_CODEC_H

#include "image/image.h"

struct image_source {
    const unsigned char *p;
    size_t n;
    const struct image_limits *lim;
    int orientation; /* EXIF's 1 to 8: set by the decoders of formats that carry one */
};

typedef int image_codec(struct image *out, struct image_source *src);

image_codec image_jpeg, image_png, image_webp, image_gif, image_bmp, image_pnm;

/* A file format, told by bytes at its beginning. */
struct image_format {
    const char *name;
    int at; /* offset of magic */
    int len;
    const char *magic;
    image_codec *decode; /* NULL: known, but not read here */
    bool picture;        /* an image, though perhaps not one we read */
    const char *advice;
};

/* NULL: nothing we know. */
const struct image_format *image_sniff(const unsigned char *p, size_t n);

/* Memory for w * h pixels, not cleared. */
int image_begin(struct image *out, int64_t w, int64_t h, const struct image_limits *lim);

/* count RGBA pixels to RGB by the policy; white is composited exactly as Pillow does. */
void image_blend(unsigned char *rgb, const unsigned char *rgba, size_t count,
                 enum image_alpha alpha);

/* count palette indices to RGB: palette holds 256 RGBA entries. */
void image_paint(unsigned char *rgb, const unsigned char *index, size_t count,
                 const unsigned char *palette, enum image_alpha alpha);

/* Versions of the libraries, for --version. */
const char *image_jpeg_version(void);
void image_webp_version(int v[3]);

/* ---- exif.c ---- */

/* The orientation tag of EXIF data ("Exif\0\0" in front or not), 1 if there is none. */
int image_exif_orientation(const unsigned char *p, size_t n);

/* Turns the image upright. */
int image_orient(struct image *im, int orientation);

/* ---- stb.c ---- */

/* A PNG file that png.c has checked, to malloc'ed pixels of 3 or 4 channels. No single
 * allocation is larger than most. NULL with *why set (a literal, or NULL for lack of memory).
 */
unsigned char *image_stb_png(int *w, int *h, const unsigned char *p, size_t n, int channels,
                             size_t most, const char **why);

#endif
