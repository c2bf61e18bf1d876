/* tensor-diff - how far two streams of records are apart. Manual: man/tensor-diff.1. */
#include "base/err.h"
#include "cli/die.h"
#include "cli/opt.h"
#include "front/input.h"
#include "tensor/stats.h"
#include "wire/wire.h"

#include <stdio.h>
#include <string.h>

struct args {
    double tol;
    bool quiet;
};

static const struct opt opts[] = {
    OPT_FLOAT(struct args, tol, 0, "tol", "X", 0, 1e300,
              "largest max|a-b| / max|b| that counts as equal (default 0)"),
    OPT_FLAG(struct args, quiet, 'q', "quiet", "only the exit status"), OPT_END
};

struct side {
    const char *name;
    struct input in;
    struct record rec;
};

static int open_side(struct side *s, const char *name)
{
    record_init(&s->rec);
    s->name = name;
    return input_open(&s->in, name);
}

static bool same_bytes(const struct record_field *a, const struct record_field *b)
{
    return a->raw_len == b->raw_len && !memcmp(a->raw, b->raw, a->raw_len);
}

static int say_different(const struct args *a, const char *id, const struct record_field *f,
                         const char *how)
{
    if (!a->quiet)
        printf("%s\t%.*s\t%s\n", id, (int)f->key_len, f->key, how);
    return 1;
}

/* A tensor, or a number as a tensor of one value. */
static bool as_tensor(struct tensor *t, const struct record_field *f)
{
    *t = f->type == RECORD_FLOAT ? tensor_1d((void *)&f->f, DT_F64, 1) : f->tensor;
    return f->type == RECORD_FLOAT || f->type == RECORD_TENSOR;
}

/* 1 if the fields differ by more than the tolerance. */
static int compare(const struct args *a, const char *id, const struct record_field *x,
                   const struct record_field *y)
{
    char how[256];
    struct tensor p, q;
    if (x->type != y->type || !as_tensor(&p, x) || !as_tensor(&q, y))
        return same_bytes(x, y) ? 0 : say_different(a, id, x, "differs");
    if (!tensor_same_shape(p, q)) {
        char s[TENSOR_SHAPE_MAX], t[TENSOR_SHAPE_MAX];
        snprintf(how, sizeof how, "shape %s, other %s", tensor_shape_str(s, p),
                 tensor_shape_str(t, q));
        return say_different(a, id, x, how);
    }
    struct tensor_diff d = tensor_diff(p, q);
    bool beyond = !(d.max_rel <= a->tol);
    if (!a->quiet)
        printf("%s\t%.*s\tmax_abs %.3g\tmax_rel %.3g\tl2 %.3g\tcosine %.9f%s\n", id,
               (int)x->key_len, x->key, d.max_abs, d.max_rel, d.l2, d.cosine,
               beyond ? "\tBEYOND" : "");
    return beyond;
}

static const struct record_field *same_field(const struct record *r,
                                             const struct record_field *f)
{
    for (int i = 0; i < r->n; i++)
        if (r->field[i].key_len == f->key_len && !memcmp(r->field[i].key, f->key, f->key_len))
            return &r->field[i];
    return NULL;
}

static int compare_records(const struct args *a, struct record *x, struct record *y)
{
    const char *id = record_id(x);
    int different = 0;
    for (int i = 0; i < x->n; i++) {
        const struct record_field *g = same_field(y, &x->field[i]);
        different |= g ? compare(a, id, &x->field[i], g)
                       : say_different(a, id, &x->field[i], "only in the first");
    }
    for (int i = 0; i < y->n; i++)
        if (!same_field(x, &y->field[i]))
            different |= say_different(a, id, &y->field[i], "only in the second");
    return different;
}

static int run(const struct args *a, struct side *x, struct side *y)
{
    int different = 0;
    for (;;) {
        int p = wire_read(x->in.reader, &x->rec),
            q = p < 0 ? 0 : wire_read(y->in.reader, &y->rec);
        if (p < 0 || q < 0)
            return -1;
        if (p == 0 && q == 0)
            return different;
        if (p == 0 || q == 0) {
            if (!a->quiet)
                printf("%s ends first\n", p == 0 ? x->name : y->name);
            return 1;
        }
        different |= compare_records(a, &x->rec, &y->rec);
    }
}

int main(int argc, char **argv)
{
    struct args a = { 0 };
    int i = cli_start(
        &(struct cli){ .name = "tensor-diff",
                       .usage = "[--tol X] [-q] FILE FILE",
                       .about = "Compare two streams of records, record by record "
                                "and field by field.",
                       .opts = opts },
        argc, argv, &a);
    if (argc - i != 2)
        cli_usage_error("%d operands, expected two streams", argc - i);
    struct side x = { .in.fd = -1 }, y = { .in.fd = -1 };
    int rc = open_side(&x, argv[i]) < 0 || open_side(&y, argv[i + 1]) < 0 ? -1
                                                                          : run(&a, &x, &y);
    record_release(&x.rec);
    record_release(&y.rec);
    input_close(&x.in);
    input_close(&y.in);
    return cli_finish(rc);
}
