/* call.h - stage-call: sockets and standard streams around lib/rpc/client.h.
 *
 * Errors:  call_run() gives 0, or 1 if any record is an error, or -1 with err set: ERR_UNAVAIL
 * no server within the time to connect, ERR_TEMP gave up later (the message lists what is
 *          unanswered), ERR_NOPERM keys, ERR_PROTO another model, and those of the input. */
#ifndef SERVE_CALL_H
#define SERVE_CALL_H

#include <stddef.h>

struct call_config {
    const char *endpoints; /* separated by commas */
    const char *input;     /* a file, or NULL or "-": standard input */
    const char *output; /* a file (appears complete or not at all), or NULL: standard output */
    int connect_s, lost_s, timeout_s, window;
    size_t record_bytes;
    const char *key, *server_key;                        /* files, or NULL */
    void (*report)(const char *id, const char *message); /* a failed record */
    void (*say)(const char *fmt, ...) __attribute__((format(printf, 1, 2))); /* or NULL */
};

/* Input to output through the servers. */
int call_run(const struct call_config *cfg);

/* What one server says about itself, to standard output: for people, or for Prometheus. */
int call_ask(const struct call_config *cfg, int metrics);

#endif
