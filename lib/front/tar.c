/* tar.c - see tar.h. */
#include "front/tar.h"

#include "base/err.h"
#include "base/io.h"
#include "base/math.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCK     512
#define EXTRA_MAX ((uint64_t)1 << 20) /* of a pax header or a long name */

/* POSIX ustar: offsets in the header block. */
enum { NAME = 0, SIZE = 124, SUM = 148, TYPE = 156, MAGIC = 257, PREFIX = 345 };
enum { NAME_LEN = 100, SIZE_LEN = 12, SUM_LEN = 8, PREFIX_LEN = 155 };

int tar_open(struct tar *t, const char *path)
{
    t->path = path;
    t->fd = strcmp(path, "-") ? open(path, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
    if (t->fd < 0)
        return err_sys(ERR_NOINPUT, "%s", path);
    t->seeks = io_is_file(path);
    return 0;
}

void tar_close(struct tar *t)
{
    if (t->fd > STDIN_FILENO)
        close(t->fd);
    buf_release(&t->name);
    *t = (struct tar){ 0 };
}

static int damaged(const struct tar *t, const char *what)
{
    return err_set(ERR_DATA, "%s: tar archive, at byte %llu: %s", t->path,
                   (unsigned long long)t->at, what);
}

/* All n bytes: 1; none, at the end of the file: 0. */
static int get(struct tar *t, void *p, size_t n)
{
    ssize_t got = io_read_full(t->fd, p, n);
    if (got < 0)
        return err_wrap("%s", t->path);
    t->at += (uint64_t)got;
    return got == 0 && n ? 0 : (size_t)got < n ? damaged(t, "it ends early") : 1;
}

int tar_read(struct tar *t, void *p, size_t n)
{
    BUG_ON(n > t->left);
    t->left -= n;
    int got = get(t, p, n);
    return got > 0 ? 0 : got < 0 ? -1 : damaged(t, "it ends early");
}

/* What is left of the member. A seek past the end is noticed when the next header is missing.
 */
static int pass_over(struct tar *t)
{
    char waste[16384];
    if (t->seeks && t->left >= sizeof waste) {
        if (lseek(t->fd, (off_t)t->left, SEEK_CUR) < 0)
            return err_sys(ERR_IO, "%s", t->path);
        t->at += t->left;
        t->left = 0;
    }
    while (t->left)
        if (tar_read(t, waste, (size_t)math_min((int64_t)t->left, sizeof waste)) < 0)
            return -1;
    return 0;
}

/* ---- a header block ---- */

/* Octal digits between blanks, or base 256 with the top bit set. false: neither, or too big. */
static bool number(uint64_t *v, const unsigned char *p, int n)
{
    int i = 0;
    *v = 0;
    if (*p == 0x80) {
        for (i = 1; i < n; i++) {
            if (*v >> 55)
                return false;
            *v = *v << 8 | p[i];
        }
        return true;
    }
    while (i < n && p[i] == ' ')
        i++;
    for (; i < n && p[i] >= '0' && p[i] <= '7'; i++)
        *v = *v << 3 | (uint64_t)(p[i] - '0');
    return i == n || p[i] == ' ' || p[i] == '\0';
}

static bool sum_is_right(const unsigned char *b)
{
    uint64_t want, sum = 0;
    for (int i = 0; i < BLOCK; i++)
        sum += i >= SUM && i < SUM + SUM_LEN ? ' ' : b[i];
    return number(&want, b + SUM, SUM_LEN) && want == sum;
}

static bool is_zero(const unsigned char *b)
{
    return !b[0] && !memcmp(b, b + 1, BLOCK - 1);
}

/* 1; 0 at the end, which an end mark comes before. */
static int next_block(struct tar *t, unsigned char b[BLOCK])
{
    for (;;) {
        int got = get(t, b, BLOCK);
        if (got < 0 || (got == 0 && t->ended))
            return got;
        if (got == 0)
            return damaged(t, "it ends without an end mark");
        if (!is_zero(b))
            break;
        t->ended = true;
    }
    t->ended = false;
    if (!sum_is_right(b))
        return damaged(t, "no header (checksum), is it a tar archive?");
    if (!number(&t->size, b + SIZE, SIZE_LEN) || t->size > INT64_MAX - BLOCK)
        return damaged(t, "a size that is no number");
    return 1;
}

static bool has_data(unsigned char type)
{
    return !(type >= '1' && type <= '6');
}

static int own_name(struct tar *t, const unsigned char *b)
{
    const char *name = (const char *)b + NAME, *prefix = (const char *)b + PREFIX;
    buf_clear(&t->name);
    if (!memcmp(b + MAGIC, "ustar\0", 6) && *prefix)
        return buf_printf(&t->name, "%.*s/%.*s", PREFIX_LEN, prefix, NAME_LEN, name);
    return buf_printf(&t->name, "%.*s", NAME_LEN, name);
}

/* ---- headers that are about the next one ---- */

struct extra {
    struct buf text; /* a name, or pax lines */
    bool named, sized;
    uint64_t size;
};

static int read_extra(struct tar *t, struct buf *text)
{
    if (t->size > EXTRA_MAX)
        return damaged(t, "a name of more than a megabyte");
    buf_clear(text);
    if (buf_reserve(text, (size_t)t->size + 1) < 0 ||
        tar_read(t, text->data, (size_t)t->size) < 0)
        return -1;
    text->len = (size_t)t->size;
    return 0;
}

static int set_name(struct tar *t, struct extra *x, const char *s, size_t n)
{
    x->named = true;
    buf_clear(&t->name);
    return buf_append(&t->name, s, strnlen(s, n));
}

/* "27 path=some/name\n": its length, in digits, is that of the whole line. */
static int pax_line(struct tar *t, struct extra *x, const char *s, size_t left, size_t *len)
{
    char *p;
    unsigned long n = strtoul(s, &p, 10);
    if (*p != ' ' || n > left || n < (size_t)(p - s) + 2 || s[n - 1] != '\n')
        return damaged(t, "a pax header that is none");
    const char *value = p + 1;
    size_t size = (size_t)(s + n - 1 - value);
    *len = n;
    if (size > 5 && !strncmp(value, "path=", 5))
        return set_name(t, x, value + 5, size - 5);
    if (size > 5 && !strncmp(value, "size=", 5)) {
        x->sized = true;
        x->size = strtoull(value + 5, NULL, 10);
    }
    if (size > 10 && !strncmp(value, "GNU.sparse", 10))
        return damaged(t, "a sparse file, which is not read here");
    return 0;
}

static int read_pax(struct tar *t, struct extra *x)
{
    size_t at = 0, len = 0;
    if (read_extra(t, &x->text) < 0)
        return -1;
    x->text.data[x->text.len] = '\0';
    for (; at < x->text.len; at += len)
        if (pax_line(t, x, (const char *)x->text.data + at, x->text.len - at, &len) < 0)
            return -1;
    return 0;
}

static int read_long_name(struct tar *t, struct extra *x)
{
    if (read_extra(t, &x->text) < 0)
        return -1;
    return set_name(t, x, (const char *)x->text.data, x->text.len);
}

/* ---- members ---- */

/* 1: a member; 2: a header that was about the next one, or nothing we take; 0; -1. */
static int next_header(struct tar *t, struct extra *x)
{
    unsigned char b[BLOCK];
    int got = pass_over(t) < 0 ? -1 : next_block(t, b);
    if (got <= 0)
        return got;
    unsigned char type = b[TYPE];
    bool file = type == '0' || type == '\0' || type == '7';
    if (x->sized && file)
        t->size = x->size;
    t->left = has_data(type) ? (t->size + BLOCK - 1) / BLOCK * BLOCK : 0;
    if (type == 'S')
        return damaged(t, "a sparse file, which is not read here");
    if (type == 'L')
        return read_long_name(t, x) < 0 ? -1 : 2;
    if (type == 'x')
        return read_pax(t, x) < 0 ? -1 : 2;
    if (type != 'g' && type != 'K' && !file)
        x->named = x->sized = false; /* they were about this one */
    if (!file)
        return 2;
    return !x->named && own_name(t, b) < 0 ? -1 : buf_str(&t->name) ? 1 : -1;
}

int tar_next(struct tar *t)
{
    struct extra x = { 0 };
    int got = 2;
    while (got == 2)
        got = next_header(t, &x);
    buf_release(&x.text);
    return got;
}

bool tar_ready(const struct tar *t)
{
    struct pollfd p = { .fd = t->fd, .events = POLLIN };
    return t->seeks || poll(&p, 1, 0) > 0;
}
