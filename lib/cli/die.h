/* die.h - the one voice to standard error, and what a kind of failure exits with.
 *
 * Every message is one line "prog: what, where, got, expected". */
#ifndef CLI_DIE_H
#define CLI_DIE_H

#include "base/err.h"

/* The program's name for messages; cli_start() sets it. */
void cli_name(const char *name);

/* One line, with the program's name before it. */
void cli_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* The line for one record that failed: "prog: ID: message". */
void cli_report(const char *id, const char *message);

/* The line, "try 'prog --help'", status 64. */
_Noreturn void cli_usage_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* From here on, reading a mapped file that shrank under us is one line and status 74 instead of
 * a silent death. cli_start() calls it. */
void cli_catch_sigbus(void);

/* What cli_usage_error() calls before it exits, with the program's name; NULL: nothing. */
void cli_on_usage_error(void (*fn)(const char *program));

/* Exit status of a kind: <sysexits.h>'s values, see blip2(7). */
int cli_status(enum err_kind kind);

/* Prints err_msg() and exits with the status of err_kind(). */
_Noreturn void cli_die(void);
_Noreturn void cli_die_with(int ignored); /* cli_die_with(err_set(...)) */

/* The end of main: rc 0 or 1 is a status, rc < 0 prints the error and maps its kind. Closes
 * standard output; a write error that shows only there becomes status 74. */
int cli_finish(int rc);

#endif
