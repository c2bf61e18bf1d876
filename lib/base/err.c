/* err.c - the thread's last error: see err.h. */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local enum err_kind last_kind;
static _Thread_local bool last_said;
static _Thread_local char last_msg[ERR_MAX];

static const char *const kind_name[ERR_KINDS] = {
    [ERR_NONE] = "none",       [ERR_USAGE] = "usage",     [ERR_DATA] = "data",
    [ERR_NOINPUT] = "noinput", [ERR_UNAVAIL] = "unavail", [ERR_BUG] = "bug",
    [ERR_OS] = "os",           [ERR_IO] = "io",           [ERR_TEMP] = "temp",
    [ERR_PROTO] = "proto",     [ERR_NOPERM] = "noperm",   [ERR_CONFIG] = "config",
};

/* Control characters would break the promise of one line, and may come from a file's name. */
static void one_line(char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            *s = ' ';
}

__attribute__((format(printf, 2, 0))) static void set(enum err_kind kind, const char *fmt,
                                                      va_list ap)
{
    last_kind = kind;
    last_said = false;
    char msg[ERR_MAX]; /* the arguments may point into last_msg */
    vsnprintf(msg, sizeof msg, fmt, ap);
    memcpy(last_msg, msg, sizeof msg);
    one_line(last_msg);
}

int err_set(enum err_kind kind, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    set(kind, fmt, ap);
    va_end(ap);
    return -1;
}

void *err_null(enum err_kind kind, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    set(kind, fmt, ap);
    va_end(ap);
    return NULL;
}

int err_sys(enum err_kind kind, const char *fmt, ...)
{
    int saved = errno;
    va_list ap;
    va_start(ap, fmt);
    set(kind, fmt, ap);
    va_end(ap);
    size_t n = strlen(last_msg);
    snprintf(last_msg + n, sizeof last_msg - n, ": %s", strerror(saved));
    return -1;
}

int err_wrap(const char *fmt, ...)
{
    char inner[ERR_MAX];
    memcpy(inner, last_msg, sizeof inner);
    va_list ap;
    va_start(ap, fmt);
    set(last_kind, fmt, ap);
    va_end(ap);
    size_t n = strlen(last_msg);
    snprintf(last_msg + n, sizeof last_msg - n, ": %s", inner);
    return -1;
}

int err_nomem(const char *what)
{
    return err_set(ERR_OS, "%s: out of memory", what);
}

const char *err_msg(void)
{
    return last_msg;
}

enum err_kind err_kind(void)
{
    return last_kind;
}

void err_set_said(void)
{
    last_said = true;
}

bool err_said(void)
{
    return last_said;
}

void err_save(struct err_saved *s)
{
    s->kind = last_kind;
    s->said = last_said;
    memcpy(s->msg, last_msg, sizeof s->msg);
}

void err_restore(const struct err_saved *s)
{
    last_kind = s->kind;
    last_said = s->said;
    memcpy(last_msg, s->msg, sizeof last_msg);
}

void err_clear(void)
{
    last_kind = ERR_NONE;
    last_said = false;
    last_msg[0] = '\0';
}

const char *err_kind_name(enum err_kind kind)
{
    return kind_name[kind];
}

enum err_kind err_kind_named(const char *name)
{
    for (int k = 0; k < ERR_KINDS; k++)
        if (!strcmp(kind_name[k], name))
            return (enum err_kind)k;
    return ERR_DATA;
}

_Noreturn void err_bug(const char *file, int line, const char *what)
{
    fprintf(stderr, "BUG: %s:%d: %s\n", file, line, what);
    abort();
}
