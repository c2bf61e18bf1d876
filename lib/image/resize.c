/* resize.c - bicubic resampling as Pillow and as torchvision do it on 8 bits, to the bit.
 *
 * Both: window and weights in double (Keys' cubic, a = -0.5, widened when shrinking), rounded
 * to fixed point; first along x, then along y, with 8 bits in between. They differ in the fixed
 * point: Pillow has 22 bits, torchvision 16-bit weights with as many bits as the largest weight
 * of the axis allows. And Pillow 13 goes along y first where the height shrinks by more than
 * twice what the width does (older ones never do; a level or two in such tall images).
 * Source: Pillow src/libImaging/Resample.c; ATen UpSampleKernelAVXAntialias.h. */
#include "base/err.h"
#include "base/math.h"
#include "image/image.h"

#include <stdlib.h>
#include <string.h>

#define PILLOW_BITS 22 /* 32 - 8 - 2 */

/* Output i of an axis is the sum over j < count[i] of weight[i * most + j] * in[from[i] + j].
 */
struct axis {
    int in, out, most, bits;
    int *from, *count;
    double *exact;
    int32_t *weight;
};

static double cubic(double t)
{
    const double a = -0.5;
    t = t < 0 ? -t : t;
    if (t < 1)
        return ((a + 2) * t - (a + 3)) * t * t + 1;
    return t < 2 ? (((t - 5) * t + 8) * t - 4) * a : 0;
}

static void axis_release(struct axis *a)
{
    free(a->from);
    free(a->count);
    free(a->exact);
    free(a->weight);
}

static int axis_alloc(struct axis *a, double support)
{
    size_t total, n = (size_t)a->out;
    a->most = (int)support * 2 + 3;
    if (!math_mul(&total, n, (size_t)a->most))
        return err_nomem("weights");
    a->from = calloc(n, sizeof *a->from);
    a->count = calloc(n, sizeof *a->count);
    a->exact = calloc(total, sizeof *a->exact);
    a->weight = calloc(total, sizeof *a->weight);
    return a->from && a->count && a->exact && a->weight ? 0 : err_nomem("weights");
}

static void exact_weights(struct axis *a, int i, double scale, double stretch)
{
    double center = (i + 0.5) * scale, support = 2 * stretch, sum = 0;
    int from = (int)(center - support + 0.5), to = (int)(center + support + 0.5);
    from = from < 0 ? 0 : from;
    to = to > a->in ? a->in : to;
    double *w = a->exact + (size_t)i * (size_t)a->most;
    for (int j = 0; j < to - from; j++) {
        w[j] = cubic((j + from - center + 0.5) * (1 / stretch));
        sum += w[j];
    }
    for (int j = 0; j < to - from && sum != 0; j++)
        w[j] /= sum;
    a->from[i] = from;
    a->count[i] = to - from;
}

/* The most bits with which the largest weight still fits 16 bits with its sign. */
static int torchvision_bits(const struct axis *a)
{
    double most = 0;
    for (size_t k = 0; k < (size_t)a->out * (size_t)a->most; k++)
        most = a->exact[k] > most ? a->exact[k] : most;
    int bits = 0;
    while (bits < PILLOW_BITS && (int)(0.5 + most * (1 << (bits + 1))) < 1 << 15)
        bits++;
    return bits;
}

static int axis_init(struct axis *a, int in, int out, enum image_resize kind)
{
    double scale = (double)in / out, stretch = scale > 1 ? scale : 1;
    *a = (struct axis){ .in = in, .out = out };
    if (axis_alloc(a, 2 * stretch) < 0)
        return -1;
    for (int i = 0; i < out; i++)
        exact_weights(a, i, scale, stretch);
    a->bits = kind == IMAGE_RESIZE_PILLOW ? PILLOW_BITS : torchvision_bits(a);
    for (size_t k = 0; k < (size_t)out * (size_t)a->most; k++) {
        double w = a->exact[k] * (1 << a->bits);
        a->weight[k] = (int32_t)(w < 0 ? w - 0.5 : w + 0.5);
    }
    return 0;
}

/* One output sample from samples `stride` apart. */
static unsigned char sum(const unsigned char *in, size_t stride, const int32_t *w, int count,
                         int bits)
{
    int32_t s = 1 << (bits - 1);
    for (int j = 0; j < count; j++)
        s += w[j] * in[(size_t)j * stride];
    s >>= bits;
    return (unsigned char)(s < 0 ? 0 : s > 255 ? 255 : s);
}

/* in (h, a->in, 3) to out (h, a->out, 3). */
static void along_x(unsigned char *out, const unsigned char *in, int h, const struct axis *a)
{
    for (int y = 0; y < h; y++, in += (size_t)a->in * 3)
        for (int i = 0; i < a->out; i++)
            for (int c = 0; c < 3; c++)
                *out++ = sum(in + (size_t)a->from[i] * 3 + c, 3,
                             a->weight + (size_t)i * (size_t)a->most, a->count[i], a->bits);
}

/* in (a->in, w, 3) to out (a->out, w, 3). */
static void along_y(unsigned char *out, const unsigned char *in, int w, const struct axis *a)
{
    size_t stride = (size_t)w * 3;
    for (int i = 0; i < a->out; i++)
        for (size_t x = 0; x < stride; x++)
            *out++ = sum(in + (size_t)a->from[i] * stride + x, stride,
                         a->weight + (size_t)i * (size_t)a->most, a->count[i], a->bits);
}

static int resize_x(unsigned char *dst, const struct image *im, int w, enum image_resize kind)
{
    struct axis a;
    int rc = axis_init(&a, im->w, w, kind);
    if (rc == 0)
        along_x(dst, im->rgb, im->h, &a);
    axis_release(&a);
    return rc;
}

static int resize_y(unsigned char *dst, const struct image *im, int h, enum image_resize kind)
{
    struct axis a;
    int rc = axis_init(&a, im->h, h, kind);
    if (rc == 0)
        along_y(dst, im->rgb, im->w, &a);
    axis_release(&a);
    return rc;
}

/* Both passes, through an image of 8 bits in between. */
static int resize_both(unsigned char *dst, int w, int h, const struct image *im,
                       enum image_resize kind, bool y_first)
{
    struct image half = { y_first ? im->w : w, y_first ? h : im->h, NULL };
    half.rgb = malloc((size_t)half.w * (size_t)half.h * 3);
    if (!half.rgb)
        return err_nomem("pixels");
    int rc = y_first ? resize_y(half.rgb, im, h, kind) : resize_x(half.rgb, im, w, kind);
    if (rc == 0)
        rc = y_first ? resize_x(dst, &half, w, kind) : resize_y(dst, &half, h, kind);
    free(half.rgb);
    return rc;
}

/* An axis that keeps its size is not resampled at all. */
int image_scale(unsigned char *dst, int w, int h, const struct image *im,
                enum image_resize kind)
{
    if (im->w == w && im->h == h) {
        memcpy(dst, im->rgb, (size_t)w * (size_t)h * 3);
        return 0;
    }
    if (im->w == w)
        return resize_y(dst, im, h, kind);
    if (im->h == h)
        return resize_x(dst, im, w, kind);
    int64_t dx = (int64_t)im->w - w, dy = (int64_t)im->h - h;
    bool y_first = kind == IMAGE_RESIZE_PILLOW && dy > 0 && dy > 2 * dx;
    return resize_both(dst, w, h, im, kind, y_first);
}
