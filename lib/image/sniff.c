/* sniff.c - what kind of file it is, by content: see codec.h. */
#include "image/codec.h"

#include <string.h>

#define CONVERT "convert it first, as in: magick FILE png:- | img-encode -"
#define AVIFDEC "convert it first: avifdec FILE out.png"
#define HEIF    "convert it first: heif-convert FILE out.jpg"
#define DJXL    "convert it first: djxl FILE out.png"
#define FRAME   "take a frame: ffmpeg -i FILE -frames:v 1 out.png"
#define WEBPAGE "was the address a page, not the picture?"

/* advice: what to do with a known format that is not read here. Longer magics come before those
 * they begin with. */
static const struct image_format formats[] = {
    { "JPEG", 0, 3, "\xff\xd8\xff", image_jpeg, true, NULL },
    { "PNG", 0, 8, "\x89PNG\r\n\x1a\n", image_png, true, NULL },
    { "WebP", 8, 4, "WEBP", image_webp, true, NULL },
    { "GIF", 0, 6, "GIF87a", image_gif, true, NULL },
    { "GIF", 0, 6, "GIF89a", image_gif, true, NULL },
    { "BMP", 0, 2, "BM", image_bmp, true, NULL },
    { "PNM", 0, 2, "P4", image_pnm, true, NULL },
    { "PNM", 0, 2, "P5", image_pnm, true, NULL },
    { "PNM", 0, 2, "P6", image_pnm, true, NULL },
    { "plain PNM", 0, 2, "P1", NULL, true, "convert it first: pnmtopng <FILE" },
    { "plain PNM", 0, 2, "P2", NULL, true, "convert it first: pnmtopng <FILE" },
    { "plain PNM", 0, 2, "P3", NULL, true, "convert it first: pnmtopng <FILE" },
    { "PFM", 0, 2, "Pf", NULL, true, CONVERT },
    { "PFM", 0, 2, "PF", NULL, true, CONVERT },
    { "XV thumbnail", 0, 6, "P7 332", NULL, true, CONVERT },
    { "PAM", 0, 2, "P7", NULL, true, "convert it first: pamtopnm <FILE" },
    { "TIFF", 0, 4, "II*\0", NULL, true, CONVERT },
    { "TIFF", 0, 4, "MM\0*", NULL, true, CONVERT },
    { "TIFF", 0, 4, "II+\0", NULL, true, CONVERT },
    { "TIFF", 0, 4, "MM\0+", NULL, true, CONVERT },
    { "AVIF", 4, 7, "ftypavi", NULL, true, AVIFDEC },
    { "HEIC", 4, 7, "ftyphei", NULL, true, HEIF },
    { "HEIC", 4, 7, "ftyphev", NULL, true, HEIF },
    { "HEIC", 4, 8, "ftypmif1", NULL, true, HEIF },
    { "HEIC", 4, 8, "ftypmsf1", NULL, true, HEIF },
    { "JPEG XL", 0, 2, "\xff\x0a", NULL, true, DJXL },
    { "JPEG XL", 4, 8, "JXL \r\n\x87\n", NULL, true, DJXL },
    { "JPEG 2000", 4, 4, "jP  ", NULL, true, CONVERT },
    { "JPEG 2000", 0, 4, "\xff\x4f\xff\x51", NULL, true, CONVERT },
    { "Photoshop", 0, 4, "8BPS", NULL, true, CONVERT },
    { "Radiance HDR", 0, 10, "#?RADIANCE", NULL, true, CONVERT },
    { "OpenEXR", 0, 4, "\x76\x2f\x31\x01", NULL, true, CONVERT },
    { "GIMP", 0, 8, "gimp xcf", NULL, true, CONVERT },
    { "QOI", 0, 4, "qoif", NULL, true, CONVERT },
    { "farbfeld", 0, 8, "farbfeld", NULL, true, "convert it first: ff2png <FILE >out.png" },
    { "DDS", 0, 4, "DDS ", NULL, true, CONVERT },
    { "TGA", 1, 2, "\0\2", NULL, true, CONVERT },
    { "TGA", 1, 2, "\0\3", NULL, true, CONVERT },
    { "TGA", 1, 2, "\0\x0a", NULL, true, CONVERT },
    { "TGA", 1, 2, "\0\x0b", NULL, true, CONVERT },
    { "TGA", 1, 2, "\1\1", NULL, true, CONVERT },
    { "TGA", 1, 2, "\1\x09", NULL, true, CONVERT },
    { "icon", 0, 4, "\0\0\1\0", NULL, true, CONVERT },
    { "cursor", 0, 4, "\0\0\2\0", NULL, true, CONVERT },
    { "icon", 0, 4, "icns", NULL, true, CONVERT },
    { "DIB", 0, 4, "\x28\0\0\0", NULL, true, CONVERT },
    { "PCX", 0, 3, "\x0a\0\1", NULL, true, CONVERT },
    { "PCX", 0, 3, "\x0a\2\1", NULL, true, CONVERT },
    { "PCX", 0, 3, "\x0a\3\1", NULL, true, CONVERT },
    { "PCX", 0, 3, "\x0a\5\1", NULL, true, CONVERT },
    { "DCX", 0, 4, "\xb1\x68\xde\x3a", NULL, true, CONVERT },
    { "SGI", 0, 2, "\1\xda", NULL, true, CONVERT },
    { "Sun raster", 0, 4, "\x59\xa6\x6a\x95", NULL, true, CONVERT },
    { "MSP", 0, 4, "DanM", NULL, true, CONVERT },
    { "MSP", 0, 4, "LinS", NULL, true, CONVERT },
    { "BLP", 0, 4, "BLP1", NULL, true, CONVERT },
    { "BLP", 0, 4, "BLP2", NULL, true, CONVERT },
    { "FTEX", 0, 4, "FTEX", NULL, true, CONVERT },
    { "GIMP brush", 20, 4, "GIMP", NULL, true, CONVERT },
    { "Kodak Photo CD", 2048, 4, "PCD_", NULL, true, CONVERT },
    { "PIXAR", 0, 4, "\200\350\0\0", NULL, true, CONVERT },
    { "FLI", 4, 2, "\x11\xaf", NULL, true, CONVERT },
    { "FLI", 4, 2, "\x12\xaf", NULL, true, CONVERT },
    { "IM", 0, 11, "Image type:", NULL, true, CONVERT },
    { "IPTC", 0, 2, "\x1c\1", NULL, true, CONVERT },
    { "IPTC", 0, 2, "\x1c\2", NULL, true, CONVERT },
    { "McIdas", 0, 8, "\0\0\0\0\0\0\0\4", NULL, true, CONVERT },
    { "WMF", 0, 4, "\xd7\xcd\xc6\x9a", NULL, true, CONVERT },
    { "EMF", 40, 4, " EMF", NULL, true, CONVERT },
    { "XPM", 0, 9, "/* XPM */", NULL, true, CONVERT },
    { "XBM", 0, 7, "#define", NULL, true, CONVERT },
    { "HDF5", 0, 8, "\x89HDF\r\n\x1a\n", NULL, false, "read it with h5py" },
    { "GRIB", 0, 4, "GRIB", NULL, false, "draw it first, as with wgrib2 or cfgrib" },
    { "BUFR", 0, 4, "BUFR", NULL, false, "it holds observations, not a picture" },
    { "video", 0, 4, "\0\0\1\xb3", NULL, false, FRAME },
    { "FITS", 0, 9, "SIMPLE  =", NULL, true, CONVERT },
    { "PDF", 0, 5, "%PDF-", NULL, false, "render a page first: pdftoppm -r 100 -png FILE out" },
    { "PostScript", 0, 4, "%!PS", NULL, false, CONVERT },
    { "PostScript", 0, 4, "\xc5\xd0\xd3\xc6", NULL, false, CONVERT },
    { "SVG", 0, 4, "<svg", NULL, false, "render it first: rsvg-convert FILE -o out.png" },
    { "video", 4, 4, "ftyp", NULL, false, FRAME },
    { "HTML", 0, 9, "<!DOCTYPE", NULL, false, WEBPAGE },
    { "HTML", 0, 9, "<!doctype", NULL, false, WEBPAGE },
    { "HTML", 0, 5, "<html", NULL, false, WEBPAGE },
    { "git-lfs pointer", 0, 24, "version https://git-lfs.", NULL, false,
      "fetch the file it stands for: git lfs pull" },
};

static bool is_named(const struct image_format *f, const char *name)
{
    return !strcmp(f->name, name);
}

/* TGA has no magic: no palette or one, a width and a height, bits a pixel. */
static bool plausible_tga(const unsigned char *p, size_t n)
{
    static const unsigned char none[5];
    return n >= 18 && (p[1] || !memcmp(p + 3, none, 5)) && (p[12] || p[13]) &&
           (p[14] || p[15]) && (p[16] == 8 || p[16] == 16 || p[16] == 24 || p[16] == 32);
}

/* In the names that XBM's text defines. */
static bool plausible_xbm(const unsigned char *p, size_t n)
{
    return memmem(p, n < 64 ? n : 64, "_width", 6) != NULL;
}

/* Short magics begin ordinary text too: what follows must also look right. */
static bool plausible(const struct image_format *f, const unsigned char *p, size_t n)
{
    if (is_named(f, "TGA"))
        return plausible_tga(p, n);
    if (is_named(f, "XBM"))
        return plausible_xbm(p, n);
    if (is_named(f, "DIB"))
        return n >= 16 && p[12] == 1 && !p[13];
    if (is_named(f, "FLI"))
        return n >= 16 && (p[14] == 0 || p[14] == 3) && !p[15];
    if (f->decode == image_webp)
        return !memcmp(p, "RIFF", 4);
    if (f->decode == image_bmp)
        return n >= 18 && p[14] >= 12 && p[14] <= 124 && !p[15] && !p[16] && !p[17];
    if (f->len == 2 && f->magic[0] == 'P')
        return n >= 3 && strchr(" \t\r\n#", p[2]) && p[2];
    return true;
}

const struct image_format *image_sniff(const unsigned char *p, size_t n)
{
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        const struct image_format *f = &formats[i];
        size_t at = (size_t)f->at, len = (size_t)f->len;
        if (n >= at + len && !memcmp(p + at, f->magic, len) && plausible(f, p, n))
            return f;
    }
    return NULL;
}

bool image_is(const void *head, size_t n)
{
    const struct image_format *f = image_sniff(head, n);
    return f && f->picture;
}
