/* vqa-keygen - a pair of keys for stage-serve and stage-call. Manual: man/vqa-keygen.1. */
#include "cli/die.h"
#include "cli/opt.h"
#include "serve/keys.h"

static const struct opt opts[] = { OPT_END };

int main(int argc, char **argv)
{
    int first = cli_start(&(struct cli){ .name = "vqa-keygen",
                                         .usage = "NAME",
                                         .about = "Make a pair of keys: NAME.key, secret, and "
                                                  "NAME.pub, to hand out.",
                                         .opts = opts },
                          argc, argv, NULL);
    if (argc - first != 1)
        cli_usage_error("expected one operand, the name of the key files");
    return cli_finish(serve_keys_make(argv[first]));
}
