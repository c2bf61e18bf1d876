/* outfile.c - see outfile.h. */
#include "base/outfile.h"

#include "base/err.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A device, a pipe: what is written goes into it, and nothing takes its name. Nor that of
 * /dev/stdout, which is a link to a descriptor, even if that is a file. */
static bool is_special(const char *path)
{
    char to[64] = "";
    struct stat st;
    if (stat(path, &st) < 0)
        return false;
    return (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) || !strncmp(path, "/dev/fd/", 8) ||
           !strncmp(path, "/proc/", 6) ||
           (readlink(path, to, sizeof to - 1) > 0 && !strncmp(to, "/proc/", 6));
}

int outfile_open(struct outfile *o, const char *path)
{
    *o = (struct outfile){ .fd = -1, .path = path };
    char host[65] = "";
    gethostname(host, sizeof host - 1); /* processes of several hosts may share a directory */
    int n = snprintf(o->tmp, sizeof o->tmp, "%s.tmp.%s.%ld", path, host, (long)getpid());
    if (is_special(path)) {
        o->fd = open(path, O_WRONLY | O_CLOEXEC);
        o->tmp[0] = '\0';
    } else if ((size_t)n < sizeof o->tmp)
        o->fd = open(o->tmp, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (o->fd >= 0)
        return 0;
    *o = (struct outfile){ .fd = -1 };
    return err_sys(ERR_IO, "%s", path);
}

int outfile_publish(struct outfile *o)
{
    int rc = close(o->fd);
    o->fd = -1;
    if (rc < 0 || (o->tmp[0] && rename(o->tmp, o->path) < 0)) {
        rc = err_sys(ERR_IO, "%s", o->path);
        outfile_discard(o);
        return rc;
    }
    o->path = NULL;
    return 0;
}

void outfile_discard(struct outfile *o)
{
    if (!o->path)
        return;
    if (o->fd >= 0)
        close(o->fd);
    if (o->tmp[0])
        unlink(o->tmp);
    *o = (struct outfile){ .fd = -1 };
}
