/* sidecar.c - see sidecar.h. */
#include "front/sidecar.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/io.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define XMP_MAX ((size_t)1 << 20)
#define TOOLKIT "x:xmptk=\"vqatools\""

const char *const sidecar_words[] = { "txt", "xmp", "xmp:stem", NULL };

enum sidecar sidecar_of(const char *word)
{
    int i = 0;
    while (word && sidecar_words[i] && strcmp(word, sidecar_words[i]))
        i++;
    return word && sidecar_words[i] ? (enum sidecar)i : SIDECAR_NONE;
}

/* The name without its last ending: "d.x/a.b.jpg" gives "d.x/a.b", ".jpg" itself. */
static size_t stem(const char *image)
{
    const char *slash = strrchr(image, '/'), *base = slash ? slash + 1 : image,
               *dot = strrchr(base, '.');
    return dot && dot != base ? (size_t)(dot - image) : strlen(image);
}

bool sidecar_path(char *path, size_t n, const char *image, enum sidecar kind)
{
    size_t len = kind == SIDECAR_XMP ? strlen(image) : stem(image);
    int got = snprintf(path, n, "%.*s.%s", (int)len, image,
                       kind == SIDECAR_TXT ? "txt" : "xmp");
    return got > 0 && (size_t)got < n;
}

bool sidecar_is_there(const char *image, enum sidecar kind)
{
    char path[4096];
    struct stat st;
    return sidecar_path(path, sizeof path, image, kind) && lstat(path, &st) == 0;
}

/* ---- XMP ---- */

/* Text of an XML element; characters that XML cannot hold become blanks. */
static int put_xml(struct buf *b, const char *s, size_t n)
{
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++) {
        unsigned char c = (unsigned char)s[i];
        rc = c == '&'   ? buf_puts(b, "&amp;")
             : c == '<' ? buf_puts(b, "&lt;")
             : c == '>' ? buf_puts(b, "&gt;")
                        : buf_putc(b, c < ' ' && c != '\n' && c != '\t' ? ' ' : c);
    }
    return rc;
}

static int put_xmp(struct buf *b, const char *s, size_t n)
{
    if (buf_puts(b, "<?xpacket begin=\"\xef\xbb\xbf\" id=\"W5M0MpCehiHzreSzNTczkc9d\"?>\n"
                    "<x:xmpmeta xmlns:x=\"adobe:ns:meta/\" " TOOLKIT ">\n"
                    " <rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\">\n"
                    "  <rdf:Description rdf:about=\"\""
                    " xmlns:dc=\"http://purl.org/dc/elements/1.1/\">\n"
                    "   <dc:description>\n    <rdf:Alt>\n"
                    "     <rdf:li xml:lang=\"x-default\">") < 0 ||
        put_xml(b, s, n) < 0)
        return -1;
    return buf_puts(b, "</rdf:li>\n    </rdf:Alt>\n   </dc:description>\n"
                       "  </rdf:Description>\n </rdf:RDF>\n</x:xmpmeta>\n"
                       "<?xpacket end=\"w\"?>\n");
}

/* Whether an XMP file was made here. */
static bool is_ours(const char *path)
{
    struct buf b = { 0 };
    bool ours = io_is_file(path) && io_read_file(&b, path, XMP_MAX) == 0 && buf_str(&b) &&
                strstr((const char *)b.data, TOOLKIT);
    buf_release(&b);
    err_clear();
    return ours;
}

static int check(const char *image, const char *path, enum sidecar kind, bool overwrite)
{
    if (!sidecar_is_there(image, kind))
        return 0;
    if (!overwrite)
        return err_set(ERR_DATA,
                       "%s: is there already; --skip-existing leaves such pictures "
                       "out, --overwrite replaces it",
                       path);
    if (kind != SIDECAR_TXT && !is_ours(path))
        return err_set(ERR_DATA, "%s: made by another program, so not replaced", path);
    return 0;
}

int sidecar_write(const char *image, enum sidecar kind, const char *text, size_t n,
                  bool overwrite)
{
    char path[4096];
    struct buf b = { 0 };
    if (!sidecar_path(path, sizeof path, image, kind))
        return err_set(ERR_IO, "%.80s...: name too long", image);
    if (check(image, path, kind, overwrite) < 0)
        return -1;
    int rc = kind == SIDECAR_TXT
                 ? buf_append(&b, text, n) < 0 || buf_putc(&b, '\n') < 0 ? -1 : 0
                 : put_xmp(&b, text, n);
    if (rc == 0)
        rc = io_write_file(path, b.data, b.len);
    buf_release(&b);
    return rc;
}
