/* page.h - one HTML page that needs nothing besides itself: no script, no network (its
 * Content-Security-Policy forbids both), pictures as data.
 *
 * Text of other people goes through page_text() alone. Errors are sticky, as ferror()'s are:
 * page_close() tells of them. */
#ifndef FRONT_PAGE_H
#define FRONT_PAGE_H

#include "base/outfile.h"
#include "tensor/tensor.h"

#include <stdint.h>
#include <stdio.h>

struct page {
    struct outfile file;
    FILE *f;
    int failed;
    int h, w; /* of the grid of patches */
};

/* Begins the file, which appears whole or not at all. title: text. */
int page_open(struct page *p, const char *path, const char *title);

/* Ends and publishes it; without `whole`, or after a failure, it leaves no file. -1 with err
 * set if anything could not be written. */
int page_close(struct page *p, bool whole);

/* Markup of ours, as printf. */
void page_put(struct page *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Text, escaped: as it is, and with what a person cannot see as \n, \xNN. */
void page_text(struct page *p, const char *s, size_t n);
void page_shown(struct page *p, const char *s, size_t n);

/* "data:image/png;base64,...": pixels of 3 or 4 channels; and any file of that type. */
void page_png(struct page *p, const unsigned char *pixels, int w, int h, int channels);
void page_data(struct page *p, const char *type, const void *bytes, size_t n);

/* The picture with weights (1 + h w) of the class token and the patches over it: the light is
 * where the most of them is, each map by its own scale. */
void page_map(struct page *p, const float *weights);

#endif
