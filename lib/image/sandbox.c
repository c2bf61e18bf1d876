/* sandbox.c - a decoder in a process of its own that may compute, write to one pipe, and end:
 * see image.h. What comes back is not believed either. */
#include "base/err.h"
#include "base/io.h"
#include "base/math.h"
#include "image/confine.h"
#include "image/image.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MEMORY  ((rlim_t)1536 << 20) /* above what the process has mapped already */
#define PIXELS  ((int64_t)178956970)
#define SECONDS 10

struct answer {
    int rc, w, h;
    struct err_saved err;
};

/* ---- inside ---- */

static int refuse(const char *what)
{
    return err_sys(ERR_CONFIG, "cannot confine the decoder: %s", what);
}

static int filter_calls(void)
{
    static const int allowed[] = CONFINE_CALLS;
    enum { N = sizeof allowed / sizeof *allowed };
    struct sock_filter f[4 + 2 * N + 1];
    size_t n = 0;
    f[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                                          offsetof(struct seccomp_data, arch));
    f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, CONFINE_ARCH, 1, 0);
    f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    f[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                                          offsetof(struct seccomp_data, nr));
    for (int i = 0; i < N; i++) {
        f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)allowed[i],
                                              0, 1);
        f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    }
    f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    struct sock_fprog prog = { (unsigned short)n, f };
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) == 0 ? 0 : refuse("system calls");
}

static rlim_t mapped(void)
{
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f && fscanf(f, "%lu", &pages) != 1)
        pages = 0;
    if (f)
        fclose(f);
    return (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE);
}

static int limit(int what, rlim_t value)
{
    return setrlimit(what, &(struct rlimit){ value, value });
}

/* Standard output is the pipe; nothing else stays open. */
static int confine(int pipe_end)
{
    rlim_t memory = mapped() + MEMORY;
    if (dup2(pipe_end, STDOUT_FILENO) < 0 || close(STDIN_FILENO) < 0 ||
        syscall(SYS_close_range, 3, ~0u, 0) < 0)
        return refuse("descriptors");
    if (limit(RLIMIT_AS, memory) < 0 || limit(RLIMIT_CPU, SECONDS) < 0 ||
        limit(RLIMIT_CORE, 0) < 0 || limit(RLIMIT_FSIZE, 0) < 0 || limit(RLIMIT_NOFILE, 0) < 0)
        return refuse("limits");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return refuse("privileges");
    return filter_calls();
}

static _Noreturn void inside(int pipe_end, image_fn *decode, void *ctx)
{
    struct image im = { 0 };
    struct answer a = { 0 };
    signal(SIGPIPE, SIG_DFL);
    a.rc = confine(pipe_end) < 0 ? -1 : decode(&im, ctx);
    a.w = im.w;
    a.h = im.h;
    err_save(&a.err);
    if (io_write_full(STDOUT_FILENO, &a, sizeof a) == 0 && a.rc == 0)
        io_write_full(STDOUT_FILENO, im.rgb, (size_t)im.w * (size_t)im.h * 3);
    _exit(0);
}

/* ---- outside ---- */

static int64_t milliseconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* n bytes before the deadline: 1, 0 if it ended or it is too late. */
static int receive(int fd, void *p, size_t n, int64_t until)
{
    for (size_t have = 0; have < n;) {
        struct pollfd wait = { fd, POLLIN, 0 };
        int64_t left = until - milliseconds();
        if (left <= 0 || poll(&wait, 1, (int)left) <= 0)
            return 0;
        ssize_t got = io_read_some(fd, (char *)p + have, n - have);
        if (got <= 0)
            return 0;
        have += (size_t)got;
    }
    return 1;
}

static int take_pixels(struct image *out, const struct answer *a, int fd, int64_t until)
{
    size_t n;
    if (a->w < 1 || a->h < 1 || a->h > PIXELS / a->w ||
        !math_mul(&n, (size_t)a->w * (size_t)a->h, 3))
        return err_set(ERR_DATA, "the decoder claims %d x %d pixels", a->w, a->h);
    out->rgb = malloc(n);
    if (!out->rgb)
        return err_nomem("pixels");
    out->w = a->w;
    out->h = a->h;
    return receive(fd, out->rgb, n, until) ? 0 : err_set(ERR_DATA, "the decoder broke off");
}

static int take_answer(struct image *out, int fd, int64_t until)
{
    struct answer a;
    if (!receive(fd, &a, sizeof a, until))
        return milliseconds() >= until
                   ? err_set(ERR_DATA, "decoding took longer than %d s", SECONDS)
                   : err_set(ERR_DATA, "the decoder died on it");
    if (a.rc == 0)
        return take_pixels(out, &a, fd, until);
    a.err.msg[sizeof a.err.msg - 1] = '\0';
    if (a.err.kind <= ERR_NONE || a.err.kind >= ERR_KINDS)
        a.err.kind = ERR_DATA;
    return err_set(a.err.kind, "%s", a.err.msg);
}

int image_apart(struct image *out, image_fn *decode, void *ctx)
{
    int fd[2], rc;
    *out = (struct image){ 0 };
    if (pipe(fd) < 0)
        return err_sys(ERR_OS, "pipe");
    pid_t pid = fork();
    if (pid == 0)
        inside(fd[1], decode, ctx);
    close(fd[1]);
    if (pid < 0)
        rc = err_sys(ERR_OS, "fork");
    else
        rc = take_answer(out, fd[0], milliseconds() + SECONDS * 1000);
    close(fd[0]);
    if (pid > 0) {
        kill(pid, SIGKILL); /* it has said all that it may */
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    if (rc < 0)
        image_release(out);
    return rc;
}

struct job {
    const void *bytes;
    size_t n;
    const struct image_limits *lim;
};

static int decode_job(struct image *out, void *ctx)
{
    const struct job *j = ctx;
    return image_decode(out, j->bytes, j->n, j->lim);
}

int image_decode_apart(struct image *out, const void *bytes, size_t n,
                       const struct image_limits *lim)
{
    struct job j = { bytes, n, lim };
    return image_apart(out, decode_job, &j);
}
