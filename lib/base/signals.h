/* signals.h - the signals that ask a program to end: SIGTERM, SIGINT, SIGHUP. */
#ifndef BASE_SIGNALS_H
#define BASE_SIGNALS_H

/* They call handler, and no system call ends early for it; SIG_DFL: they end the process again.
 * SIGHUP stays ignored where it is (nohup). */
void signals_catch(void (*handler)(int sig));

/* Those that are neither caught nor ignored call last, in the signal's handler, before they end
 * the process; NULL: nothing. */
void signals_before_end(void (*last)(void));

/* The same, to remove a file. The string stays the caller's until signals_remove(NULL). */
void signals_remove(const char *path);

#endif
