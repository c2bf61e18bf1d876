/* jpeg.c - JPEG by libjpeg-turbo with its defaults (slow integer DCT, fancy upsampling), which
 * are Pillow's: the same bits. Damage is an error here, where Pillow goes on with grey. */
#include "base/err.h"
#include "image/codec.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

#include <jerror.h>

#define SCANS_MOST 100 /* progressive scans; each may cost a pass over the whole image */

struct jpeg {
    struct jpeg_decompress_struct c;
    struct jpeg_error_mgr err;
    struct jpeg_progress_mgr progress;
    jmp_buf fail;
    unsigned char *row; /* one CMYK line */
};

/* libjpeg gives a j_common_ptr to what begins with it; ours hangs on client_data. */
static _Noreturn void give_up(j_common_ptr c)
{
    struct jpeg *j = c->client_data;
    char text[JMSG_LENGTH_MAX];
    int code = c->err->msg_code;
    c->err->format_message(c, text);
    if (code == JERR_OUT_OF_MEMORY)
        err_nomem("a JPEG image");
    else if (code == JWRN_JPEG_EOF || code == JERR_INPUT_EOF || code == JWRN_HIT_MARKER)
        err_set(ERR_DATA, "truncated (%s)", text);
    else
        err_set(ERR_DATA, "%s", text);
    longjmp(j->fail, 1);
}

/* Warnings mean wrong pixels, but for these, after which the image is whole. */
static void emit_message(j_common_ptr c, int level)
{
    int code = c->err->msg_code;
    if (level < 0 && code != JWRN_EXTRANEOUS_DATA && code != JWRN_JFIF_MAJOR &&
        code != JWRN_ADOBE_XFORM && code != JWRN_BOGUS_ICC)
        give_up(c);
}

static void count_scans(j_common_ptr c)
{
    struct jpeg *j = c->client_data;
    if (((j_decompress_ptr)c)->input_scan_number > SCANS_MOST) {
        err_set(ERR_DATA, "more than %d scans", SCANS_MOST);
        longjmp(j->fail, 1);
    }
}

static void find_orientation(struct image_source *src, jpeg_saved_marker_ptr m)
{
    for (; m; m = m->next)
        if (m->data_length > 6 && !memcmp(m->data, "Exif\0", 6)) {
            src->orientation = image_exif_orientation(m->data, m->data_length);
            return;
        }
}

/* Adobe's CMYK is stored inverted, and Pillow takes every CMYK JPEG for one of Adobe's. */
static void cmyk_to_rgb(unsigned char *rgb, const unsigned char *cmyk, size_t count)
{
    for (size_t i = 0; i < count; i++, cmyk += 4)
        for (int c = 0; c < 3; c++) {
            unsigned k = cmyk[3], t = (255u - cmyk[c]) * k + 128;
            int v = (int)k - (int)(((t >> 8) + t) >> 8);
            *rgb++ = (unsigned char)(v < 0 ? 0 : v);
        }
}

static void read_rows(struct image *out, struct jpeg *j)
{
    size_t stride = (size_t)out->w * 3;
    while (j->c.output_scanline < j->c.output_height) {
        unsigned char *rgb = out->rgb + stride * j->c.output_scanline;
        unsigned char *line = j->row ? j->row : rgb;
        jpeg_read_scanlines(&j->c, &line, 1);
        if (j->row)
            cmyk_to_rgb(rgb, line, (size_t)out->w);
    }
}

/* The components as RGB or, what libjpeg does not convert further, CMYK. */
static int choose_colours(struct jpeg *j)
{
    int n = j->c.num_components;
    if (n != 1 && n != 3 && n != 4)
        return err_set(ERR_DATA, "%d components, expected 1, 3 or 4", n);
    j->c.out_color_space = n == 4 ? JCS_CMYK : JCS_RGB;
    if (n == 4 && !(j->row = malloc((size_t)j->c.image_width * 4)))
        return err_nomem("a line of pixels");
    return 0;
}

static int decode(struct image *out, struct image_source *src, struct jpeg *j)
{
    jpeg_create_decompress(&j->c);
    j->c.client_data = j;
    j->c.progress = &j->progress;
    j->progress.progress_monitor = count_scans;
    jpeg_mem_src(&j->c, src->p, src->n);
    jpeg_save_markers(&j->c, JPEG_APP0 + 1, 0xffff);
    jpeg_read_header(&j->c, TRUE);
    find_orientation(src, j->c.marker_list);
    if (image_begin(out, j->c.image_width, j->c.image_height, src->lim) < 0 ||
        choose_colours(j) < 0)
        return -1;
    jpeg_start_decompress(&j->c);
    read_rows(out, j);
    jpeg_finish_decompress(&j->c); /* reads on to the EOI marker: it must be there */
    return 0;
}

int image_jpeg(struct image *out, struct image_source *src)
{
    struct jpeg *j = calloc(1, sizeof *j);
    if (!j)
        return err_nomem("a JPEG decoder");
    j->c.err = jpeg_std_error(&j->err);
    j->c.client_data = j;
    j->err.error_exit = give_up;
    j->err.emit_message = emit_message;
    int rc = setjmp(j->fail) ? -1 : decode(out, src, j);
    jpeg_destroy_decompress(&j->c);
    free(j->row);
    free(j);
    return rc;
}

#define TEXT_OF(x) #x
#define TEXT(x)    TEXT_OF(x)

const char *image_jpeg_version(void)
{
    return "libjpeg-turbo " TEXT(LIBJPEG_TURBO_VERSION);
}
