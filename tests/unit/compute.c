/* compute.c - what somebody on a terminal is told while a model's weights come from disk. */
#include "front/compute.h"
#include "lib/tap.h"

#include <fcntl.h>
#include <unistd.h>

static char path[] = "/tmp/compute-test.XXXXXX";
static int file;

static void watch(struct compute *c, int layer)
{
    compute_watch(c, layer, (struct tensor){ 0 });
}

/* What was written to standard error since the last call. */
static const char *said(void)
{
    static char text[256];
    ssize_t n = pread(file, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = 0;
    if (ftruncate(file, 0) < 0 || lseek(file, 0, SEEK_SET) < 0)
        exit(1);
    return text;
}

/* A second goes by, in which so many pages were read. */
static void wait_for(struct compute *c, long pages)
{
    c->told -= 1;
    c->faults -= pages;
}

int main(void)
{
    struct compute c = { .faults = 1000000 }; /* more than there can have been: none since */
    file = mkstemp(path);
    if (file < 0 || unlink(path) < 0 || dup2(file, STDERR_FILENO) < 0)
        return 1;
    watch(&c, 0);
    watch(&c, 1);
    ok(!*said(), "nothing within the first second");
    wait_for(&c, 0);
    watch(&c, 2);
    ok(!*said(), "nothing where nothing was read from disk, however long it takes");
    wait_for(&c, 1000000);
    watch(&c, 3);
    const char *line = said();
    ok(!strcmp(line, "vqatools: reading weights from disk: 3 layers so far\n"), "a line");
    wait_for(&c, 1000000);
    watch(&c, 4);
    ok(strstr(said(), "4 layers") != NULL, "and another a second later");
    watch(&c, 5);
    ok(!*said(), "but not sooner");
    watch(&c, 0);
    wait_for(&c, 1000000);
    watch(&c, 1);
    ok(!*said(), "nothing in the second pass: all is in memory");
    return tap_done();
}
