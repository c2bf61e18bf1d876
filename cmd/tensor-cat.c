/* tensor-cat - joins streams of records and verifies them; the smallest stage, and the skeleton
 * to copy. Manual: man/tensor-cat.1. */
#include "cli/die.h"
#include "cli/opt.h"
#include "stage/stage.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct args {
    const char *out;
};

static const struct opt opts[] = { OPT_OUTPUT(struct args, out), OPT_END };

struct cat {
    char **files; /* the operands not yet opened */
    int left;
    struct wire_reader *in;
    int fd;
};

static void close_current(struct cat *c)
{
    wire_reader_free(c->in);
    if (c->fd > 0)
        close(c->fd);
    c->in = NULL;
}

static int open_next(struct cat *c)
{
    const char *name = *c->files++;
    c->left--;
    bool std = !strcmp(name, "-");
    c->fd = std ? STDIN_FILENO : open(name, O_RDONLY | O_CLOEXEC);
    if (c->fd < 0)
        return err_sys(ERR_NOINPUT, "%s", name);
    c->in = wire_reader_new(c->fd, std ? "standard input" : name, NULL);
    return c->in ? 0 : -1;
}

static int next(void *ctx, struct record *rec)
{
    struct cat *c = ctx;
    for (;;) {
        if (!c->in && c->left == 0)
            return 0;
        if (!c->in && open_next(c) < 0)
            return -1;
        int got = wire_read(c->in, rec);
        if (got != 0)
            return got;
        close_current(c);
    }
}

static int step(void *ctx, struct stage_io *io, struct record **in, int n)
{
    (void)ctx;
    for (int i = 0; i < n; i++)
        if (stage_emit(io, in[i]) < 0)
            return -1;
    return 0;
}

int main(int argc, char **argv)
{
    struct args a = { 0 };
    int first = cli_start(&(struct cli){ .name = "tensor-cat",
                                         .usage = "[-o FILE] [FILE...]",
                                         .about = "Join streams of records, verify them, and "
                                                  "write one whole stream.",
                                         .opts = opts,
                                         .on_usage_error = stage_abort },
                          argc, argv, &a);
    struct cat c = { .files = argv + first, .left = argc - first };
    struct stage s = { .program = "tensor-cat", .output = a.out, .ctx = &c, .step = step };
    if (c.left)
        s.next = next; /* no operands: the input stream, its chain of producers kept */
    int rc = stage_run(&s);
    close_current(&c);
    return cli_finish(rc);
}
