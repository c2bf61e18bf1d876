/* page.c - see page.h. */
#include "front/page.h"

#include "base/base64.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/utf8.h"
#include "front/show.h"
#include "image/image.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Colours by name, once for light and once for dark; widths from 390 pixels on. */
static const char style[] =
    ":root{color-scheme:light dark;--fg:#1b1d22;--bg:#fafafa;--card:#fff;--dim:#5d6470;"
    "--line:#dcdfe5;--a:#dbeafe;--b:#fde9cf;--s:#ecd9f7;--bar:#4f7fd9}"
    "@media(prefers-color-scheme:dark){:root{--fg:#e6e8ec;--bg:#15171b;--card:#1f2228;"
    "--dim:#9aa2b1;--line:#363b45;--a:#1f3a5f;--b:#553c16;--s:#46295a;--bar:#6c9bf0}}"
    "*{box-sizing:border-box}"
    "body{margin:0 auto;max-width:64rem;padding:1rem;font:16px/1.5 system-ui,sans-serif;"
    "color:var(--fg);background:var(--bg);overflow-wrap:anywhere}"
    "h1{font-size:1.5rem;line-height:1.25;margin:.5rem 0}h2{font-size:1.15rem;margin:2rem 0 .25rem}"
    "p{margin:.25rem 0 .75rem}.dim{color:var(--dim);font-size:.9rem}"
    ".answer{font-size:1.35rem;font-weight:600;margin:.25rem 0;padding:.5rem .9rem;"
    "background:var(--card);border:1px solid var(--line);border-left:.3rem solid var(--bar);"
    "border-radius:.4rem}"
    ".maps{display:grid;gap:.75rem;grid-template-columns:repeat(auto-fill,minmax(9rem,1fr))}"
    ".small{gap:.4rem;grid-template-columns:repeat(auto-fill,minmax(5.2rem,1fr))}"
    "figure{margin:0}figcaption{font-size:.85rem;color:var(--dim);line-height:1.3}"
    ".pic{background-size:100% 100%;border-radius:.3rem;overflow:hidden;line-height:0}"
    ".pic img,.whole{width:100%;height:100%;display:block}.whole{border-radius:.3rem;height:auto}"
    ".chips{display:flex;flex-wrap:wrap;gap:.3rem}"
    ".chip{border-radius:.3rem;padding:.1rem .4rem;background:var(--a);text-align:center;"
    "font-family:ui-monospace,monospace;white-space:pre-wrap}"
    ".chip small{display:block;color:var(--dim);font-size:.75rem}"
    ".odd{background:var(--b)}.special{background:var(--s)}.cont{margin-left:-.25rem;"
    "border-left:2px dashed var(--dim);border-top-left-radius:0;border-bottom-left-radius:0}"
    ".scroll{overflow-x:auto}"
    "table{border-collapse:collapse;width:100%;font-size:.95rem;overflow-wrap:normal}"
    "th{text-align:left;font-weight:600;color:var(--dim);font-size:.85rem}"
    "th,td{padding:.3rem .5rem;border-bottom:1px solid var(--line);vertical-align:top}"
    "td.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}"
    "code{font-family:ui-monospace,monospace;white-space:pre-wrap}"
    "td.wide{width:99%;min-width:5rem;vertical-align:middle}td.token,td.token code{white-space:pre}"
    ".bar{display:block;height:.45rem;border-radius:.2rem;background:var(--bar);min-width:1px}"
    ".others span{display:inline-block;margin-right:.8rem}";

int page_open(struct page *p, const char *path, const char *title)
{
    *p = (struct page){ .f = NULL };
    if (outfile_open(&p->file, path) < 0)
        return -1;
    int fd = dup(p->file.fd);
    p->f = fd < 0 ? NULL : fdopen(fd, "w");
    if (!p->f)
        return err_sys(ERR_OS, "%s", path);
    page_put(p, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
                "img-src data:; style-src 'unsafe-inline'\">\n"
                "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                "<link rel=\"icon\" href=\"data:,\">\n<title>");
    page_text(p, title, strlen(title));
    page_put(p, "</title>\n<style>%s</style>\n</head>\n<body>\n", style);
    return 0;
}

int page_close(struct page *p, bool whole)
{
    if (!p->f) {
        outfile_discard(&p->file);
        return 0;
    }
    page_put(p, "</body>\n</html>\n");
    int bad = ferror(p->f) | fclose(p->f);
    p->f = NULL;
    if (bad)
        err_sys(ERR_IO, "%s", p->file.path);
    if (bad || p->failed || !whole) {
        outfile_discard(&p->file);
        return bad || p->failed ? -1 : 0;
    }
    return outfile_publish(&p->file);
}

void page_put(struct page *p, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vfprintf(p->f, fmt, ap);
    va_end(ap);
}

/* ---- text ---- */

static void put_char(FILE *f, const char *s, size_t len)
{
    static const char *const of[128] = {
        ['<'] = "&lt;", ['>'] = "&gt;", ['&'] = "&amp;", ['"'] = "&quot;", ['\''] = "&#39;"
    };
    unsigned char c = (unsigned char)*s;
    if (len == 0 || (c < 0x20 && c != '\n' && c != '\t') || c == 0x7f)
        fputs("&#xfffd;", f);
    else if (len == 1 && of[c])
        fputs(of[c], f);
    else
        fwrite(s, 1, len, f);
}

void page_text(struct page *p, const char *s, size_t n)
{
    for (size_t i = 0, len; i < n; i += len ? len : 1) {
        len = utf8_char(s + i, n - i);
        put_char(p->f, s + i, len);
    }
}

void page_shown(struct page *p, const char *s, size_t n)
{
    struct buf b = { 0 };
    if (show_text(&b, s, n, NULL) < 0)
        p->failed = 1;
    page_text(p, (const char *)b.data, b.len);
    buf_release(&b);
}

/* ---- pictures ---- */

void page_data(struct page *p, const char *type, const void *bytes, size_t n)
{
    struct buf b = { 0 };
    if (base64_append(&b, bytes, n) < 0)
        p->failed = 1;
    fprintf(p->f, "data:%s;base64,", type);
    fwrite(b.data, 1, b.len, p->f);
    buf_release(&b);
}

void page_png(struct page *p, const unsigned char *pixels, int w, int h, int channels)
{
    struct buf png = { 0 };
    if (image_write_png(&png, pixels, w, h, channels) < 0)
        p->failed = 1;
    page_data(p, "image/png", png.data, png.len);
    buf_release(&png);
}

/* A veil that is lifted where v, 0 to 1, is large, and warm there. */
static void veil(unsigned char rgba[4], double v)
{
    static const double dark[4] = { 8, 10, 30, 0.80 }, light[4] = { 255, 170, 40, 0.18 };
    for (int c = 0; c < 3; c++)
        rgba[c] = (unsigned char)(dark[c] + (light[c] - dark[c]) * v * v);
    rgba[3] = (unsigned char)(255 * (dark[3] + (light[3] - dark[3]) * v));
}

void page_map(struct page *p, const float *weights)
{
    int n = p->h * p->w;
    unsigned char *rgba = malloc((size_t)n * 4);
    float least = weights[1], most = weights[1];
    for (int i = 1; i <= n; i++) {
        least = weights[i] < least ? weights[i] : least;
        most = weights[i] > most ? weights[i] : most;
    }
    for (int i = 0; rgba && i < n; i++)
        veil(rgba + 4 * i,
             most > least ? (weights[i + 1] - least) / (double)(most - least) : 0);
    page_put(p, "<div class=\"pic\"><img alt=\"\" src=\"");
    if (rgba)
        page_png(p, rgba, p->w, p->h, 4);
    else
        p->failed = err_nomem("a map") < 0;
    page_put(p, "\"></div>");
    free(rgba);
}
