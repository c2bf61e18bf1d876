/* pipeline.c - see pipeline.h. */
#include "front/pipeline.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

void pipeline_init(struct pipeline *p)
{
    *p = (struct pipeline){ .in = -1, .out = -1 };
}

static struct pipeline *volatile running; /* for a handler */

static void forget(const struct pipeline *p)
{
    if (running == p)
        signals_before_end(NULL);
}

void pipeline_release(struct pipeline *p)
{
    forget(p);
    for (int i = 0; i < p->n; i++)
        free(p->cmd[i].argv);
    pipeline_init(p);
}

void pipeline_command(struct pipeline *p, const char *name)
{
    BUG_ON(p->n == PIPELINE_STAGES);
    p->n++;
    pipeline_arg(p, name);
}

void pipeline_arg(struct pipeline *p, const char *arg)
{
    struct pipeline_cmd *c = &p->cmd[p->n - 1];
    const char **v = realloc(c->argv, ((size_t)c->argc + 2) * sizeof *v);
    if (!v) {
        c->argc = -1; /* pipeline_start() says so */
        return;
    }
    v[c->argc++] = arg;
    v[c->argc] = NULL;
    c->argv = v;
}

void pipeline_opt(struct pipeline *p, const char *name, const char *value)
{
    if (!value)
        return;
    pipeline_arg(p, name);
    pipeline_arg(p, value);
}

/* "/usr/local/bin/qformer" if it is beside us, else "qformer", for PATH. */
static const char *find(char *path, size_t n, const char *name)
{
    ssize_t len = readlink("/proc/self/exe", path, n - 1);
    if (len <= 0)
        return name;
    path[len] = '\0';
    char *slash = strrchr(path, '/');
    if (!slash || (size_t)snprintf(slash + 1, n - (size_t)(slash + 1 - path), "%s", name) >=
                      n - (size_t)(slash + 1 - path))
        return name;
    return access(path, X_OK) == 0 ? path : name;
}

/* in and out become its standard input and output; -1 keeps ours. */
static int spawn_one(pid_t *pid, const struct pipeline_cmd *c, int in, int out)
{
    char path[4096];
    posix_spawn_file_actions_t fa;
    posix_spawn_file_actions_init(&fa);
    if (in >= 0)
        posix_spawn_file_actions_adddup2(&fa, in, STDIN_FILENO);
    if (out >= 0)
        posix_spawn_file_actions_adddup2(&fa, out, STDOUT_FILENO);
    int rc = posix_spawnp(pid, find(path, sizeof path, c->argv[0]), &fa, NULL,
                          (char *const *)c->argv, environ);
    posix_spawn_file_actions_destroy(&fa);
    return rc ? err_set(ERR_OS, "cannot run %s: %s", c->argv[0], strerror(rc)) : 0;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static int make_pipe(int fd[2])
{
    if (pipe2(fd, O_CLOEXEC) < 0)
        return err_sys(ERR_OS, "pipe");
    fcntl(fd[1], F_SETPIPE_SZ, 1 << 20); /* one embedding fits; if refused, it is only slower */
    return 0;
}

/* They would go on until they next read or write: that may be minutes. */
static void end_stages(void)
{
    for (int i = 0; i < running->n; i++)
        if (running->pid[i] > 0)
            kill(running->pid[i], SIGTERM);
}

int pipeline_start(struct pipeline *p, bool feed)
{
    int from = -1, fd[2];
    running = p;
    signals_before_end(end_stages);
    if (feed) {
        if (make_pipe(fd) < 0)
            return -1;
        from = fd[0];
        p->in = fd[1];
    }
    for (int i = 0; i < p->n; i++) {
        if (p->cmd[i].argc < 0)
            return err_nomem("command line");
        if (make_pipe(fd) < 0)
            return -1;
        int rc = spawn_one(&p->pid[i], &p->cmd[i], from, fd[1]);
        close_fd(&from);
        close(fd[1]);
        if (rc < 0) {
            close(fd[0]);
            return -1;
        }
        from = fd[0];
    }
    p->out = from;
    return 0;
}

static int status_of(pid_t pid)
{
    int st;
    while (waitpid(pid, &st, 0) < 0)
        if (errno != EINTR)
            return 71;
    return WIFSIGNALED(st) ? 128 + WTERMSIG(st) : WEXITSTATUS(st);
}

int pipeline_wait(struct pipeline *p)
{
    int first = 0, minor = 0;
    close_fd(&p->in);
    close_fd(&p->out);
    for (int i = 0; i < p->n; i++) {
        int st = p->pid[i] > 0 ? status_of(p->pid[i]) : 0;
        p->pid[i] = 0; /* somebody else's from here on */
        if (st == 1)
            minor = 1;
        else if (st && st != 128 + SIGPIPE && !first)
            first = st;
    }
    forget(p);
    return first ? first : minor;
}

static bool is_plain(const char *s)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "@%+=:,./-_";
    return *s && s[strspn(s, plain)] == '\0';
}

static int put_quoted(struct buf *out, const char *s)
{
    if (is_plain(s))
        return buf_puts(out, s);
    int rc = buf_putc(out, '\'');
    for (; *s && rc == 0; s++)
        rc = *s == '\'' ? buf_puts(out, "'\\''") : buf_putc(out, *s);
    return rc < 0 ? -1 : buf_putc(out, '\'');
}

int pipeline_text(struct buf *out, const struct pipeline *p)
{
    for (int i = 0; i < p->n; i++) {
        if (i && buf_puts(out, " | ") < 0)
            return -1;
        for (int j = 0; j < p->cmd[i].argc; j++)
            if ((j && buf_putc(out, ' ') < 0) || put_quoted(out, p->cmd[i].argv[j]) < 0)
                return -1;
    }
    return 0;
}
