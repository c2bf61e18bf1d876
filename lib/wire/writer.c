/* writer.c - records to bytes: see wire.h. */
#include "base/err.h"
#include "base/io.h"
#include "base/sha256.h"
#include "wire/pack.h"
#include "wire/unpack.h"
#include "wire/wire.h"

#include <stdlib.h>
#include <sys/stat.h>

#define GATHER ((size_t)64 << 10) /* pieces at least this large are written without a copy */

struct wire_writer {
    int fd;
    bool to_file; /* a regular file: no need to flush after each record */
    struct buf out;
    struct sha256 *digest;
    struct wire_counts counts;
};

static int flush(struct wire_writer *w)
{
    size_t n = w->out.len;
    buf_clear(&w->out);
    return n ? io_write_full(w->fd, w->out.data, n) : 0;
}

static int gather(void *ctx, const void *p, size_t n)
{
    struct wire_writer *w = ctx;
    sha256_update(w->digest, p, n);
    if (n < GATHER)
        return buf_append(&w->out, p, n);
    return flush(w) < 0 ? -1 : io_write_full(w->fd, p, n);
}

/* After a whole value: out now, or when enough has gathered. */
static int value_done(struct wire_writer *w)
{
    return w->to_file && w->out.len < GATHER ? 0 : flush(w);
}

static int write_header(struct wire_writer *w, struct wire_reader *from,
                        const struct wire_producer *me)
{
    size_t bytes = 0, count = 0;
    const unsigned char *via = from ? wire_reader_via(from, &bytes) : NULL;
    if (via) {
        struct unpack u = { via, via + bytes };
        count = unpack_next(&u).n;
        bytes -= (size_t)(u.p - via);
        via = u.p;
    }
    return pack_header(gather, w, via, bytes, count, me) < 0 ? -1 : flush(w);
}

struct wire_writer *wire_writer_new(int fd, struct wire_reader *from,
                                    const struct wire_producer *me)
{
    struct stat st;
    struct wire_writer *w = calloc(1, sizeof *w);
    if (!w)
        return err_null(ERR_OS, "output: out of memory");
    w->fd = fd;
    w->to_file = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    w->digest = sha256_new();
    if (!w->digest || write_header(w, from, me) < 0) {
        err_wrap("output");
        wire_writer_free(w);
        return NULL;
    }
    return w;
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
    if (sha256_peek(w->digest, digest) < 0 || pack_end(gather, w, w->counts, digest) < 0 ||
        flush(w) < 0)
        return err_wrap("output");
    return 0;
}

struct wire_counts wire_writer_counts(const struct wire_writer *w)
{
    return w->counts;
}
