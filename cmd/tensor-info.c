/* tensor-info - what is in a stream of records: ids, names, types, shapes, ranges.
 * Manual: man/tensor-info.1. */
#include "cli/die.h"
#include "cli/opt.h"
#include "front/describe.h"
#include "front/input.h"
#include "tensor/stats.h"
#include "wire/wire.h"

#include <stdio.h>
#include <string.h>

struct args {
    bool json;
};

static const struct opt opts[] = {
    OPT_FLAG(struct args, json, 0, "json", "one JSON object a record"), OPT_END
};

/* Text from anywhere, for a terminal: no control characters, at most 60 bytes. */
static void print_text(const char *s, size_t n)
{
    putchar('"');
    for (size_t i = 0; i < n && i < 60; i++)
        putchar((unsigned char)s[i] < 0x20 || s[i] == 0x7f ? ' ' : s[i]);
    printf("\"%s\n", n > 60 ? "..." : "");
}

static void print_tensor(struct tensor t)
{
    char shape[TENSOR_SHAPE_MAX];
    if (tensor_count(t) == 0) {
        printf("%-4s %-16s empty\n", dtype_name(t.dtype), tensor_shape_str(shape, t));
        return;
    }
    struct tensor_stats s = tensor_stats(t);
    printf("%-4s %-16s min %-11.5g mean %-11.5g max %.5g", dtype_name(t.dtype),
           tensor_shape_str(shape, t), s.min, s.mean, s.max);
    if (s.bad)
        printf("  %lld not finite", (long long)s.bad);
    putchar('\n');
}

static void print_field(const struct record_field *f)
{
    printf("  %-22.*s ", (int)f->key_len, f->key);
    if (f->type == RECORD_TENSOR)
        print_tensor(f->tensor);
    else if (f->type == RECORD_STR)
        print_text(f->str, f->str_len);
    else if (f->type == RECORD_INT || f->type == RECORD_BOOL)
        printf("%lld\n", (long long)f->i);
    else if (f->type == RECORD_FLOAT)
        printf("%.9g\n", f->f);
    else
        printf("%s, %zu bytes\n", describe_type(f->type),
               f->type == RECORD_BIN ? f->str_len : f->raw_len);
}

static void print_record(struct record *rec)
{
    struct record_error e;
    bool failed = record_get_error(&e, rec);
    printf("%s\n", record_id(rec));
    for (int i = 0; i < rec->n; i++) {
        const struct record_field *f = &rec->field[i];
        if (failed && f->key_len == 3 && !memcmp(f->key, "err", 3))
            printf("  %-22s %s: %s (%s)\n", "err", e.stage, e.message, e.kind);
        else if (f->key_len != 2 || memcmp(f->key, "id", 2))
            print_field(f);
    }
}

static int run(const struct args *a, const char *name)
{
    struct input in;
    struct record rec;
    record_init(&rec);
    int got = input_open(&in, name) < 0 ? -1 : 1;
    while (got > 0 && (got = wire_read(in.reader, &rec)) > 0)
        a->json ? describe_json(stdout, &rec) : print_record(&rec);
    int rc = got < 0 ? -1 : wire_reader_counts(in.reader).errors != 0;
    record_release(&rec);
    input_close(&in);
    return rc;
}

int main(int argc, char **argv)
{
    struct args a = { 0 };
    int i = cli_start(&(struct cli){ .name = "tensor-info",
                                     .usage = "[--json] [FILE...]",
                                     .about = "Say what is in a stream of records, and whether "
                                              "it is whole.",
                                     .opts = opts },
                      argc, argv, &a);
    if (i == argc)
        return cli_finish(run(&a, NULL));
    int rc = 0;
    for (; i < argc && rc >= 0; i++) {
        int one = run(&a, argv[i]);
        rc = one ? one : rc;
    }
    return cli_finish(rc);
}
