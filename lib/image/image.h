/* image.h - encoded bytes to RGB, and RGB to pixel_values.
 *
 * Decoding:  JPEG by libjpeg-turbo and WebP by libwebp (both bit-identical to Pillow), PNG by
 *            stb_image behind our own walk over its chunks and checksums; GIF (first frame),
 * BMP and PNM by code of ours, because with them stb_image takes files that end early. Told by
 * content, never by name. EXIF orientation is applied. Pixels:    those of Pillow's
 * convert("RGB") but for 16-bit grey, of which we keep the high byte (Pillow turns all above
 * 255 white). Threads:   no state: any number of images at a time. Errors:    -1 with err set:
 * ERR_DATA names what it is or what is wrong with it. */
#ifndef IMAGE_IMAGE_H
#define IMAGE_IMAGE_H

#include "base/arena.h"
#include "base/buf.h"
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

/* The same in a child process that can do nothing but compute and answer (seccomp, limits on
 * memory, time, descriptors): for images from people one does not know. A decoder that dies, or
 * takes 10 s, is ERR_DATA; ERR_CONFIG where it cannot be confined. image_apart() does it with
 * any function. */
typedef int image_fn(struct image *out, void *ctx);
int image_decode_apart(struct image *out, const void *bytes, size_t n,
                       const struct image_limits *lim);
int image_apart(struct image *out, image_fn *decode, void *ctx);

/* Whether a file that begins with these bytes (64 are enough) is an image, of a kind that is
 * read here or not. */
bool image_is(const void *head, size_t n);

/* The libraries behind it and their versions, for --version. */
const char *image_libraries(char *buf, size_t n);

/* ---- preprocessor_config.json ---- */

enum image_resize { IMAGE_RESIZE_PILLOW, IMAGE_RESIZE_TORCHVISION };

struct image_processor {
    int height, width; /* of pixel_values */
    int shortest_edge; /* CLIP: resize to this, then cut out the middle; 0: to height, width */
    bool do_resize, do_rescale, do_normalize;
    double rescale_factor, mean[3], std[3];
    enum image_resize resize;
};

/* Reads dir/preprocessor_config.json, or processor_config.json's image_processor. resize is the
 * caller's and stays. ERR_NOINPUT if neither is there, ERR_CONFIG for what is not done here
 * (another resampling) or wrong. */
int image_processor_read(struct image_processor *p, const char *dir);

/* dst: w * h * 3 bytes, HWC. */
int image_scale(unsigned char *dst, int w, int h, const struct image *im,
                enum image_resize kind);

/* dst: p->height * p->width * 3 bytes, HWC. Pillow's or torchvision's bicubic, bit-exact. */
int image_resize(unsigned char *dst, const struct image_processor *p, const struct image *im);

/* pixel_values (3, height, width) f32 in mem: resize, rescale, normalise, as the reference's
 * backend of the same name does it, to the bit. */
int image_pixel_values(struct tensor *out, const struct image_processor *p,
                       const struct image *im, struct arena *mem);

/* The level 0 to 255 that the processor made v of channel c of; what lies beyond is cut off. */
unsigned char image_level(const struct image_processor *p, double v, int c);

/* ---- to bytes ---- */

/* Appends a PNG of w * h pixels of 3 channels (RGB) or 4 (and how opaque). */
int image_write_png(struct buf *out, const unsigned char *pixels, int w, int h, int channels);

#endif
