/* writer.c - records to bytes: see wire.h. */
#include "base/err.h"
#include "base/io.h"
#include "base/sha256.h"
#include "wire/pack.h"
#include "wire/unpack.h"
#include "wire/wire.h"

#include <sched.h>
#include <stdlib.h>
#include <sys/stat.h>

#define GATHER ((size_t)64 << 10) /* pieces at least this large are written without a copy */

struct wire_writer {
    int fd;
    bool to_file; /* a regular file: no need to flush after each record */
    struct buf out;
    const void *written; /* a large piece that the digest does not hold yet */
    size_t written_n;
    struct sha256 *digest;
    struct wire_counts counts;
};

/* The digest comes after the bytes: who reads them works while we reckon, and first if it was
 * woken on our processor (as the kernel likes to do at the two ends of a pipe). */
static void settle(struct wire_writer *w)
{
    if (!w->written_n)
        return;
    sched_yield();
    sha256_update(w->digest, w->written, w->written_n);
    w->written_n = 0;
}

static int flush(struct wire_writer *w)
{
    size_t n = w->out.len;
    buf_clear(&w->out);
    if (n && io_write_full(w->fd, w->out.data, n) < 0)
        return -1;
    settle(w);
    sha256_update(w->digest, w->out.data, n);
    return 0;
}

static int gather(void *ctx, const void *p, size_t n)
{
    struct wire_writer *w = ctx;
    if (n < GATHER)
        return buf_append(&w->out, p, n);
    if (flush(w) < 0 || io_write_full(w->fd, p, n) < 0)
        return -1;
    w->written = p;
    w->written_n = n;
    return 0;
}

/* After a whole value: out now, or when enough has gathered. Its pieces are not ours for
 * longer.
 */
static int value_done(struct wire_writer *w)
{
    if ((!w->to_file || w->out.len >= GATHER) && flush(w) < 0)
        return -1;
    settle(w);
    return 0;
}

/* The elements of a packed array, without its head; gives their number. */
static size_t elements(const unsigned char **p, size_t *n)
{
    struct unpack u = { *p, *p + *n };
    size_t count = *n ? unpack_next(&u).n : 0;
    *n -= *n ? (size_t)(u.p - *p) : 0;
    *p = u.p;
    return count;
}

static int write_header(struct wire_writer *w, struct wire_reader *from, const void *more,
                        size_t more_n, const struct wire_producer *me)
{
    size_t n = 0;
    const unsigned char *via = from ? wire_reader_via(from, &n) : NULL, *also = more;
    size_t count = elements(&via, &n) + elements(&also, &more_n);
    struct buf all = { 0 };
    int rc = buf_append(&all, via, n) < 0 || buf_append(&all, also, more_n) < 0 ||
             pack_header(gather, w, all.data, all.len, count, me) < 0 || flush(w) < 0;
    buf_release(&all);
    return rc ? -1 : 0;
}

static struct wire_writer *writer(int fd, struct wire_reader *from, const void *via, size_t n,
                                  const struct wire_producer *me)
{
    struct stat st;
    struct wire_writer *w = calloc(1, sizeof *w);
    if (!w)
        return err_null(ERR_OS, "output: out of memory");
    w->fd = fd;
    w->to_file = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    w->digest = sha256_new();
    if (!w->digest || write_header(w, from, via, n, me) < 0) {
        err_wrap("output");
        wire_writer_free(w);
        return NULL;
    }
    return w;
}

struct wire_writer *wire_writer_new(int fd, struct wire_reader *from,
                                    const struct wire_producer *me)
{
    return writer(fd, from, NULL, 0, me);
}

struct wire_writer *wire_writer_join(int fd, struct wire_reader *from, const void *via,
                                     size_t n)
{
    struct wire_link link;
    return wire_via_link(&link, via, n, 0) < 0 ? NULL : writer(fd, from, via, n, NULL);
}

void wire_writer_free(struct wire_writer *w)
{
    if (!w)
        return;
    if (w->digest && w->out.len)
        flush(w); /* a run that failed still hands on its complete records; no end follows */
    sha256_free(w->digest);
    buf_release(&w->out);
    free(w);
}

int wire_write(struct wire_writer *w, const struct record *rec)
{
    if (pack_record(gather, w, rec) < 0 || value_done(w) < 0)
        return err_wrap("output");
    w->counts.records++;
    w->counts.errors += record_is_error(rec);
    return 0;
}

int wire_finish(struct wire_writer *w)
{
    unsigned char digest[SHA256_BYTES];
    if (flush(w) < 0 || sha256_peek(w->digest, digest) < 0 ||
        pack_end(gather, w, w->counts, digest) < 0 || flush(w) < 0)
        return err_wrap("output");
    return 0;
}

struct wire_counts wire_writer_counts(const struct wire_writer *w)
{
    return w->counts;
}
