/* tensor-convert - streams of records to and from .npy and .safetensors files.
 * Manual: man/tensor-convert.1. */
#include "cli/die.h"
#include "cli/opt.h"
#include "front/convert.h"
#include "front/input.h"
#include "stage/stage.h"

enum { NPY, SAFETENSORS, NONE };
static const char *const kinds[] = { "npy", "safetensors", NULL };

struct args {
    struct convert c;
    int to, from;
    const char *out;
};

static const struct opt opts[] = {
    OPT_CHOICE(struct args, to, 0, "to", "KIND", kinds, "npy or safetensors: stream to file"),
    OPT_CHOICE(struct args, from, 0, "from", "KIND", kinds,
               "npy or safetensors: files to stream"),
    OPT_STR(struct args, c.field, 0, "field", "NAME", "the tensor's field in a record"),
    OPT_STR(struct args, c.ids, 0, "ids", "FILE", "ids, one a line, in the order of .npy rows"),
    OPT_FLAG(struct args, c.per_record, 0, "per-record", ".npy: a file for each record"),
    OPT_OUTPUT(struct args, out),
    OPT_END
};

static const struct cli about = {
    .name = "tensor-convert",
    .usage = "--to npy [--field NAME] [--ids FILE] [--per-record] [STREAM] OUT\n"
             "--to safetensors [--field NAME] [STREAM] OUT\n"
             "--from npy --field NAME [--ids FILE] [--per-record] [-o FILE] IN...\n"
             "--from safetensors [--field NAME] [--ids FILE] [-o FILE] IN...",
    .about = "Convert streams of records to and from .npy and .safetensors files.",
    .opts = opts,
};

static int to_file(const struct args *a, int n, char **operands)
{
    struct input in;
    int rc = input_open(&in, n == 2 ? operands[0] : NULL);
    if (rc == 0)
        rc = a->to == NPY ? convert_to_npy(&a->c, in.reader, operands[n - 1])
                          : convert_to_safetensors(&a->c, in.reader, operands[n - 1]);
    input_close(&in);
    return rc;
}

static int next(void *ctx, struct record *rec)
{
    return convert_source_next(ctx, rec);
}

static int step(void *ctx, struct stage_io *io, struct record **in, int n)
{
    (void)ctx;
    for (int i = 0; i < n; i++)
        if (stage_emit(io, in[i]) < 0)
            return -1;
    return 0;
}

static int from_files(const struct args *a, int n, char **operands)
{
    struct convert_source *source = convert_source_new(&a->c, a->from == NPY, operands, n);
    if (!source)
        return -1;
    int rc = stage_run(&(struct stage){ .program = "tensor-convert",
                                        .output = a->out,
                                        .ctx = source,
                                        .next = next,
                                        .step = step });
    convert_source_free(source);
    return rc;
}

static void check(const struct args *a, int n)
{
    if ((a->to == NONE) == (a->from == NONE))
        cli_usage_error("expected one of --to and --from");
    if (a->to != NONE && (n < 1 || n > 2))
        cli_usage_error("%d operands, expected [STREAM] OUT", n);
    if (a->to != NONE && a->out)
        cli_usage_error("--output goes with --from; --to names its file last");
    if (a->from != NONE && n == 0)
        cli_usage_error("no files, expected IN...");
    if (a->from == NPY && !a->c.field)
        cli_usage_error("--from npy: expected --field NAME, which .npy files do not hold");
    if (a->c.per_record && a->to != NPY && a->from != NPY)
        cli_usage_error("--per-record is for npy");
    if (a->c.ids && a->to == SAFETENSORS)
        cli_usage_error("--ids: .safetensors files hold the ids themselves");
}

int main(int argc, char **argv)
{
    struct args a = { .to = NONE, .from = NONE };
    int i = cli_start(&about, argc, argv, &a);
    int n = argc - i;
    check(&a, n);
    return cli_finish(a.to != NONE ? to_file(&a, n, argv + i) : from_files(&a, n, argv + i));
}
