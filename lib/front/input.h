/* input.h - a stream of records that a command reads by itself, not through a stage.
 *
 * Errors:  -1 with err set: ERR_NOINPUT cannot open, ERR_USAGE it would be a terminal. */
#ifndef FRONT_INPUT_H
#define FRONT_INPUT_H

#include "wire/wire.h"

struct input {
    struct wire_reader *reader;
    int fd; /* ours to close, or -1 */
};

/* name: a file; NULL or "-": standard input. */
int input_open(struct input *in, const char *name);

/* Also after a failed input_open(), and twice. */
void input_close(struct input *in);

/* Says what a record that is an error says, if standard input is a file: one that failed
 * further up in the pipe was said there; one in a saved stream, not to us. */
void input_say_saved(struct record *rec);

#endif
