/* model-quantize - a checkpoint with weights of 8, 4 or 16 bits. Manual: man/model-quantize.1.
 */
#include "cli/die.h"
#include "cli/opt.h"
#include "front/quantize.h"

struct args {
    struct quantize q;
    int weights, group;
};

static const char *const weights_words[] = { "int8", "int4", "bf16", NULL };

static const struct opt opts[] = {
    OPT_CHOICE(struct args, weights, 0, "weights", "WORD", weights_words,
               "int8 (default), int4 or bf16"),
    OPT_INT(struct args, group, 0, "group-size", "N", QUANT_GROUP, QUANT_INNER,
            "int4: weights that share a scale (32)"),
    OPT_LIST(struct args, q.ignore, 0, "ignore", "PATTERN", "layers that stay as they are"),
    OPT_SIZE(struct args, q.shard, "max-shard-size", "SIZE", "a file's size, about (2G)"),
    OPT_INT(struct args, q.threads, 't', "threads", "N", 1, 1024, "threads to compute with"),
    OPT_FLAG(struct args, q.verbose, 'v', "verbose", "say on standard error what was done"),
    OPT_END
};

static void check(struct args *a)
{
    static const enum quant_scheme schemes[] = { QUANT_INT8, QUANT_INT4, QUANT_BF16 };
    a->q.q.scheme = schemes[a->weights];
    a->q.q.group = a->group ? a->group : QUANT_GROUP;
    if (a->group && a->q.q.scheme != QUANT_INT4)
        cli_usage_error("--group-size: %s has no groups; expected --weights int4",
                        weights_words[a->weights]);
    if (a->q.q.group % QUANT_GROUP)
        cli_usage_error("--group-size %d, expected a multiple of %d", a->group, QUANT_GROUP);
}

int main(int argc, char **argv)
{
    struct args a = { 0 };
    int first = cli_start(&(struct cli){ .name = "model-quantize",
                                         .usage = "[OPTION...] MODEL DIR",
                                         .about = "Write MODEL to the new directory DIR with "
                                                  "its linear layers in 8, 4 or 16 bits.",
                                         .opts = opts },
                          argc, argv, &a);
    if (argc - first != 2)
        cli_usage_error("%d operand%s, expected MODEL and DIR", argc - first,
                        argc - first == 1 ? "" : "s");
    a.q.model = argv[first];
    a.q.dir = argv[first + 1];
    check(&a);
    return cli_finish(quantize_run(&a.q));
}
