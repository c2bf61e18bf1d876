/* draw_source.c - see draw_source.h. */
#include "front/draw_source.h"

#include "base/err.h"
#include "base/io.h"
#include "image/image.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define IMAGE_BYTES ((size_t)256 << 20) /* as img-encode takes */

/* The first bytes of a regular file; 0 for anything else: that is read as a stream. */
static size_t head_of(unsigned char head[64], const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? read(fd, head, 64) : 0;
    if (fd >= 0)
        close(fd);
    return n > 0 ? (size_t)n : 0;
}

static bool ends_in(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && !strcmp(s + n - m, end);
}

static int open_files(struct draw_source *s, bool npy)
{
    s->convert.per_record = true; /* an array is drawn whole */
    if (npy && !s->convert.field)
        s->convert.field = "array";
    s->files = convert_source_new(&s->convert, npy, &s->path, 1);
    return s->files ? 0 : -1;
}

int draw_source_open(struct draw_source *s, char *path, const char *field)
{
    unsigned char head[64];
    *s = (struct draw_source){ .convert.field = field, .stream.fd = -1, .path = path };
    size_t n = path && strcmp(path, "-") ? head_of(head, path) : 0;
    if (n >= 6 && !memcmp(head, "\x93NUMPY", 6))
        return open_files(s, true);
    if (n && ends_in(path, ".safetensors"))
        return open_files(s, false);
    if (n && image_is(head, n))
        return io_read_file(&s->image, path, IMAGE_BYTES);
    return input_open(&s->stream, path);
}

static int next_image(struct draw_source *s, struct record *rec)
{
    const char *path = s->path;
    s->path = NULL;
    if (!path)
        return 0;
    if (record_put_str(rec, "id", path, strlen(path)) < 0 ||
        record_put_bin(rec, "image", s->image.data, s->image.len) < 0)
        return -1;
    return 1;
}

int draw_source_next(struct draw_source *s, struct record *rec)
{
    if (s->stream.reader)
        return wire_read(s->stream.reader, rec);
    record_clear(rec);
    return s->files ? convert_source_next(s->files, rec) : next_image(s, rec);
}

void draw_source_close(struct draw_source *s)
{
    convert_source_free(s->files);
    input_close(&s->stream);
    buf_release(&s->image);
    *s = (struct draw_source){ .stream.fd = -1 };
}
