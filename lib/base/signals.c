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

/* A handler has no other way to learn of them. */
static void (*volatile last_act)(void);
static const char *volatile unfinished;

static void act_and_end(int sig)
{
    void (*last)(void) = last_act;
    if (last)
        last();
    signal(sig, SIG_DFL);
    raise(sig);
}

void signals_before_end(void (*last)(void))
{
    struct sigaction a = { .sa_handler = act_and_end };
    last_act = last;
    for (size_t i = 0; last && i < ENDS; i++)
        if (is(ends[i], SIG_DFL))
            sigaction(ends[i], &a, NULL);
}

static void remove_unfinished(void)
{
    unlink(unfinished);
}

void signals_remove(const char *path)
{
    if (path) {
        unfinished = path;
        signals_before_end(remove_unfinished);
    } else
        signals_before_end(NULL);
}
