/* die.c - messages and exit statuses: see die.h. */
#include "cli/die.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *prog = "vqatools"; /* set once, before any thread starts */

static const int status_of[ERR_KINDS] = {
    [ERR_NONE] = 0,     [ERR_USAGE] = 64, [ERR_DATA] = 65,   [ERR_NOINPUT] = 66,
    [ERR_UNAVAIL] = 69, [ERR_BUG] = 70,   [ERR_OS] = 71,     [ERR_IO] = 74,
    [ERR_TEMP] = 75,    [ERR_PROTO] = 76, [ERR_NOPERM] = 77, [ERR_CONFIG] = 78,
};

void cli_name(const char *name)
{
    prog = name;
}

/* One write a line: lines of the stages of one pipe do not run into each other. */
static void say(const char *text)
{
    char line[1200];
    int n = snprintf(line, sizeof line - 1, "%s: %s", prog, text);
    size_t len = n < (int)sizeof line - 1 ? (size_t)n : sizeof line - 2;
    line[len++] = '\n';
    if (write(STDERR_FILENO, line, len) < 0)
        return; /* nobody left to tell */
}

void cli_warn(const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    say(text);
}

/* Most messages name the file already, and that is usually the id. */
void cli_report(const char *id, const char *message)
{
    if (!strncmp(message, id, strlen(id)))
        cli_warn("%s", message);
    else
        cli_warn("%s: %s", id, message);
}

static void (*usage_error_hook)(const char *program); /* set once, as prog is */

void cli_on_usage_error(void (*fn)(const char *program))
{
    usage_error_hook = fn;
}

_Noreturn void cli_usage_error(const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    cli_warn("%s (try '%s --help')", text, prog);
    err_set(ERR_USAGE, "%s", text);
    if (usage_error_hook)
        usage_error_hook(prog);
    exit(64);
}

/* Async-signal-safe: no formatting. Whatever raised it, the output is not complete, and the
 * next stage sees a stream without its end. */
static void on_sigbus(int sig)
{
    static const char text[] = ": a mapped file changed: it became shorter while it was read\n";
    (void)sig;
    char line[256];
    size_t n = strnlen(prog, 64);
    memcpy(line, prog, n);
    memcpy(line + n, text, sizeof text - 1);
    if (write(STDERR_FILENO, line, n + sizeof text - 1) < 0)
        _exit(74); /* nobody left to tell */
    _exit(74);
}

void cli_catch_sigbus(void)
{
    struct sigaction a = { .sa_handler = on_sigbus };
    sigaction(SIGBUS, &a, NULL);
}

int cli_status(enum err_kind kind)
{
    return status_of[kind];
}

/* What another program of the pipe has said already is not said twice. */
static void say_error(void)
{
    if (!err_said())
        say(err_msg());
}

_Noreturn void cli_die(void)
{
    say_error();
    exit(cli_status(err_kind()));
}

_Noreturn void cli_die_with(int ignored)
{
    (void)ignored;
    cli_die();
}

int cli_finish(int rc)
{
    if (rc < 0)
        say_error();
    int status = rc < 0 ? cli_status(err_kind()) : rc;
    int late = ferror(stdout);
    if ((fclose(stdout) || late) && errno != EBADF && status <= 1) {
        cli_warn("standard output: %s", late ? "write error" : strerror(errno));
        return 74;
    }
    return status;
}
