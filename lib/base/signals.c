/* signals.c - see signals.h. */
#include "base/signals.h"

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <unistd.h>

static const int ends[] = { SIGTERM, SIGINT, SIGHUP };
#define ENDS (sizeof ends / sizeof *ends)

/* Whether a signal is left to this handler. */
static bool is(int sig, void (*handler)(int))
{
    struct sigaction now;
    return sigaction(sig, NULL, &now) == 0 && now.sa_handler == handler;
}

void signals_catch(void (*handler)(int sig))
{
    struct sigaction a = { .sa_handler = handler, .sa_flags = SA_RESTART };
    for (size_t i = 0; i < ENDS; i++)
        if (ends[i] != SIGHUP || !is(SIGHUP, SIG_IGN))
            sigaction(ends[i], &a, NULL);
}

static const char *volatile unfinished; /* a handler has no other way to learn of it */

static void remove_and_end(int sig)
{
    const char *path = unfinished;
    if (path)
        unlink(path);
    signal(sig, SIG_DFL);
    raise(sig);
}

void signals_remove(const char *path)
{
    struct sigaction a = { .sa_handler = remove_and_end };
    unfinished = path;
    for (size_t i = 0; path && i < ENDS; i++)
        if (is(ends[i], SIG_DFL))
            sigaction(ends[i], &a, NULL);
}
