/* err.h - how a library function says what went wrong.
 *
 * A function that fails returns -1 (or NULL) and leaves one sentence here: what, where, got,
 * expected, one line, no full stop. Only cmd/ and lib/cli print it or exit by it.
 *
 * Owns:      the kind and message of the last failure of this thread.
 * Lifetime:  until the next err_* call of the same thread.
 * Threads:   thread-local; pool_run() carries a worker's error to its caller.
 * Errors:    none of its own: nothing here allocates. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdbool.h>

/* Each kind has one exit status (lib/cli/die.c) and one name in error records. */
enum err_kind {
    ERR_NONE,
    ERR_USAGE,   /* 64: options, operands */
    ERR_DATA,    /* 65: bad image, malformed or truncated stream, shape mismatch */
    ERR_NOINPUT, /* 66: an input cannot be opened */
    ERR_UNAVAIL, /* 69: a server is absent, timed out, died */
    ERR_BUG,     /* 70: our own invariant broke */
    ERR_OS,      /* 71: memory, threads, fork */
    ERR_IO,      /* 74: read or write failed, disk full */
    ERR_TEMP,    /* 75: interrupted with progress saved; run again */
    ERR_PROTO,   /* 76: stream version, wrong producer */
    ERR_NOPERM,  /* 77: not authorised */
    ERR_CONFIG,  /* 78: config.json and weights disagree, unknown architecture */
    ERR_KINDS
};

/* Sets kind and message; gives -1, so that `return err_set(...)` reads well. */
int err_set(enum err_kind kind, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The same for functions that give a pointer: returns NULL. */
void *err_null(enum err_kind kind, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* As err_set(), with ": strerror(errno)" appended. */
int err_sys(enum err_kind kind, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Puts "prefix: " before the message on its way up; gives -1. */
int err_wrap(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Out of memory while making `what`; gives -1. */
int err_nomem(const char *what);

const char *err_msg(void);
enum err_kind err_kind(void);
void err_clear(void);

/* Marks the present failure as told to the user already (by the program that it happened in),
 * so that lib/cli exits by its kind without saying it again. */
void err_set_said(void);
bool err_said(void);

/* The failure put aside while something else that may fail is done. */
#define ERR_MAX 512
struct err_saved {
    enum err_kind kind;
    bool said;
    char msg[ERR_MAX];
};
void err_save(struct err_saved *s);
void err_restore(const struct err_saved *s);

/* The kind's name in records and JSON ("data", "noinput", ...), and back (ERR_DATA if unknown).
 */
const char *err_kind_name(enum err_kind kind);
enum err_kind err_kind_named(const char *name);

/* A broken invariant of ours: prints and aborts. Input can never reach one. */
#define BUG_ON(cond)                                                                           \
    do {                                                                                       \
        if (cond)                                                                              \
            err_bug(__FILE__, __LINE__, #cond);                                                \
    } while (0)
_Noreturn void err_bug(const char *file, int line, const char *what);

#endif
