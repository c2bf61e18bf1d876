/* names.c - see names.h. */
#include "front/names.h"

#include "base/err.h"
#include "base/io.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define PIECE ((size_t)65536)

int names_open(struct names *n, const char *list, bool null)
{
    *n = (struct names){ .end = null ? '\0' : '\n' };
    n->fd = strcmp(list, "-") ? open(list, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
    return n->fd < 0 ? err_sys(ERR_NOINPUT, "%s", list) : 0;
}

void names_close(struct names *n)
{
    if (n->fd > STDIN_FILENO)
        close(n->fd);
    buf_release(&n->got);
    *n = (struct names){ 0 };
}

/* The end of the name that begins at n->at, or NULL. */
static unsigned char *find_end(struct names *n)
{
    size_t from = n->looked > n->at ? n->looked : n->at;
    unsigned char *e = from < n->got.len ? memchr(n->got.data + from, n->end, n->got.len - from)
                                         : NULL;
    n->looked = e ? from : n->got.len;
    return e;
}

/* More of the list; what was given out makes room. */
static int read_more(struct names *n)
{
    if (n->at) {
        memmove(n->got.data, n->got.data + n->at, n->got.len - n->at);
        n->got.len -= n->at;
        n->looked -= n->at;
        n->at = 0;
    }
    if (buf_reserve(&n->got, PIECE + 1) < 0)
        return -1;
    ssize_t more = io_read_some(n->fd, n->got.data + n->got.len, PIECE);
    if (more < 0)
        return -1;
    n->got.len += (size_t)more;
    n->over = more == 0;
    return 0;
}

int names_next(const char **s, struct names *n)
{
    for (;;) {
        unsigned char *e = find_end(n);
        if (!e && !n->over) {
            if (read_more(n) < 0)
                return -1;
            continue;
        }
        if (!e && n->at == n->got.len)
            return 0;
        if (!e) /* the last line may lack its end; there is room for it */
            e = n->got.data + n->got.len++;
        *e = '\0';
        *s = (const char *)n->got.data + n->at;
        n->at = n->looked = (size_t)(e - n->got.data) + 1;
        if (**s)
            return 1;
    }
}

bool names_ready(struct names *n)
{
    struct pollfd p = { .fd = n->fd, .events = POLLIN };
    return n->over || find_end(n) || poll(&p, 1, 0) > 0;
}
