/* filter.c - see filter.h. */
#include "front/filter.h"

#include "base/err.h"
#include "cli/env.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* Our ends: its standard input is a socket, because a write to a pipe that nobody reads any
 * more would be a signal for the whole process. */
struct ends {
    int in, out, err;
};

bool filter_there(const char *program)
{
    const char *at = env_get("PATH");
    while (at && *at) {
        char path[4096];
        size_t n = strcspn(at, ":");
        snprintf(path, sizeof path, "%.*s/%s", (int)n, at, program);
        if (access(path, X_OK) == 0)
            return true;
        at += n + (at[n] == ':');
    }
    return false;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static int spawn(pid_t *pid, struct ends *e, const char *const argv[], const char *package)
{
    int in[2] = { -1, -1 }, out[2] = { -1, -1 }, err[2] = { -1, -1 };
    int bad = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, in) < 0 ||
              pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0;
    int rc = bad ? errno : 0;
    if (!bad) {
        posix_spawn_file_actions_t fa;
        posix_spawn_file_actions_init(&fa);
        posix_spawn_file_actions_adddup2(&fa, in[1], STDIN_FILENO);
        posix_spawn_file_actions_adddup2(&fa, out[1], STDOUT_FILENO);
        posix_spawn_file_actions_adddup2(&fa, err[1], STDERR_FILENO);
        rc = posix_spawnp(pid, argv[0], &fa, NULL, (char *const *)argv, environ);
        posix_spawn_file_actions_destroy(&fa);
    }
    close_fd(&in[1]);
    close_fd(&out[1]);
    close_fd(&err[1]);
    *e = (struct ends){ in[0], out[0], err[0] };
    if (rc == ENOENT)
        return err_set(ERR_UNAVAIL, "%s: not installed (Debian package %s)", argv[0], package);
    return rc ? err_set(ERR_OS, "cannot run %s: %s", argv[0], strerror(rc)) : 0;
}

/* What it does not read is not an error: its status says whether it is content. */
static void feed(struct ends *e, const char **in, size_t *n)
{
    ssize_t put = *n ? send(e->in, *in, *n, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;
    if (put > 0) {
        *in += put;
        *n -= (size_t)put;
    }
    if (*n == 0 || (put < 0 && errno != EAGAIN && errno != EINTR))
        close_fd(&e->in);
}

static int take(struct buf *to, int *fd)
{
    if (buf_reserve(to, 65536) < 0)
        return -1;
    ssize_t got = read(*fd, to->data + to->len, 65536);
    if (got > 0)
        to->len += (size_t)got;
    else if (got == 0 || errno != EINTR)
        close_fd(fd);
    return 0;
}

/* Writes and reads by turns, so that neither side waits for the other. */
static int pump(struct ends *e, struct buf *out, struct buf *err, const char *in, size_t n)
{
    while (e->out >= 0 || e->err >= 0) {
        struct pollfd p[3] = { { e->in, POLLOUT, 0 },
                               { e->out, POLLIN, 0 },
                               { e->err, POLLIN, 0 } };
        if (poll(p, 3, -1) < 0 && errno != EINTR)
            return err_sys(ERR_OS, "poll");
        if (p[0].fd >= 0 && p[0].revents)
            feed(e, &in, &n);
        if (p[1].fd >= 0 && p[1].revents && take(out, &e->out) < 0)
            return -1;
        if (p[2].fd >= 0 && p[2].revents && take(err, &e->err) < 0)
            return -1;
    }
    return 0;
}

/* The last line that says something, which is where gnuplot and others tell the reason; without
 * what is not printable. */
static int complain(const char *program, int status, const struct buf *err)
{
    char line[200];
    size_t n = 0;
    bool over = false;
    for (size_t i = 0; i < err->len; i++) {
        unsigned char c = err->data[i];
        if (c > ' ' && over)
            n = 0;
        over = c == '\n' || (over && c <= ' ');
        if (c >= ' ' && c < 0x7f && (n || c != ' ') && n + 1 < sizeof line)
            line[n++] = (char)c;
    }
    line[n] = '\0';
    return WIFSIGNALED(status)
               ? err_set(ERR_UNAVAIL, "%s: ended by signal %d", program, WTERMSIG(status))
               : err_set(ERR_UNAVAIL, "%s: status %d: %s", program, WEXITSTATUS(status), line);
}

int filter_run(struct buf *out, const char *const argv[], const char *package, const void *in,
               size_t n)
{
    struct ends e;
    struct buf err = { 0 };
    pid_t pid;
    int status = 0, rc = spawn(&pid, &e, argv, package);
    if (rc == 0) {
        rc = pump(&e, out, &err, in, n);
        close_fd(&e.in);
        close_fd(&e.out);
        close_fd(&e.err);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            continue;
        if (rc == 0 && status)
            rc = complain(argv[0], status, &err);
    }
    close_fd(&e.in);
    close_fd(&e.out);
    close_fd(&e.err);
    buf_release(&err);
    return rc;
}
