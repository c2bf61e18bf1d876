/* base.c - lib/base and lib/tensor: what everything else leans on. */
#include "base/ahead.h"
#include "base/arena.h"
#include "base/base64.h"
#include "base/buf.h"
#include "base/io.h"
#include "base/math.h"
#include "base/pool.h"
#include "base/sha256.h"
#include "lib/tap.h"
#include "tensor/tensor.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

static void test_err(void)
{
    ok(err_set(ERR_DATA, "a\nb") == -1 && !strcmp(err_msg(), "a b"), "messages are one line");
    err_wrap("layer %d", 3);
    ok(!strcmp(err_msg(), "layer 3: a b") && err_kind() == ERR_DATA, "err_wrap prefixes");
    ok(err_kind_named(err_kind_name(ERR_CONFIG)) == ERR_CONFIG, "kinds have names");
}

static void test_arena(void)
{
    struct arena a;
    arena_init(&a);
    char *p = arena_alloc(&a, 100), *q = arena_alloc(&a, 1 << 20);
    ok(p && q && !((uintptr_t)p & 63) && !((uintptr_t)q & 63), "arena memory is aligned");
    ok(!arena_calloc(&a, SIZE_MAX / 2, 4) && err_kind() == ERR_OS, "an overflowing size fails");
    arena_reset(&a);
    void *r = arena_alloc(&a, 1 << 20);
    arena_reset(&a);
    ok(r && arena_alloc(&a, 1 << 20) == r, "a reset arena gives the same memory again");
    struct arena_mark m = arena_mark(&a);
    arena_alloc(&a, 100);
    q = arena_alloc(&a, 8 << 20);
    arena_rewind(&a, m);
    p = arena_alloc(&a, 100);
    ok(q && arena_alloc(&a, 8 << 20) == q,
       "a mark is gone back to, and its memory given again");
    arena_rewind(&a, m);
    arena_reset(&a);
    p = arena_alloc(&a, 9 << 20);
    arena_rewind(&a, (struct arena_mark){ a.chunk, 0 });
    ok(p && arena_alloc(&a, 9 << 20) == p, "a reset arena has room for its peak");
    arena_release(&a);
}

static int square(void *ctx, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    for (int64_t i = begin; i < end; i++)
        ((int64_t *)ctx)[i] += i * i;
    return 0;
}

static int failing(void *ctx, int64_t begin, int64_t end, int worker)
{
    (void)ctx;
    (void)worker;
    return begin <= 500 && 500 < end ? err_set(ERR_DATA, "item 500") : 0;
}

/* Pieces whose ends are no grain's, and the longest. */
struct cuts {
    _Atomic int wrong;
    _Atomic int64_t longest;
};

static int look(void *ctx, int64_t begin, int64_t end, int worker)
{
    struct cuts *c = ctx;
    (void)worker;
    c->wrong += begin % 7 != 0 || (end % 7 != 0 && end != 1000);
    for (int64_t l = c->longest; l < end - begin;)
        atomic_compare_exchange_weak(&c->longest, &l, end - begin);
    return 0;
}

static void test_pool(void)
{
    int64_t v[1000] = { 0 };
    struct cuts cuts = { 0 };
    struct pool *p = pool_new(3);
    int rc = 0, wrong = 0;
    for (int round = 1; round <= 200; round++)
        rc |= pool_run(p, square, v, 1000, 7);
    for (int64_t i = 0; i < 1000; i++)
        wrong += v[i] != 200 * i * i;
    ok(rc == 0 && wrong == 0, "every index is worked on exactly once");
    fails(pool_run(p, failing, NULL, 1000, 10), ERR_DATA, "item 500");
    pool_run(p, look, &cuts, 1000, 7);
    ok(cuts.wrong == 0, "pieces are whole grains, but for the last");
    ok(cuts.longest == 161, "the first is half a thread's share: %lld",
       (long long)cuts.longest);
    pool_free(p);
}

static void count_slot(void *ctx, int slot)
{
    ((int *)ctx)[slot]++;
}

static void test_ahead(void)
{
    int v[5] = { 0 }, wrong = 0;
    struct ahead *a = ahead_new(3, 5, count_slot, v);
    for (int i = 0; i < 5000 + 5; i++) {
        if (i >= 5) {
            ahead_wait(a, i % 5);
            wrong += v[i % 5] != i / 5;
        }
        if (i < 5000)
            ahead_begin(a, i % 5);
    }
    ok(wrong == 0, "work begun ahead is done once, and when it is waited for");
    for (int i = 0; i < 5; i++)
        ahead_begin(a, i);
    ahead_free(a);
    ok(v[0] <= 1001 && v[4] <= 1001, "what nobody waits for ends with the threads");
}

static void test_halves(void)
{
    int wrong = 0;
    for (int h = 0; h < 65536; h++) {
        float f = dtype_f16_to_f32((uint16_t)h), b = dtype_bf16_to_f32((uint16_t)h);
        wrong += f == f ? dtype_f32_to_f16(f) != h : (dtype_f32_to_f16(f) & 0x7c00) != 0x7c00;
        wrong += b == b && dtype_f32_to_bf16(b) != h;
    }
    ok(wrong == 0, "all 65,536 f16 and bf16 values survive f32");
    ok(dtype_f32_to_f16(65519.0f) == 0x7bff && dtype_f32_to_f16(65520.0f) == 0x7c00 &&
           dtype_f32_to_f16(0x1p-25f) == 0 && dtype_f32_to_f16(0x1.8p-25f) == 1,
       "f16 rounds to nearest even at both ends");
}

static void test_tensor(void)
{
    size_t n;
    fails(tensor_size_checked(&n, DT_F32, 3, (int64_t[]){ 4194305, 4194305, 211106198978564 }),
          ERR_DATA, "overflows");
    fails(tensor_size_checked(&n, DT_F32, 1, (int64_t[]){ -1 }), ERR_DATA, "negative");
    ok(tensor_size_checked(&n, DT_F32, 2, (int64_t[]){ 0, INT64_MAX }) == 0 && n == 0, "empty");
    float v[6] = { 1, 2, NAN, 4, 5, 6 };
    char s[TENSOR_SHAPE_MAX];
    struct tensor t = tensor_2d(v, DT_F32, 2, 3);
    ok(!strcmp(tensor_shape_str(s, t), "(2, 3)"), "shape prints as %s", s);
    fails(tensor_check_finite(t, "x"), ERR_DATA, "x: NaN at index 2");
}

static void test_io(void)
{
    char dir[] = "/tmp/vqa-base-XXXXXX", path[64];
    if (!mkdtemp(dir))
        return;
    snprintf(path, sizeof path, "%s/f", dir);
    ok(io_write_file(path, "hello", 5) == 0, "a file is written");
    struct buf b;
    buf_init(&b);
    ok(io_read_file(&b, path, 5) == 0 && !strcmp(buf_str(&b), "hello"), "and read");
    fails(io_read_file(&b, path, 4), ERR_DATA, "limit");
    fails(io_read_file(&b, "/nonexistent/x", 9), ERR_NOINPUT, "/nonexistent/x: No such file");
    fails(io_write_file("/nonexistent/x", "", 0), ERR_IO, "/nonexistent/x: No such file");
    buf_release(&b);
    unlink(path);
    rmdir(dir);
}

/* What is no file of its own keeps its name: a pipe, a link as /dev/stdout is one. */
static void test_special(void)
{
    char dir[] = "/tmp/vqa-base-XXXXXX", path[64], to[64];
    struct stat st;
    struct buf b;
    buf_init(&b);
    if (!mkdtemp(dir))
        return;
    snprintf(path, sizeof path, "%s/pipe", dir);
    int fd = mkfifo(path, 0600) == 0 ? open(path, O_RDWR) : -1;
    ok(fd >= 0 && io_write_file(path, "x", 1) == 0, "a pipe is written to");
    ok(lstat(path, &st) == 0 && S_ISFIFO(st.st_mode), "and is a pipe still");
    close(fd);
    unlink(path);
    snprintf(path, sizeof path, "%s/file", dir);
    fd = open(path, O_RDWR | O_CREAT, 0600);
    snprintf(to, sizeof to, "/proc/self/fd/%d", fd);
    snprintf(path, sizeof path, "%s/link", dir);
    ok(symlink(to, path) == 0 && io_write_file(path, "hello", 5) == 0, "a descriptor's link");
    ok(lstat(path, &st) == 0 && S_ISLNK(st.st_mode), "is a link still");
    unlink(path);
    snprintf(path, sizeof path, "%s/file", dir);
    ok(io_read_file(&b, path, 5) == 0 && !strcmp(buf_str(&b), "hello"), "to what was written");
    close(fd);
    unlink(path);
    rmdir(dir);
    buf_release(&b);
}

/* RFC 4648, section 10. */
static void test_base64(void)
{
    static const char *const want[] = { "",         "Zg==",     "Zm8=",    "Zm9v",
                                        "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy" };
    struct buf b = { 0 };
    for (size_t n = 0; n < sizeof want / sizeof want[0]; n++) {
        buf_clear(&b);
        base64_append(&b, "foobar", n);
        ok(!strcmp(buf_str(&b), want[n]), "base64 of %zu bytes", n);
    }
    buf_clear(&b);
    base64_append(&b, "\xff\xef\xbe", 3);
    ok(!strcmp(buf_str(&b), "/+++"), "base64: the last letters");
    buf_release(&b);
}

static void test_sha256(void)
{
    struct sha256 *s = sha256_new();
    unsigned char d[SHA256_BYTES];
    char hex[SHA256_HEX];
    sha256_update(s, "abc", 3);
    sha256_peek(s, d);
    sha256_hex(hex, d);
    ok(!strncmp(hex, "ba7816bf8f01cfea", 16), "SHA-256 of \"abc\" is FIPS 180's");
    sha256_free(s);
}

int main(void)
{
    test_err();
    test_arena();
    test_pool();
    test_ahead();
    test_halves();
    test_tensor();
    test_io();
    test_special();
    test_base64();
    test_sha256();
    return tap_done();
}
