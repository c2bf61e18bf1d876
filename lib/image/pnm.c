/* pnm.c - binary PBM, PGM and PPM. Ours: stb_image takes a file without pixels for an image. */
#include "base/err.h"
#include "image/codec.h"

#include <math.h>
#include <string.h>

struct pnm {
    const unsigned char *p;
    size_t n, at;
    int64_t w, h, most;  /* most: the value of white */
    int channels, bytes; /* of a sample */
};

static bool is_space(unsigned char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static void skip_space(struct pnm *f)
{
    while (f->at < f->n && (is_space(f->p[f->at]) || f->p[f->at] == '#'))
        if (f->p[f->at++] == '#')
            while (f->at < f->n && f->p[f->at] != '\n')
                f->at++;
}

static int number(int64_t *v, struct pnm *f, const char *what)
{
    skip_space(f);
    size_t from = f->at;
    for (*v = 0; f->at < f->n && f->p[f->at] >= '0' && f->p[f->at] <= '9'; f->at++)
        *v = *v < (int64_t)1 << 40 ? *v * 10 + f->p[f->at] - '0' : *v;
    if (f->at == f->n)
        return err_set(ERR_DATA, "truncated: ends in its header");
    return f->at > from ? 0 : err_set(ERR_DATA, "%s is not a number", what);
}

static int read_header(struct pnm *f)
{
    bool bits = f->p[1] == '4';
    f->at = 2;
    f->most = 1;
    f->channels = f->p[1] == '6' ? 3 : 1;
    if (number(&f->w, f, "width") < 0 || number(&f->h, f, "height") < 0 ||
        (!bits && number(&f->most, f, "maximum") < 0))
        return -1;
    if (f->most < 1 || f->most > 65535)
        return err_set(ERR_DATA, "maximum %lld, expected 1 to 65535", (long long)f->most);
    f->bytes = bits ? 0 : f->most > 255 ? 2 : 1;
    if (!is_space(f->p[f->at]))
        return err_set(ERR_DATA, "no blank before the pixels");
    f->at++;
    return 0;
}

static size_t row_bytes(const struct pnm *f)
{
    size_t w = (size_t)f->w;
    return f->bytes ? w * (size_t)(f->channels * f->bytes) : (w + 7) / 8;
}

/* Sample i of a row as 0 to 255, rounded half to even as Pillow does; above the maximum is
 * white. */
static unsigned char sample(const struct pnm *f, const unsigned char *row, size_t i)
{
    if (f->bytes == 0)
        return row[i / 8] >> (7 - i % 8) & 1 ? 0 : 255;
    if (f->bytes == 1 && f->most == 255)
        return row[i];
    int v = f->bytes == 2 ? row[2 * i] << 8 | row[2 * i + 1] : row[i];
    double level = nearbyint((double)v / (double)f->most * 255.0);
    return (unsigned char)(level < 255 ? level : 255);
}

static void read_rows(struct image *out, const struct pnm *f)
{
    size_t stride = row_bytes(f), per = (size_t)f->channels;
    unsigned char *rgb = out->rgb;
    for (int y = 0; y < out->h; y++) {
        const unsigned char *row = f->p + f->at + stride * (size_t)y;
        for (size_t x = 0; x < (size_t)out->w; x++)
            for (size_t c = 0; c < 3; c++)
                *rgb++ = sample(f, row, x * per + c % per);
    }
}

int image_pnm(struct image *out, struct image_source *src)
{
    struct pnm f = { .p = src->p, .n = src->n };
    if (read_header(&f) < 0 || image_begin(out, f.w, f.h, src->lim) < 0)
        return -1;
    size_t need = row_bytes(&f) * (size_t)out->h;
    if (need > f.n - f.at)
        return err_set(ERR_DATA, "truncated: %zu bytes of pixels, expected %zu", f.n - f.at,
                       need);
    read_rows(out, &f);
    return 0;
}
