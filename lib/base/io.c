/* io.c - descriptors and files: see io.h. */
#include "base/io.h"

#include "base/err.h"
#include "base/outfile.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* True if the call is worth repeating: interrupted, or a descriptor somebody made non-blocking.
 */
static bool again(int fd, short events)
{
    if (errno == EINTR)
        return true;
    if (errno != EAGAIN && errno != EWOULDBLOCK)
        return false;
    struct pollfd p = { .fd = fd, .events = events };
    poll(&p, 1, -1);
    return true;
}

ssize_t io_read_some(int fd, void *p, size_t n)
{
    for (;;) {
        ssize_t got = read(fd, p, n);
        if (got >= 0)
            return got;
        if (!again(fd, POLLIN))
            return err_sys(ERR_IO, "read");
    }
}

ssize_t io_read_full(int fd, void *p, size_t n)
{
    size_t have = 0;
    while (have < n) {
        ssize_t got = io_read_some(fd, (char *)p + have, n - have);
        if (got < 0)
            return -1;
        if (got == 0)
            break;
        have += (size_t)got;
    }
    return (ssize_t)have;
}

/* As git: a broken pipe ends us as SIGPIPE would, even where a parent ignored the signal. */
static void die_by_sigpipe(void)
{
    signal(SIGPIPE, SIG_DFL);
    raise(SIGPIPE);
}

int io_write_full(int fd, const void *p, size_t n)
{
    const char *c = p;
    while (n) {
        ssize_t put = write(fd, c, n);
        if (put > 0) {
            c += put;
            n -= (size_t)put;
            continue;
        }
        if (put == 0)
            return err_set(ERR_IO, "write: nothing written");
        if (errno == EPIPE)
            die_by_sigpipe();
        if (!again(fd, POLLOUT))
            return err_sys(ERR_IO, "write");
    }
    return 0;
}

static int read_all(struct buf *b, int fd, size_t max)
{
    size_t start = b->len;
    for (;;) {
        if (buf_reserve(b, 65536) < 0)
            return -1;
        ssize_t got = io_read_some(fd, b->data + b->len, b->cap - b->len);
        if (got <= 0)
            return (int)got;
        b->len += (size_t)got;
        if (b->len - start > max)
            return err_set(ERR_DATA, "more than %zu bytes, the limit", max);
    }
}

int io_read_file(struct buf *b, const char *path, size_t max)
{
    if (!strcmp(path, "-"))
        return read_all(b, STDIN_FILENO, max);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_sys(ERR_NOINPUT, "%s", path);
    int rc = read_all(b, fd, max);
    if (rc < 0)
        err_wrap("%s", path);
    close(fd);
    return rc;
}

int io_write_file(const char *path, const void *p, size_t n)
{
    struct outfile f;
    if (outfile_open(&f, path) < 0)
        return -1;
    if (io_write_full(f.fd, p, n) < 0) {
        outfile_discard(&f);
        return err_wrap("%s", path);
    }
    return outfile_publish(&f);
}

static int map_fd(struct io_map *m, int fd, const char *path)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return err_sys(ERR_IO, "%s", path);
    if (!S_ISREG(st.st_mode))
        return err_set(ERR_NOINPUT, "%s: not a regular file", path);
    if (st.st_size == 0)
        return err_set(ERR_DATA, "%s: empty file", path);
    void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        return err_sys(ERR_OS, "%s: mmap of %lld bytes", path, (long long)st.st_size);
    *m = (struct io_map){ p, (size_t)st.st_size };
    return 0;
}

int io_map(struct io_map *m, const char *path)
{
    *m = (struct io_map){ 0 };
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_sys(ERR_NOINPUT, "%s", path);
    int rc = map_fd(m, fd, path);
    close(fd);
    return rc;
}

void io_unmap(struct io_map *m)
{
    if (m->data)
        munmap((void *)m->data, m->len);
    *m = (struct io_map){ 0 };
}

void io_map_forget(const struct io_map *m)
{
    if (m->data)
        madvise((void *)m->data, m->len, MADV_DONTNEED);
}

bool io_is_file(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

bool io_is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}
