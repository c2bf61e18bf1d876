/* stage-call - a filter whose work is done by stage-serve, elsewhere. Manual: man/stage-call.1.
 */
#include "cli/die.h"
#include "cli/opt.h"
#include "serve/call.h"
#include "stage/stage.h"

struct args {
    int connect, lost, timeout, window;
    const char *key, *server_key, *out;
    bool info, metrics, verbose;
};

static const struct opt opts[] = {
    OPT_INT(struct args, connect, 0, "connect-timeout", "S", 1, 86400,
            "until a first server answers"),
    OPT_INT(struct args, lost, 0, "lost-timeout", "S", 1, 86400,
            "without any server, after the first"),
    OPT_INT(struct args, timeout, 0, "timeout", "S", 0, 1000000,
            "for one record, all tries together; 0: none"),
    OPT_INT(struct args, window, 0, "window", "N", 1, 128, "records unanswered at once"),
    OPT_STR(struct args, key, 0, "key", "FILE", "secret key of this client"),
    OPT_STR(struct args, server_key, 0, "server-key", "FILE", "public key of the servers"),
    OPT_OUTPUT(struct args, out),
    OPT_FLAG(struct args, info, 0, "info", "print what a server serves, and its load"),
    OPT_FLAG(struct args, metrics, 0, "metrics", "print a server's counters, for Prometheus"),
    OPT_FLAG(struct args, verbose, 'v', "verbose", "say on standard error what is done"),
    OPT_END
};

int main(int argc, char **argv)
{
    struct args a = { .connect = 5, .lost = 60, .timeout = 600, .window = 64 };
    int first = cli_start(
        &(struct cli){ .name = "stage-call",
                       .usage = "[-o FILE] [--key FILE --server-key FILE] "
                                "ENDPOINT[,ENDPOINT...] [FILE]\n"
                                "--info | --metrics ENDPOINT",
                       .about = "Send records through a filter that stage-serve "
                                "serves; order is kept.",
                       .opts = opts,
                       .on_usage_error = stage_abort },
        argc, argv, &a);
    if (a.info + a.metrics + (a.out != NULL) > 1 && (a.info || a.metrics))
        cli_usage_error("--info and --metrics print: expected one of them, and no -o");
    int operands = argc - first, most = a.info || a.metrics ? 1 : 2;
    if (operands < 1 || operands > most)
        cli_usage_error("%d operands, expected the endpoints%s", operands,
                        most == 2 ? " and at most one file" : "");
    struct call_config c = { .endpoints = argv[first],
                             .input = argv[first + 1],
                             .output = a.out,
                             .connect_s = a.connect,
                             .lost_s = a.lost,
                             .timeout_s = a.timeout,
                             .window = a.window,
                             .record_bytes = (size_t)64 << 20,
                             .key = a.key,
                             .server_key = a.server_key,
                             .report = cli_report,
                             .say = a.verbose ? cli_warn : NULL };
    if (a.info || a.metrics)
        return cli_finish(call_ask(&c, a.metrics));
    return cli_finish(call_run(&c));
}
