/* io.h - files and descriptors, with EINTR, EAGAIN and short counts dealt with.
 *
 * Knows nothing of:  what the bytes mean.
 * Errors:            -1 with err set: ERR_NOINPUT cannot open, ERR_IO cannot read or write. */
#ifndef BASE_IO_H
#define BASE_IO_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Reads until n bytes are there or the end of file; gives the count. */
ssize_t io_read_full(int fd, void *p, size_t n);

/* One read: whatever is there now, at least one byte, 0 at the end of file. */
ssize_t io_read_some(int fd, void *p, size_t n);

/* Writes all n bytes. A reader that left (EPIPE) raises SIGPIPE, so that the status is 141
 * whatever disposition was inherited. */
int io_write_full(int fd, const void *p, size_t n);

/* A whole file (or "-", standard input) appended to b. More than max bytes is an error. */
int io_read_file(struct buf *b, const char *path, size_t max);

/* Writes path as outfile.h does: readers see all of it or none. */
int io_write_file(const char *path, const void *p, size_t n);

/* A file mapped read-only. Empty files are an error. */
struct io_map {
    const unsigned char *data;
    size_t len;
};
int io_map(struct io_map *m, const char *path);
void io_unmap(struct io_map *m);

/* Its pages leave this process until they are looked at again. */
void io_map_forget(const struct io_map *m);

bool io_is_file(const char *path);
bool io_is_dir(const char *path);

#endif
