/* input.c - see input.h. */
#include "front/input.h"

#include "base/err.h"
#include "cli/die.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int input_open(struct input *in, const char *name)
{
    bool std = !name || !strcmp(name, "-");
    *in = (struct input){ .fd = -1 };
    if (std && isatty(STDIN_FILENO))
        return err_set(ERR_USAGE, "standard input is a terminal, expected a stream of records");
    if (!std && (in->fd = open(name, O_RDONLY | O_CLOEXEC)) < 0)
        return err_sys(ERR_NOINPUT, "%s", name);
    in->reader = wire_reader_new(std ? STDIN_FILENO : in->fd, std ? "standard input" : name,
                                 NULL);
    return in->reader ? 0 : -1;
}

void input_close(struct input *in)
{
    wire_reader_free(in->reader);
    if (in->fd >= 0)
        close(in->fd);
    *in = (struct input){ .fd = -1 };
}

void input_say_saved(struct record *rec)
{
    struct record_error e;
    struct stat st;
    if (record_get_error(&e, rec) && fstat(STDIN_FILENO, &st) == 0 && S_ISREG(st.st_mode))
        cli_warn("%s: %s: %s", record_id(rec), e.stage, e.message);
}
