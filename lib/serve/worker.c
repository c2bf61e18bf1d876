/* worker.c - see worker.h. */
#include "serve/worker.h"

#include "base/err.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define PIPE_BYTES (1 << 20)

/* {"id": MARK, "err": {"kind": "temp", "stage": "stage-serve", "message": "mark"}} */
#define MARK "stage-serve/mark"
static const unsigned char mark[] = "\x82\xa2id\xb0" MARK "\xa3"
                                    "err\x83\xa4kind\xa4temp\xa5stage\xabstage-serve"
                                    "\xa7message\xa4mark";

void worker_init(struct worker *w)
{
    *w = (struct worker){ .in = -1, .out = -1 };
}

/* ---- the process ---- */

/* "/usr/bin/qformer" if it is beside us, else "qformer" for PATH. */
static const char *find(char *path, size_t n, const char *name)
{
    ssize_t len = strchr(name, '/') ? -1 : readlink("/proc/self/exe", path, n - 1);
    if (len <= 0)
        return name;
    path[len] = '\0';
    char *slash = strrchr(path, '/');
    size_t room = n - (size_t)(slash + 1 - path);
    if ((size_t)snprintf(slash + 1, room, "%s", name) >= room)
        return name;
    return access(path, X_OK) == 0 ? path : name;
}

/* Between fork and exec: a group of its own, gone when we are, signals as a shell gives them.
 */
static _Noreturn void become(int in, int out, const char *file, char *const *argv, int told)
{
    sigset_t none;
    sigemptyset(&none);
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    dup2(in, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    execvp(file, argv);
    int why = errno;
    if (write(told, &why, sizeof why) < 0)
        why = 0; /* nobody to tell */
    _exit(127);
}

/* told: a pipe that closes when exec works, and says why if it does not. */
static int run(struct worker *w, int in, int out, char *const *argv)
{
    char path[4096];
    int told[2], why = 0;
    const char *file = find(path, sizeof path, argv[0]);
    if (pipe2(told, O_CLOEXEC) < 0)
        return err_sys(ERR_OS, "pipe");
    w->pid = fork();
    if (w->pid == 0)
        become(in, out, file, argv, told[1]);
    close(told[1]);
    ssize_t n = w->pid < 0 ? 0 : read(told[0], &why, sizeof why);
    close(told[0]);
    if (w->pid < 0) {
        w->pid = 0;
        return err_sys(ERR_OS, "fork");
    }
    setpgid(w->pid, w->pid);
    if (n == 0)
        return 0;
    errno = why;
    return err_sys(why == ENOENT || why == EACCES ? ERR_NOINPUT : ERR_OS, "%s", argv[0]);
}

int worker_start(struct worker *w, char *const *argv)
{
    int in[2], out[2];
    worker_init(w);
    if (pipe2(in, O_CLOEXEC) < 0)
        return err_sys(ERR_OS, "pipe");
    if (pipe2(out, O_CLOEXEC) < 0) {
        close(in[0]);
        close(in[1]);
        return err_sys(ERR_OS, "pipe");
    }
    fcntl(in[1], F_SETPIPE_SZ, PIPE_BYTES); /* if refused, it is only slower */
    fcntl(out[1], F_SETPIPE_SZ, PIPE_BYTES);
    fcntl(in[1], F_SETFL, O_NONBLOCK);
    w->in = in[1];
    w->out = out[0];
    int rc = run(w, in[0], out[1], argv);
    close(in[0]);
    close(out[1]);
    w->reader = rc < 0 ? NULL
                       : wire_reader_new(w->out, argv[0],
                                         &(struct wire_limits){ .endless = true });
    return w->reader ? worker_mark(w) : -1;
}

void worker_kill(struct worker *w)
{
    if (w->pid > 0)
        kill(-w->pid, SIGKILL);
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void worker_hang_up(struct worker *w)
{
    close_fd(&w->in);
}

bool worker_reap(struct worker *w, int *status)
{
    if (w->pid <= 0 || waitpid(w->pid, status, WNOHANG) != w->pid)
        return false;
    kill(-w->pid, SIGKILL); /* what it started may outlive it */
    for (; w->n; w->n--)
        free(w->queue[w->first++].own);
    free(w->queue);
    wire_reader_free(w->reader);
    close_fd(&w->in);
    close_fd(&w->out);
    worker_init(w);
    return true;
}

/* ---- what goes in ---- */

static int enqueue(struct worker *w, const void *p, size_t n, void *own)
{
    if (w->n == 0)
        w->first = 0;
    if (w->first + w->n == w->cap) {
        int cap = w->cap ? 2 * w->cap : 32;
        void *more = realloc(w->queue, (size_t)cap * sizeof *w->queue);
        if (!more) {
            free(own);
            return err_nomem("records for the command");
        }
        w->queue = more;
        w->cap = cap;
    }
    w->queue[w->first + w->n++] = (struct worker_piece){ p, n, own };
    return 0;
}

int worker_feed(struct worker *w, const void *bytes, size_t n, const struct tag *t,
                const char *text, uint64_t token)
{
    char id[TAG_TEXT + 1];
    unsigned char value[TAG_VALUE], *room = malloc(TAG_VALUE);
    struct tag_pieces piece;
    if (!room)
        return err_nomem("a record for the command");
    snprintf(id, sizeof id, "%.90s#%llu", text, (unsigned long long)token);
    tag_replace(&piece, room, t, bytes, n, value, tag_pack(value, id));
    if (piece.p[1] == value) {
        memcpy(room, value, piece.n[1]);
        piece.p[1] = room;
    }
    if (enqueue(w, piece.p[0], piece.n[0], NULL) < 0)
        return free(room), -1;
    return enqueue(w, piece.p[1], piece.n[1], room) < 0
               ? -1
               : enqueue(w, piece.p[2], piece.n[2], NULL);
}

int worker_mark(struct worker *w)
{
    return enqueue(w, mark, sizeof mark - 1, NULL);
}

static void written(struct worker *w, size_t n)
{
    while (w->n && n >= w->queue[w->first].n) {
        n -= w->queue[w->first].n;
        free(w->queue[w->first].own);
        w->first++;
        w->n--;
    }
    if (n) {
        w->queue[w->first].p += n;
        w->queue[w->first].n -= n;
    }
}

int worker_flush(struct worker *w)
{
    while (w->n) {
        struct iovec v[16];
        int k = w->n < 16 ? w->n : 16;
        for (int i = 0; i < k; i++)
            v[i] = (struct iovec){ (void *)w->queue[w->first + i].p, w->queue[w->first + i].n };
        ssize_t n = writev(w->in, v, k);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? 0 : -1;
        written(w, (size_t)n);
    }
    return 1;
}

/* ---- what comes out ---- */

static uint64_t token_of(const struct record *rec)
{
    const char *s;
    size_t n;
    uint64_t token = 0;
    if (record_get_str(&s, &n, rec, "id") <= 0)
        return 0;
    size_t at = n;
    while (at && s[at - 1] != '#')
        at--;
    for (size_t i = at; at && i < n; i++) {
        if (s[i] < '0' || s[i] > '9' || n - at > 19)
            return 0;
        token = 10 * token + (uint64_t)(s[i] - '0');
    }
    return token;
}

static bool is_mark(const struct record *rec)
{
    const char *s;
    size_t n;
    return record_is_error(rec) && record_get_str(&s, &n, rec, "id") > 0 &&
           n == sizeof MARK - 1 && !memcmp(s, MARK, n);
}

int worker_read(struct worker *w, struct record *rec, uint64_t *token)
{
    int got = wire_read_now(w->reader, rec);
    if (got == 2)
        return 0;
    if (got <= 0)
        return -1;
    *token = token_of(rec);
    return is_mark(rec) ? 2 : 1;
}

/* One process of a group as /proc/PID/stat has it: state, utime + stime. */
struct look {
    char state;
    unsigned long long ticks;
};

static struct look stat_of(const char *pid, pid_t group)
{
    char path[64], line[1024];
    snprintf(path, sizeof path, "/proc/%.20s/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, line, sizeof line - 1);
    if (fd >= 0)
        close(fd);
    line[n > 0 ? n : 0] = '\0';
    const char *after = strrchr(line, ')');
    struct look l;
    int pgrp;
    unsigned long long user, kernel;
    if (!after ||
        sscanf(after + 1, " %c %*d %d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &l.state,
               &pgrp, &user, &kernel) != 4 ||
        pgrp != group)
        return (struct look){ 0 };
    l.ticks = user + kernel;
    return l;
}

bool worker_alive(struct worker *w)
{
    uint64_t sum = 0;
    bool wants = false;
    DIR *d = opendir("/proc");
    for (struct dirent *e; d && (e = readdir(d));)
        if (e->d_name[0] >= '1' && e->d_name[0] <= '9') {
            struct look l = stat_of(e->d_name, w->pid);
            sum += l.ticks;
            wants |= l.state == 'R' || l.state == 'D';
        }
    if (d)
        closedir(d);
    bool alive = wants || sum != w->cpu;
    w->cpu = sum;
    return alive;
}
