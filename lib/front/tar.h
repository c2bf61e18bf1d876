/* tar.h - the regular files of a tar archive, one after the other, from a file or a pipe.
 *
 * Read:     ustar, pax (path, size) and GNU (long names, sizes in base 256) headers; several
 *           archives one after the other. Links, directories and devices are passed over.
 * Refused:  a header whose checksum is wrong, sparse members, an archive that ends before its
 *           end mark: what was read before is whole all the same.
 * Errors:   -1 with err set: ERR_NOINPUT cannot open, ERR_IO, ERR_DATA. */
#ifndef FRONT_TAR_H
#define FRONT_TAR_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>

struct tar {
    const char *path; /* the caller's, for messages */
    int fd;
    bool seeks;      /* data can be passed over without reading it */
    bool ended;      /* an end mark was the last thing read */
    struct buf name; /* the present member's */
    uint64_t size;   /* and its size */
    uint64_t left;   /* bytes of its data, with their padding, that were not read */
    uint64_t at;     /* offset in the archive */
};

/* path: a file, or "-" for standard input. A zeroed struct; close it also after a failure. */
int tar_open(struct tar *t, const char *path);
void tar_close(struct tar *t);

/* The next member: 1 with name and size set, 0 at the end, -1. */
int tar_next(struct tar *t);

/* Exactly n more bytes of the member's data, which has them. */
int tar_read(struct tar *t, void *p, size_t n);

/* Whether tar_next() has something to read now. */
bool tar_ready(const struct tar *t);

#endif
