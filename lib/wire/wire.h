/* wire.h - streams of records as msgpack; the format is man/tensor-stream.5.
 *
 * Owns:      framing, limits, the header and end records.
 * Knows nothing of: sockets, models, what a field means.
 * Lifetime:  what wire_read() gives points into the record, until its next use.
 * Threads:   one reader or writer belongs to one thread.
 * Errors:    1 a record, 0 the end, -1 with err set: ERR_DATA malformed or truncated, ERR_IO.
 */
#ifndef WIRE_WIRE_H
#define WIRE_WIRE_H

#include "wire/record.h"

#define WIRE_VERSION 1

/* Defaults of man/tensor-stream.5: no byte beyond them is ever stored. */
struct wire_limits {
    size_t record_bytes; /* one record, 0: 64 MiB */
    bool endless;        /* nobody waits for its end: the digest is not reckoned */
};

struct wire_reader;
struct wire_writer;

/* Reads from fd (kept by the caller); name is for messages. NULL for lack of memory. */
struct wire_reader *wire_reader_new(int fd, const char *name, const struct wire_limits *lim);
void wire_reader_free(struct wire_reader *r);

/* Waits for the first value of the stream, so that its header is known. An empty input is
 * truncated (ERR_DATA): a legal empty stream is a header and an end. */
int wire_start(struct wire_reader *r);

/* The next record. Checks counts and digest when the end record comes; a stream that began with
 * a header and stops without one fails with "truncated". Concatenated streams are one. An abort
 * record is the failure that it tells of, and err_said() if it came through a pipe or socket:
 * its producer has said it. */
int wire_read(struct wire_reader *r, struct record *rec);

/* As wire_read(), but never waits: 2 if the next record is not all there yet. */
int wire_read_now(struct wire_reader *r, struct record *rec);

/* One record that is exactly the n bytes at p (copied): for messages. 0, or -1. */
int wire_decode(struct record *rec, const void *p, size_t n);

/* The same checks without a copy: look() is shown the record, whose tensors may lack data. */
int wire_look(const void *p, size_t n, void (*look)(void *ctx, const struct record *rec),
              void *ctx);

/* Whether wire_read() has something to work on now, or within ms milliseconds: bytes, or the
 * end of the input. */
bool wire_ready(const struct wire_reader *r, int ms);

/* Who makes a stream: one link of the chain in its header. */
struct wire_producer {
    const char *program, *version;
    const char *model; /* its fingerprint (hex), or NULL */
    const char *args;  /* its command line, or NULL */
};

/* Writes the header at once: the producers of `from` (NULL: none), then `me`. A record is
 * flushed as soon as it is complete unless fd is a regular file. fd stays the caller's. */
struct wire_writer *wire_writer_new(int fd, struct wire_reader *from,
                                    const struct wire_producer *me);
void wire_writer_free(struct wire_writer *w);

/* As wire_writer_new(), with a whole chain after that of `from`: an array as wire_reader_via()
 * gives it, checked here because it may come from anywhere. */
struct wire_writer *wire_writer_join(int fd, struct wire_reader *from, const void *via,
                                     size_t n);

int wire_write(struct wire_writer *w, const struct record *rec);

/* The end record; nothing may follow. */
int wire_finish(struct wire_writer *w);

/* Ends a stream that cannot go on with {"abort": {kind, message}} of the present failure, so
 * that the programs after this one stop with its status and only this one says why. Written to
 * the bare descriptor: the failure may come before there is a writer. What cannot be written is
 * lost. */
void wire_abort(int fd, const char *program);

/* So far: records read or written, and how many of them were errors. */
struct wire_counts {
    uint64_t records, errors;
};
struct wire_counts wire_writer_counts(const struct wire_writer *w);
struct wire_counts wire_reader_counts(const struct wire_reader *r);

/* The header's chain of producers as msgpack (an array of maps); NULL without a header. */
const unsigned char *wire_reader_via(const struct wire_reader *r, size_t *n);

/* The i-th producer of such an array: 1, 0 past the last, -1 (ERR_DATA) if it is no such array.
 * What is absent is empty. */
struct wire_link {
    char program[64], version[64], model[80];
};
int wire_via_link(struct wire_link *out, const void *via, size_t n, int i);

#endif
