/* stage-serve - a filter of records, served to pipelines on this and other machines. Manual:
 * man/stage-serve.1. */
#include "cli/die.h"
#include "cli/opt.h"
#include "serve/serve.h"

#define MIB ((size_t)1 << 20)

struct args {
    int workers, batch, batch_wait, credits, watchdog, drain, memory;
    const char *key, *allow;
    bool verbose;
};

static const struct opt opts[] = {
    OPT_INT(struct args, workers, 'j', "workers", "N", 1, 64, "copies of COMMAND to run"),
    OPT_INT(struct args, batch, 'b', "batch-size", "N", 1, 256,
            "records given to a worker together"),
    OPT_INT(struct args, batch_wait, 0, "batch-wait", "MS", 0, 60000,
            "how long a batch may wait to fill"),
    OPT_INT(struct args, credits, 0, "credits", "N", 1, 1024,
            "requests one client may have unanswered"),
    OPT_INT(struct args, memory, 0, "memory", "MIB", 1, 1 << 20,
            "requests and answers held together"),
    OPT_INT(struct args, watchdog, 0, "watchdog", "S", 1, 86400,
            "a busy worker may do nothing for so long"),
    OPT_INT(struct args, drain, 0, "drain", "S", 0, 86400, "time to finish after SIGTERM"),
    OPT_STR(struct args, key, 0, "key", "FILE", "secret key of this server"),
    OPT_STR(struct args, allow, 0, "allow", "FILE",
            "public keys of the clients that may connect"),
    OPT_FLAG(struct args, verbose, 'v', "verbose", "say on standard error what is done"),
    OPT_END
};

int main(int argc, char **argv)
{
    struct args a = { .workers = 1, .batch = 1, .watchdog = 30, .drain = 30, .memory = 512 };
    int first = cli_start(
        &(struct cli){ .name = "stage-serve",
                       .usage = "[-j N] [-b N] [--key FILE --allow FILE] "
                                "ENDPOINT -- COMMAND [ARG...]",
                       .about = "Serve a filter of records to stage-call on this "
                                "and other machines.",
                       .opts = opts },
        argc, argv, &a);
    if (argc - first < 2)
        cli_usage_error("expected an endpoint and a command");
    int work = a.workers * a.batch;
    struct serve_config c = { .endpoint = argv[first],
                              .command = argv + first + 1,
                              .workers = a.workers,
                              .batch = a.batch,
                              .batch_wait_ms = a.batch_wait,
                              .credits = a.credits ? a.credits : work + (work > 1 ? work : 2),
                              .watchdog_s = a.watchdog,
                              .drain_s = a.drain,
                              .queue_bytes = (size_t)a.memory * MIB,
                              .record_bytes = 64 * MIB,
                              .key = a.key,
                              .allow = a.allow,
                              .say = a.verbose ? cli_warn : NULL,
                              .warn = cli_warn };
    return cli_finish(serve_run(&c));
}
