/* image.h - encoded bytes to RGB, and RGB to pixel_values.
 *
 * Decoding:  JPEG by libjpeg-turbo and WebP by libwebp (bit-identical to Pillow), PNG, BMP, GIF
 * (first frame), PNM by stb_image behind our own checks of size, end and (PNG) checksums; told
 *            by content, never by name. EXIF orientation is applied.
 * Errors:    -1 with err set: ERR_DATA names what it is or what is wrong with it. */
#ifndef IMAGE_IMAGE_H
#define IMAGE_IMAGE_H

#include "base/arena.h"
#include "tensor/tensor.h"

struct image {
    int w, h;
    unsigned char *rgb; /* h * w * 3, owned: image_release() */
};

enum image_alpha { IMAGE_ALPHA_DROP, IMAGE_ALPHA_WHITE, IMAGE_ALPHA_BLACK };

struct image_limits {
    int64_t pixels; /* w * h, 0: 178,956,970 (Pillow's) */
    bool no_exif;
    enum image_alpha alpha; /* DROP: as transformers does for paths */
};

int image_decode(struct image *out, const void *bytes, size_t n,
                 const struct image_limits *lim);
void image_release(struct image *im);

/* ---- preprocessor_config.json ---- */

enum image_resize { IMAGE_RESIZE_PILLOW, IMAGE_RESIZE_TORCHVISION };

struct image_processor {
    int height, width;
    bool do_resize, do_rescale, do_normalize;
    double rescale_factor, mean[3], std[3];
    enum image_resize resize;
};

/* Reads dir/preprocessor_config.json (or processor_config.json's image_processor); -1 if
 * absent, or ERR_CONFIG for what we do not do (a crop, another resampling). */
int image_processor_read(struct image_processor *p, const char *dir);

/* dst: p->height * p->width * 3 bytes, HWC. Pillow's or torchvision's bicubic, bit-exact. */
int image_resize(unsigned char *dst, const struct image_processor *p, const struct image *im);

/* pixel_values (3, height, width) f32 in mem: resize, rescale, normalise, as the reference's
 * backend of the same name does it, to the bit. */
int image_pixel_values(struct tensor *out, const struct image_processor *p,
                       const struct image *im, struct arena *mem);

#endif
