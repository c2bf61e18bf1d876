/* wire.c - the stream: what is written is read, and nothing malformed is taken. */
#include "wire/wire.h"
#include "lib/tap.h"
#include "wire/unpack.h"

#include <unistd.h>

/* Bytes through a file, because a stream can be larger than a pipe. */
static int file_of(const void *p, size_t n)
{
    FILE *f = tmpfile();
    int fd = f ? dup(fileno(f)) : -1;
    if (f)
        fclose(f);
    if (fd < 0 || write(fd, p, n) != (ssize_t)n)
        exit(1);
    lseek(fd, 0, SEEK_SET);
    return fd;
}

/* Reads to the end: the number of records, or -1. */
static int read_all(const void *p, size_t n, struct record *last)
{
    int fd = file_of(p, n), got, count = 0;
    struct wire_reader *r = wire_reader_new(fd, "test", NULL);
    struct record rec;
    record_init(&rec);
    while ((got = wire_read(r, last ? last : &rec)) > 0)
        if (++count && last)
            break;
    record_release(&rec);
    wire_reader_free(r);
    close(fd);
    return got < 0 ? -1 : count;
}

static size_t sample_stream(unsigned char **out)
{
    struct wire_producer me = { "test", "1", "abc", "-x" };
    float v[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
    int fd = file_of("", 0);
    struct wire_writer *w = wire_writer_new(fd, NULL, &me);
    struct record rec;
    record_init(&rec);
    for (int i = 0; i < 3; i++) {
        record_clear(&rec);
        record_put_str(&rec, "id", "picture.jpg", 11);
        record_put_tensor(&rec, "image_embeds", tensor_2d(v, DT_F32, 2, 4));
        record_put_int(&rec, "n", -5 - 70000 * i);
        record_put_float(&rec, "score", -1.5);
        record_put_bin(&rec, "image", "\xff\xd8", 2);
        record_put_str(&rec, "path", "bad\xff", 4);
        wire_write(w, &rec);
    }
    wire_finish(w);
    record_release(&rec);
    wire_writer_free(w);
    size_t n = (size_t)lseek(fd, 0, SEEK_END);
    *out = malloc(n);
    if (pread(fd, *out, n, 0) != (ssize_t)n)
        exit(1);
    close(fd);
    return n;
}

static void test_round_trip(const unsigned char *s, size_t n)
{
    struct record rec;
    const char *str;
    size_t len;
    int64_t i;
    double f;
    struct tensor t;
    record_init(&rec);
    ok(read_all(s, n, NULL) == 3, "three records come back");
    ok(read_all(s, n, &rec) == 1 && record_get_str(&str, &len, &rec, "id") == 1 && len == 11,
       "a str");
    ok(record_get_int(&i, &rec, "n") == 1 && i == -5, "an int");
    ok(record_get_float(&f, &rec, "score") == 1 && f == -1.5, "a float");
    ok(record_get_tensor(&t, &rec, "image_embeds") == 1 && t.ndim == 2 && t.dim[1] == 4 &&
           tensor_at(t, 7) == 8 && (uintptr_t)t.data % 4 == 0,
       "an array, aligned");
    ok(record_find(&rec, "path")->type == RECORD_BIN,
       "a name that is not UTF-8 travels as bin");
    ok(record_get_int(&i, &rec, "absent") == 0, "an absent field is not an error");
    fails(record_get_tensor(&t, &rec, "id"), ERR_DATA, "id: str, expected array");
    record_release(&rec);
}

static void test_truncation(const unsigned char *s, size_t n)
{
    size_t taken = 0, crashed_message = 0;
    for (size_t k = 0; k < n; k++) {
        taken += read_all(s, k, NULL) >= 0;
        crashed_message += err_kind() != ERR_DATA;
    }
    ok(taken == 0 && crashed_message == 0, "cut at each of %zu offsets: never taken for whole",
       n);
}

static void test_flips(unsigned char *s, size_t n)
{
    size_t taken = 0;
    for (size_t bit = 0; bit < 8 * n; bit++) {
        s[bit / 8] ^= (unsigned char)(1 << bit % 8);
        taken += read_all(s, n, NULL) == 3;
        s[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    ok(taken == 0, "each of %zu bits flipped: never taken for whole", 8 * n);
}

static void test_joined(const unsigned char *s, size_t n)
{
    unsigned char *two = malloc(2 * n);
    memcpy(two, s, n);
    memcpy(two + n, s, n);
    ok(read_all(two, 2 * n, NULL) == 6, "concatenated streams are one");
    fails(read_all(two, 2 * n - 1, NULL), ERR_DATA, "truncated");
    fails(read_all("", 0, NULL), ERR_DATA, "empty, expected a stream");
    free(two);
}

#define REFUSED(bytes, text) fails(read_all(bytes, sizeof bytes - 1, NULL), ERR_DATA, text)

static void test_malformed(void)
{
    REFUSED("\xdd\xff\xff\xff\xff", "claims 4294967295 elements");
    REFUSED("\xdf\x00\xff\xff\xff", "claims 16777215 elements");
    REFUSED("\x81\xa1x\xc6\xff\xff\xff\xff", "larger than");
    REFUSED("\x81\xa1x\xc6\x00\xff\xff\xff", "truncated");
    REFUSED("\x81\xa1x\xc1", "byte 0xc1");
    REFUSED("\x81\xa1x\xd4\x01\x01", "byte 0xd4");
    REFUSED("\x82\xa1x\x01\xa1x\x02", "'x' twice");
    REFUSED("\x81\x01\x02", "keys are str");
    REFUSED("\x81\xc4\x01x\x02", "keys are str");
    REFUSED("\x91\x01", "a record is a map");
    REFUSED("\x81\xa1x\x91\x91\x91\x91\x91\x91\x91\x91\x01", "nested deeper");
    REFUSED("\x81\xa1x\xcf\xff\xff\xff\xff\xff\xff\xff\xff", "too large");
    REFUSED("\x81\xa3"
            "end\x80",
            "end record without a header");
    fails(read_all("\x81\xa6stream\x81\xa7version\x02", 18, NULL), ERR_PROTO, "version 2");
}

/* A record {"x": array} with the given type, shape bytes and data length. */
static int lie(const char *type, const char *shape, size_t shape_n, const char *kind)
{
    unsigned char b[256];
    size_t n = 0;
#define PUT(p, len) (memcpy(b + n, p, len), n += len)
    PUT("\x81\xa1x\x85\xc4\x02nd\xc3\xc4\x04type\xa3", 16);
    PUT(type, 3);
    PUT("\xc4\x04kind\xc4", 7);
    b[n++] = (unsigned char)strlen(kind);
    PUT(kind, strlen(kind));
    PUT("\xc4\x05shape", 7);
    PUT(shape, shape_n);
    PUT("\xc4\x04"
        "data\xc4\x04"
        "abcd",
        12);
    return read_all(b, n, NULL);
}

static void test_lies(void)
{
    ok(lie("<f4", "\x91\x01", 2, "") == 1, "an honest array is taken");
    fails(lie("<f4", "\x91\x02", 2, ""), ERR_DATA,
          "x: array f32 (2,) has 4 bytes of data, expected 8");
    fails(lie("<f4", "\x91\xff", 2, ""), ERR_DATA, "negative dimension -1");
    fails(lie("<f4", "\x95\x01\x01\x01\x01\x01", 6, ""), ERR_DATA, "5 dimensions");
    fails(
        lie("<f4",
            "\x93\xce\x00\x40\x00\x01\xce\x00\x40\x00\x01\xcf\x00\x00\xbf\xff\xd0\x00\x00\x04",
            20, ""),
        ERR_DATA, "overflows");
    fails(lie("|O8", "\x91\x01", 2, "O"), ERR_DATA, "pickle");
    ok(lie("<u2", "\x91\x02", 2, "") == 1, "an element type we do not compute with passes");
}

static void test_errors(void)
{
    struct record rec;
    struct record_error e;
    float v[2] = { 0 };
    record_init(&rec);
    record_put_str(&rec, "id", "a", 1);
    record_put_tensor(&rec, "pixel_values", tensor_1d(v, DT_F32, 2));
    ok(record_get_error(&e, &rec) == 0, "not an error record");
    err_set(ERR_NOINPUT, "a: No such \xff file");
    ok(record_put_error(&rec, "img-encode") == 0 && record_is_error(&rec) &&
           !record_has(&rec, "pixel_values") && record_has(&rec, "id"),
       "an error record keeps the id and nothing large");
    ok(record_get_error(&e, &rec) == 1 && !strcmp(e.kind, "noinput") &&
           !strcmp(e.stage, "img-encode") && !strcmp(e.message, "a: No such ? file"),
       "kind, stage, message: %s, %s, %s", e.kind, e.stage, e.message);
    record_release(&rec);
}

int main(void)
{
    unsigned char *s;
    size_t n = sample_stream(&s);
    test_round_trip(s, n);
    test_truncation(s, n);
    test_flips(s, n);
    test_joined(s, n);
    test_malformed();
    test_lies();
    test_errors();
    free(s);
    return tap_done();
}
