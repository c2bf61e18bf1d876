/* serve.h - stage-serve: sockets and processes around lib/rpc/server.h.
 *
 * Errors:  serve_run() gives 0 after a drain, or -1 with err set: as port/port.h and
 * serve/keys.h say, and ERR_CONFIG for a command that never gets ready. */
#ifndef SERVE_SERVE_H
#define SERVE_SERVE_H

#include <stddef.h>
#include <stdint.h>

struct serve_config {
    const char *endpoint;
    char *const *command; /* ends in NULL */
    int workers, batch, batch_wait_ms, credits, watchdog_s, drain_s;
    size_t queue_bytes, record_bytes;
    const char *key, *allow; /* files, or NULL */
    void (*say)(const char *fmt, ...) __attribute__((format(printf, 1, 2))); /* or NULL */
    void (*warn)(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
};

int serve_run(const struct serve_config *cfg);

#endif
