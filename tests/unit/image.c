/* image.c - lib/image against Pillow, torchvision and transformers: the same bits; and against
 * damaged files: never wrong pixels. */
#include "image/image.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/io.h"
#include "base/sha256.h"
#include "lib/tap.h"

#include <jansson.h>
#include <unistd.h>

static const struct image_limits as_pil_image = { .no_exif = true, .alpha = IMAGE_ALPHA_WHITE };
static const struct image_limits as_plain_rgb = { .no_exif = true };

static bool load(struct buf *b, const char *name)
{
    const char *path = tap_fixture(name);
    buf_clear(b);
    return path && io_read_file(b, path, (size_t)1 << 26) == 0;
}

static int decode_fixture(struct image *im, const char *file, const struct image_limits *lim)
{
    struct buf b = { 0 };
    char name[256];
    snprintf(name, sizeof name, "images/%s", file);
    int rc = load(&b, name) ? image_decode(im, b.data, b.len, lim)
                            : err_set(ERR_NOINPUT, "%s", name);
    buf_release(&b);
    return rc;
}

/* Whether n bytes have this SHA-256. */
static bool has_sha256(const unsigned char *p, size_t n, const char *want)
{
    unsigned char digest[SHA256_BYTES];
    char hex[SHA256_HEX];
    struct sha256 *s = sha256_new();
    sha256_update(s, p, n);
    sha256_peek(s, digest);
    sha256_hex(hex, digest);
    sha256_free(s);
    return want && !strcmp(hex, want);
}

/* RGB triples as three planes: what the goldens are. */
static unsigned char *to_planes(const unsigned char *rgb, size_t count)
{
    unsigned char *p = malloc(count * 3);
    for (size_t i = 0; i < count * 3; i++)
        p[i % 3 * count + i / 3] = rgb[i];
    return p;
}

/* ---- the goldens ---- */

static bool scaled_is(const struct image *im, int w, int h, enum image_resize kind,
                      const char *sha)
{
    unsigned char *rgb = malloc((size_t)w * (size_t)h * 3);
    bool same = false;
    if (image_scale(rgb, w, h, im, kind) == 0) {
        unsigned char *planes = to_planes(rgb, (size_t)w * (size_t)h);
        same = has_sha256(planes, (size_t)w * (size_t)h * 3, sha);
        free(planes);
    }
    free(rgb);
    return same;
}

static const char *str(const json_t *o, const char *key)
{
    return json_string_value(json_object_get(o, key));
}

/* Pixels and both resizes of one image: as transformers takes a PIL.Image, and a path. */
static void check_golden(const json_t *o, int w, int h)
{
    const char *file = str(o, "file");
    struct image im, plain;
    if (decode_fixture(&im, file, &as_pil_image) < 0 ||
        decode_fixture(&plain, file, &as_plain_rgb) < 0) {
        ok(0, "%s: %s", file, err_msg());
        return;
    }
    size_t n = (size_t)im.w * (size_t)im.h * 3;
    ok(has_sha256(im.rgb, n, str(o, "rgb_sha256")) &&
           has_sha256(plain.rgb, n, str(o, "plain_rgb_sha256")),
       "%s: Pillow's pixels, alpha on white and alpha dropped", file);
    ok(scaled_is(&im, w, h, IMAGE_RESIZE_PILLOW, str(o, "resized_pil_sha256")),
       "%s: Pillow's bicubic to %d x %d", file, w, h);
    ok(scaled_is(&im, w, h, IMAGE_RESIZE_TORCHVISION, str(o, "resized_sha256")),
       "%s: torchvision's bicubic to %d x %d", file, w, h);
    image_release(&im);
    image_release(&plain);
}

static void test_goldens(const char *name)
{
    struct buf b = { 0 };
    char path[256];
    snprintf(path, sizeof path, "golden/%s/preprocess.json", name);
    json_t *root = load(&b, path) ? json_loadb((char *)b.data, b.len, 0, NULL) : NULL;
    if (!root)
        skip("no preprocess.json");
    const json_t *size = json_object_get(root, "size"), *one;
    int h = (int)json_integer_value(json_array_get(size, 0));
    int w = (int)json_integer_value(json_array_get(size, 1));
    size_t i;
    json_array_foreach(json_object_get(root, "images"), i, one)
    {
        const char *file = str(one, "file");
        snprintf(path, sizeof path, "images/%s", file);
        if (!strcmp(file, "gray16.png") || !strcmp(file, "lzw.tiff"))
            continue; /* deliberately otherwise: test_choices() */
        if (tap_fixture(path))
            check_golden(one, w, h);
    }
    json_decref(root);
    buf_release(&b);
}

/* The bytes of a tensor of a safetensors file in memory. */
static const unsigned char *tensor_in(const struct buf *b, const char *name)
{
    uint64_t n;
    memcpy(&n, b->data, 8);
    json_t *root = json_loadb((char *)b->data + 8, n, 0, NULL);
    const json_t *at = json_object_get(json_object_get(root, name), "data_offsets");
    const unsigned char *p = at ? b->data + 8 + n + json_integer_value(json_array_get(at, 0))
                                : NULL;
    json_decref(root);
    return p;
}

static void check_u8(const struct buf *b, const char *tensor, const char *file, int side,
                     enum image_resize kind)
{
    char name[256];
    struct image im;
    snprintf(name, sizeof name, "%s/%s", tensor, file);
    const unsigned char *want = tensor_in(b, name);
    size_t count = (size_t)side * (size_t)side;
    unsigned char *rgb = malloc(count * 3);
    if (want && decode_fixture(&im, file, NULL) == 0) {
        image_scale(rgb, side, side, &im, kind);
        unsigned char *planes = to_planes(rgb, count);
        ok(!memcmp(planes, want, count * 3), "%s: as transformers does by path", name);
        free(planes);
        image_release(&im);
    }
    free(rgb);
}

static void check_values(const struct buf *b, const char *tensor, const char *file,
                         const struct image_processor *p)
{
    char name[256];
    struct image im;
    struct arena mem;
    struct tensor t;
    arena_init(&mem);
    snprintf(name, sizeof name, "%s/%s", tensor, file);
    const unsigned char *want = tensor_in(b, name);
    if (want && decode_fixture(&im, file, &as_pil_image) == 0) {
        ok(image_pixel_values(&t, p, &im, &mem) == 0 &&
               !memcmp(t.data, want, (size_t)p->height * (size_t)p->width * 12),
           "%s: pixel_values, every bit", name);
        image_release(&im);
    }
    arena_release(&mem);
}

/* Default policies (EXIF applied, alpha dropped) and pixel_values. */
static void test_values(const char *name)
{
    static const char *const files[] = { "astronaut.png", "coffee.png",       "rgba.png",
                                         "la.png",        "palette_trns.png", "exif6.jpg" };
    char path[256], dir[512];
    struct buf b = { 0 };
    struct image_processor p = { .resize = IMAGE_RESIZE_TORCHVISION }, pil = { 0 };
    snprintf(path, sizeof path, "checkpoints/%s/preprocessor_config.json", name);
    const char *config = tap_fixture(path);
    snprintf(path, sizeof path, "golden/%s/preprocess.safetensors", name);
    if (!config || !load(&b, path)) {
        skip("no preprocess.safetensors");
        return;
    }
    snprintf(dir, sizeof dir, "%.*s", (int)(strrchr(config, '/') - config), config);
    ok(image_processor_read(&p, dir) == 0 && image_processor_read(&pil, dir) == 0,
       "%s: the processor's settings are read", name);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        check_values(&b, "pixel_values", files[i], &p);
        check_values(&b, "pixel_values_pil", files[i], &pil);
        check_u8(&b, "u8_exif_applied", files[i], p.width, p.resize);
        check_u8(&b, "u8_pil_exif_applied", files[i], p.width, pil.resize);
        check_u8(&b, "u8_alpha_dropped", files[i], p.width, p.resize);
        check_u8(&b, "u8_pil_alpha_dropped", files[i], p.width, pil.resize);
    }
    buf_release(&b);
}

/* ---- what is refused, and how it is said ---- */

static void refuse(const char *file, const char *text)
{
    struct image im;
    char name[256];
    snprintf(name, sizeof name, "images/%s", file);
    if (!tap_fixture(name))
        skip(name);
    else
        fails(decode_fixture(&im, file, NULL), ERR_DATA, text);
}

static void test_bad(void)
{
    refuse("bad/bad_crc.png", "PNG: damaged: wrong checksum of chunk");
    refuse("bad/bad_crc_ihdr.png", "PNG: damaged: wrong checksum of chunk IHDR at offset 8");
    refuse("bad/bad_deflate.png", "PNG: damaged");
    refuse("bad/empty.png", "empty, expected an image");
    refuse("bad/huge_60000x60000.png",
           "PNG: 60000 x 60000 pixels, more than the limit of 178956970");
    refuse("bad/huge_65500x65500.jpg", "JPEG: 65500 x 65500 pixels, more than the limit");
    refuse("bad/huge_99999999.ppm", "PNM: 99999999 x 99999999 pixels, more than the limit");
    refuse("bad/random.bin", "not an image");
    refuse("bad/random_after_soi.jpg", "JPEG: ");
    refuse("bad/text.png", "not an image");
    refuse("bad/truncated.bmp", "BMP: truncated: 4946 bytes of pixels, expected 101916");
    refuse("bad/truncated.gif", "GIF: truncated at pixel");
    refuse("bad/truncated.jpg", "JPEG: truncated");
    refuse("bad/truncated.png", "PNG: truncated: chunk IDAT");
    refuse("bad/truncated_header.jpg", "JPEG: truncated");
    refuse("bad/truncated_interlaced.png", "PNG: truncated: chunk IDAT");
    refuse("bad/zero_width.png", "PNG: 0 x ");
    refuse("lzw.tiff", "TIFF, not read here; convert it first");
}

static int decode_text(const char *s, size_t n, const struct image_limits *lim)
{
    struct image im;
    int rc = image_decode(&im, s, n, lim);
    if (rc == 0)
        image_release(&im);
    return rc;
}

#define TEXT(s) s, sizeof(s) - 1

/* What Pillow 13 opens and is not read here: how such files begin. (IMT and SPIDER begin in no
 * way of their own.) */
static void test_pillows(void)
{
    static const struct {
        const char *head, *name;
        size_t n, at;
    } head[] = {
#define HEAD(name, at, s) { s, name, sizeof(s) - 1, at }
        HEAD("AVIF", 4, "ftypavis"),
        HEAD("BLP", 0, "BLP2"),
        HEAD("BUFR", 0, "BUFR"),
        HEAD("cursor", 0, "\0\0\2\0\1\0\x20\x20"),
        HEAD("DCX", 0, "\xb1\x68\xde\x3a"),
        HEAD("DDS", 0, "DDS "),
        HEAD("DIB", 0, "\x28\0\0\0\2\0\0\0\2\0\0\0\1\0\x18\0"),
        HEAD("PostScript", 0, "%!PS-Adobe-3.0 EPSF"),
        HEAD("PostScript", 0, "\xc5\xd0\xd3\xc6"),
        HEAD("FITS", 0, "SIMPLE  ="),
        HEAD("FLI", 0, "\0\0\0\0\x12\xaf\1\0\2\0\2\0\x08\0\3\0"),
        HEAD("FTEX", 0, "FTEX"),
        HEAD("GIMP brush", 20, "GIMP"),
        HEAD("GRIB", 0, "GRIB"),
        HEAD("HDF5", 0, "\x89HDF\r\n\x1a\n"),
        HEAD("icon", 0, "icns"),
        HEAD("icon", 0, "\0\0\1\0"),
        HEAD("IM", 0, "Image type: RGB image\r\n"),
        HEAD("IPTC", 0, "\x1c\1\x5a"),
        HEAD("JPEG 2000", 4, "jP  \r\n"),
        HEAD("McIdas", 0, "\0\0\0\0\0\0\0\4"),
        HEAD("video", 0, "\0\0\1\xb3"),
        HEAD("MSP", 0, "LinS"),
        HEAD("Kodak Photo CD", 2048, "PCD_"),
        HEAD("PCX", 0, "\x0a\5\1\x08"),
        HEAD("PIXAR", 0, "\200\350\0\0"),
        HEAD("PFM", 0, "Pf\n2 2\n"),
        HEAD("plain PNM", 0, "P3\n2 2\n"),
        HEAD("Photoshop", 0, "8BPS"),
        HEAD("QOI", 0, "qoif"),
        HEAD("SGI", 0, "\1\xda"),
        HEAD("Sun raster", 0, "\x59\xa6\x6a\x95"),
        HEAD("TGA", 0, "\0\0\2\0\0\0\0\0\0\0\0\0\2\0\2\0\x18\0"),
        HEAD("TIFF", 0, "MM\0+"),
        HEAD("WMF", 0, "\xd7\xcd\xc6\x9a"),
        HEAD("EMF", 40, " EMF"),
        HEAD("XBM", 0, "#define im_width 2\n"),
        HEAD("XPM", 0, "/* XPM */"),
        HEAD("XV thumbnail", 0, "P7 332\n"),
#undef HEAD
    };
    for (size_t i = 0; i < sizeof head / sizeof *head; i++) {
        char file[2100] = "", want[64];
        memset(file, 'x', head[i].at);
        memcpy(file + head[i].at, head[i].head, head[i].n);
        snprintf(want, sizeof want, "%s, not read here; ", head[i].name);
        fails(decode_text(file, sizeof file, NULL), ERR_DATA, want);
    }
    ok(!image_is(TEXT("#define X 1\n#include <stdio.h>\n")), "a C header is no XBM");
}

static void test_named(void)
{
    fails(decode_text(TEXT("\0\0\0\x18"
                           "ftypheic...."),
                      NULL),
          ERR_DATA,
          "HEIC, not read here; "
          "convert it first: heif-convert");
    fails(decode_text(TEXT("\0\0\0\x18"
                           "ftypavif...."),
                      NULL),
          ERR_DATA, "AVIF, not read here");
    fails(decode_text(TEXT("\0\0\0\x18"
                           "ftypisom...."),
                      NULL),
          ERR_DATA, "video, not read");
    fails(decode_text(TEXT("\xff\x0a......"), NULL), ERR_DATA, "JPEG XL, not read here");
    fails(decode_text(TEXT("8BPS...."), NULL), ERR_DATA, "Photoshop, not read here");
    fails(decode_text(TEXT("%PDF-1.4"), NULL), ERR_DATA, "PDF, not read here");
    fails(decode_text(TEXT("version https://git-lfs.github.com/spec/v1\n"), NULL), ERR_DATA,
          "git-lfs pointer, not read here; fetch the file it stands for: git lfs pull");
    test_pillows();
    fails(decode_text(TEXT("P5 2 2 0\n1234"), NULL), ERR_DATA, "PNM: maximum 0");
    fails(decode_text(TEXT("P6 -1 2 255\n1234"), NULL), ERR_DATA, "PNM: width is not a number");
    fails(decode_text(TEXT("BM........\x36\0\0\0\x28\0\0\0\1\0\0\0\1\0\0\0\1\0\x20\0\4\0"
                           "\0\0...................."),
                      NULL),
          ERR_DATA, "BMP: compression 4 with 32 bits, not read here");
    ok(image_is("II*\0", 4) && !image_is("%PDF-1.4", 8) && !image_is("BM, a text", 10) &&
           !image_is("P5", 2),
       "pictures are told from other files");
    ok(decode_text(TEXT("P5 2 2 255\n1234"), &(struct image_limits){ .pixels = 4 }) == 0,
       "an image of exactly the limit");
    fails(decode_text(TEXT("P5 2 2 255\n1234"), &(struct image_limits){ .pixels = 3 }),
          ERR_DATA, "2 x 2 pixels, more than the limit of 3");
}

/* ---- every cut, every flipped bit ---- */

static bool same_image(const struct image *a, const struct image *b)
{
    return a->w == b->w && a->h == b->h &&
           !memcmp(a->rgb, b->rgb, (size_t)a->w * (size_t)a->h * 3);
}

/* Prefixes of a file (in a block of that very size, for the sanitizer): refused, or, where only
 * what follows the image is missing, the same pixels. */
static void cut(const struct buf *b, const char *name)
{
    struct image whole, part;
    long wrong = 0, taken = 0, silent = 0;
    if (image_decode(&whole, b->data, b->len, NULL) < 0) {
        ok(0, "%s: %s", name, err_msg());
        return;
    }
    size_t step = b->len > 9000 ? 31 : 1;
    for (size_t n = 0; n<b->len; n += n> 400 && n < b->len - 400 ? step : 1) {
        unsigned char *p = memcpy(malloc(n ? n : 1), b->data, n);
        err_clear();
        if (image_decode(&part, p, n, NULL) == 0) {
            taken++;
            wrong += !same_image(&whole, &part);
            image_release(&part);
        } else {
            silent += err_kind() != ERR_DATA || !*err_msg();
        }
        free(p);
    }
    ok(wrong == 0 && silent == 0, "%s, cut at every offset: never other pixels (%ld taken)",
       name, taken);
    image_release(&whole);
}

static void cut_file(const char *file)
{
    struct buf b = { 0 };
    char name[256];
    snprintf(name, sizeof name, "images/%s", file);
    if (load(&b, name))
        cut(&b, file);
    else
        skip(name);
    buf_release(&b);
}

static void test_cuts(void)
{
    static const char *const files[] = { "one_pixel.png", "wide_500x3.png", "palette4bit.png",
                                         "bilevel.png",   "gray.jpg",       "progressive.jpg",
                                         "restart.jpg",   "exif6.jpg",      "odd_422.jpg",
                                         "lossy.webp",    "lossless.webp",  "frame.gif",
                                         "animated.gif",  "palette.bmp",    "rgb24.bmp",
                                         "p5.pgm",        "p6_comment.ppm", "cmyk.jpg" };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        cut_file(files[i]);
}

/* One byte changed in a PNG is always noticed: even in chunks that do not touch the pixels. */
static void flip_png(const char *file)
{
    struct buf b = { 0 };
    char name[256];
    struct image im;
    long accepted = 0;
    snprintf(name, sizeof name, "images/%s", file);
    if (!load(&b, name)) {
        skip(name);
        return;
    }
    for (size_t i = 0; i < b.len; i++)
        for (int bit = 0; bit < 8; bit++) {
            b.data[i] ^= (unsigned char)(1 << bit);
            if (image_decode(&im, b.data, b.len, NULL) == 0) {
                accepted++;
                image_release(&im);
            }
            b.data[i] ^= (unsigned char)(1 << bit);
        }
    ok(accepted == 0, "%s: every flipped bit is noticed (%ld were not)", file, accepted);
    buf_release(&b);
}

/* Other formats have no checksums: a flip may change pixels, but never does harm (sanitizers).
 */
static void flip_other(const char *file)
{
    struct buf b = { 0 };
    char name[256];
    struct image im;
    long silent = 0;
    snprintf(name, sizeof name, "images/%s", file);
    if (!load(&b, name)) {
        skip(name);
        return;
    }
    const struct image_limits lim = { .pixels = 1 << 20 };
    for (size_t i = 0; i < b.len; i += i < 700 ? 1 : b.len / 150) {
        b.data[i] ^= (unsigned char)(i * 37 | 1);
        err_clear();
        if (image_decode(&im, b.data, b.len, &lim) == 0)
            image_release(&im);
        else
            silent += err_kind() == ERR_NONE || !*err_msg();
        b.data[i] ^= (unsigned char)(i * 37 | 1);
    }
    ok(silent == 0, "%s with changed bytes: decoded or refused with a reason", file);
    buf_release(&b);
}

/* Checksums made right again: what a hostile file would do. */
static void seal_png(struct buf *b)
{
    for (size_t at = 8; at + 12 <= b->len;) {
        unsigned char *p = b->data + at;
        size_t len = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
        if (len > b->len - at - 12)
            return;
        uint32_t c = 0xffffffff;
        for (size_t i = 4; i < len + 8; i++)
            for (int k = 0; k < 8; k++)
                c = ((c ^ p[i] >> k) & 1 ? 0xedb88320 : 0) ^ c >> 1;
        c = ~c;
        for (int k = 0; k < 4; k++)
            p[len + 8 + (size_t)k] = (unsigned char)(c >> (24 - 8 * k));
        at += len + 12;
    }
}

static void flip_sealed(const char *file)
{
    struct buf b = { 0 };
    char name[256];
    long silent = 0, refused = 0;
    snprintf(name, sizeof name, "images/%s", file);
    for (size_t i = 8; load(&b, name) && i < b.len; i += i < 900 ? 1 : b.len / 100) {
        struct image im;
        b.data[i] ^= (unsigned char)(i * 37 | 1);
        seal_png(&b);
        err_clear();
        if (image_decode(&im, b.data, b.len, &(struct image_limits){ .pixels = 1 << 20 }) == 0)
            image_release(&im);
        else
            refused++, silent += err_kind() == ERR_NONE || !*err_msg();
    }
    ok(silent == 0 && (refused > 0 || b.len == 0),
       "%s with changed bytes and right checksums: decoded or refused with a reason", file);
    buf_release(&b);
}

static void test_flips(void)
{
    flip_sealed("tall_3x500.png");
    flip_sealed("palette4bit.png");
    flip_sealed("palette_trns.png");
    flip_sealed("bilevel.png");
    flip_sealed("interlaced.png");
    flip_sealed("rgb16.png");
    flip_png("one_pixel.png");
    flip_png("wide_500x3.png");
    flip_png("tall_3x500.png");
    flip_other("exif6.jpg");
    flip_other("progressive.jpg");
    flip_other("cmyk.jpg");
    flip_other("lossy.webp");
    flip_other("lossless.webp");
    flip_other("frame.gif");
    flip_other("palette.bmp");
    flip_other("p6_comment.ppm");
}

/* ---- small things by hand ---- */

/* The golden for orientation 6 fixes one of the eight turns; the others follow from it: each is
 * made by the same two flips and one transposition. */
static unsigned char *orientation_in(struct buf *file)
{
    unsigned char *tag = memmem(file->data, file->len, "\x12\1\3\0\1\0\0\0", 8);
    return tag ? tag + 8
               : (unsigned char *)memmem(file->data, file->len, "\1\x12\0\3\0\0\0\1\0", 9) + 9;
}

/* Pixel (x, y) of an image that is stored w * h, by EXIF 2.3's table: where row 0 and column 0
 * of the stored image are in the picture. */
static bool turned_right(const struct image *stored, const struct image *up, int o)
{
    for (int y = 0; y < stored->h; y++)
        for (int x = 0; x < stored->w; x++) {
            bool row_end = o == 3 || o == 4 || o == 6 || o == 7; /* bottom or right */
            bool column_end = o == 2 || o == 3 || o == 7 || o == 8;
            int a = column_end ? stored->w - 1 - x : x, b = row_end ? stored->h - 1 - y : y;
            int px = o >= 5 ? b : a, py = o >= 5 ? a : b;
            if (memcmp(stored->rgb + 3 * ((size_t)y * (size_t)stored->w + (size_t)x),
                       up->rgb + 3 * ((size_t)py * (size_t)up->w + (size_t)px), 3))
                return false;
        }
    return true;
}

static void test_orientation(void)
{
    struct buf file = { 0 };
    struct image stored, up;
    if (!load(&file, "images/exif6.jpg")) {
        skip("no exif6.jpg");
        return;
    }
    image_decode(&stored, file.data, file.len, &as_plain_rgb);
    unsigned char *word = orientation_in(&file);
    for (int o = 0; o <= 9; o++) {
        *word = (unsigned char)o;
        int rc = image_decode(&up, file.data, file.len, NULL);
        ok(rc == 0 && up.w == (o >= 5 && o <= 8 ? stored.h : stored.w) &&
               turned_right(&stored, &up, o >= 1 && o <= 8 ? o : 1),
           "EXIF orientation %d", o);
        image_release(&up);
    }
    image_release(&stored);
    buf_release(&file);
}

/* EXIF in the other two formats that carry it: a PNG chunk, and a chunk of a WebP file. */
static void test_exif_chunks(void)
{
    static const unsigned char exif[] = "MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0";
    struct buf b = { 0 }, f = { 0 };
    struct image im;
    if (!load(&b, "images/wide_500x3.png")) {
        skip("no wide_500x3.png");
        return;
    }
    buf_append(&f, b.data, 33); /* up to IHDR's end */
    buf_append(&f,
               "\0\0\0\x1a"
               "eXIf",
               8);
    buf_append(&f, exif, 26);
    buf_append(&f, "....", 4);
    buf_append(&f, b.data + 33, b.len - 33);
    seal_png(&f);
    ok(image_decode(&im, f.data, f.len, NULL) == 0 && im.w == 3 && im.h == 500, "PNG's eXIf");
    image_release(&im);
    load(&b, "images/lossless.webp");
    size_t size = b.len - 8 + 8 + 26;
    buf_append(&b, "EXIF\x1a\0\0\0", 8);
    buf_append(&b, exif, 26);
    for (int i = 0; i < 4; i++)
        b.data[4 + i] = (unsigned char)(size >> (8 * i));
    ok(image_decode(&im, b.data, b.len, NULL) == 0 && im.w == 149 && im.h == 227,
       "WebP's EXIF");
    image_release(&im);
    buf_release(&b);
    buf_release(&f);
}

/* Where we differ from Pillow on purpose, or there is no golden. */
static void test_choices(void)
{
    struct image deep, flat;
    if (decode_fixture(&deep, "gray16.png", NULL) == 0 &&
        decode_fixture(&flat, "gray.png", NULL) == 0) {
        int most = 0;
        for (int i = 0; i < deep.w * deep.h * 3; i++)
            most = abs(deep.rgb[i] - flat.rgb[i]) > most ? abs(deep.rgb[i] - flat.rgb[i])
                                                         : most;
        ok(most == 1, "16-bit grey keeps the high byte (Pillow: white); off by %d", most);
        image_release(&deep);
        image_release(&flat);
    } else {
        skip("no gray16.png");
    }
    struct image im;
    ok(image_decode(&im, TEXT("P4\n3 2\n\xa0\x40"), NULL) == 0 && im.rgb[0] == 0 &&
           im.rgb[3] == 255 && im.rgb[6] == 0 && im.rgb[9] == 255 && im.rgb[12] == 0,
       "PBM: 1 is black");
    image_release(&im);
    ok(image_decode(&im, TEXT("P5 3 1 100\n\0\x32\x64"), NULL) == 0 && im.rgb[0] == 0 &&
           im.rgb[3] == 128 && im.rgb[6] == 255,
       "PGM: the maximum is white");
    image_release(&im);
    ok(image_decode(&im, TEXT("P5 2 1 65535\n\x80\0\xff\xff"), NULL) == 0 && im.rgb[0] == 128 &&
           im.rgb[3] == 255,
       "PGM of 16 bits");
    image_release(&im);
}

/* ---- preprocessor_config.json ---- */

static int read_config(struct image_processor *p, const char *json)
{
    char dir[] = "/tmp/vqa-image-XXXXXX", path[64];
    if (!mkdtemp(dir))
        return err_set(ERR_OS, "mkdtemp");
    snprintf(path, sizeof path, "%s/preprocessor_config.json", dir);
    *p = (struct image_processor){ 0 };
    int rc = json && io_write_file(path, json, strlen(json)) < 0 ? -1
                                                                 : image_processor_read(p, dir);
    unlink(path);
    rmdir(dir);
    return rc;
}

static void test_config(void)
{
    struct image_processor p;
    ok(read_config(&p, "{}") == 0 && p.height == 384 && p.do_normalize && p.mean[0] > 0.48,
       "keys left out have the class's defaults");
    fails(read_config(&p, NULL), ERR_NOINPUT, "no preprocessor_config.json");
    fails(read_config(&p, "{"), ERR_CONFIG, "preprocessor_config.json: line 1");
    fails(read_config(&p, "{\"resample\": 2}"), ERR_CONFIG, "resample: 2, only 3 (bicubic)");
    fails(read_config(&p, "{\"size\": {\"height\": -1, \"width\": 1}}"), ERR_CONFIG,
          "size.height: expected an integer from 1 to 4096");
    fails(read_config(&p, "{\"size\": {\"shortest_edge\": 224}}"), ERR_CONFIG,
          "do_center_crop");
    fails(read_config(&p, "{\"image_std\": [1, 0, 1]}"), ERR_CONFIG, "image_std[1]");
    fails(read_config(&p, "{\"do_resize\": 1}"), ERR_CONFIG,
          "do_resize: expected true or false");
    ok(read_config(&p, "{\"size\": {\"shortest_edge\": 8}, \"do_center_crop\": true, "
                       "\"crop_size\": {\"height\": 4, \"width\": 6}}") == 0 &&
           p.shortest_edge == 8 && p.height == 4 && p.width == 6,
       "CLIP's layout");
}

int main(void)
{
    test_goldens("tiny-blip2-opt");
    test_goldens("tiny-blip2-opt-old");
    test_values("tiny-blip2-opt");
    test_values("tiny-blip2-opt-old");
    test_bad();
    test_named();
    test_cuts();
    test_flips();
    test_orientation();
    test_exif_chunks();
    test_choices();
    test_config();
    return tap_done();
}
