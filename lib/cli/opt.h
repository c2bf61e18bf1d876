/* opt.h - one table of options a command: parsing, usage and --help come from it, and the
 * manual page is checked against it (scripts/check-docs).
 *
 *     struct args { struct cli_common c; int beams; };
 *     static const struct opt opts[] = {
 *         OPT_INT(struct args, beams, 0, "num-beams", "N", 1, 64, "beams to search"),
 *         OPT_COMMON(struct args, c), OPT_END };
 *
 * Values go straight into the command's struct by offset: there are no globals. */
#ifndef CLI_OPT_H
#define CLI_OPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum opt_type {
    OPT_TYPE_END,
    OPT_TYPE_FLAG,   /* bool: set true */
    OPT_TYPE_STR,    /* const char * */
    OPT_TYPE_INT,    /* int, within [min, max] */
    OPT_TYPE_FLOAT,  /* double, within [min, max] */
    OPT_TYPE_LIST,   /* struct opt_list: may be repeated */
    OPT_TYPE_CHOICE, /* int: index of the word in `words` */
    OPT_TYPE_MAYBE,  /* const char *: --name=ARG, or "" for --name alone; NULL: not given */
    OPT_TYPE_SIZE,   /* uint64_t: bytes, "20G" */
};

/* Values of a repeatable option, in order. The array lives as long as the process. */
struct opt_list {
    const char **v;
    int n;
};

struct opt {
    enum opt_type type;
    size_t offset;
    int letter; /* 0: no short form */
    const char *name, *arg, *help;
    double min, max;
    const char *const *words; /* OPT_TYPE_CHOICE, ends in NULL */
};

#define OPT_FLAG(S, field, letter, name, help)                                                 \
    {                                                                                          \
        OPT_TYPE_FLAG, offsetof(S, field), letter, name, NULL, help, 0, 0, NULL                \
    }
#define OPT_STR(S, field, letter, name, arg, help)                                             \
    {                                                                                          \
        OPT_TYPE_STR, offsetof(S, field), letter, name, arg, help, 0, 0, NULL                  \
    }
#define OPT_INT(S, field, letter, name, arg, min, max, help)                                   \
    {                                                                                          \
        OPT_TYPE_INT, offsetof(S, field), letter, name, arg, help, min, max, NULL              \
    }
#define OPT_FLOAT(S, field, letter, name, arg, min, max, help)                                 \
    {                                                                                          \
        OPT_TYPE_FLOAT, offsetof(S, field), letter, name, arg, help, min, max, NULL            \
    }
#define OPT_LIST(S, field, letter, name, arg, help)                                            \
    {                                                                                          \
        OPT_TYPE_LIST, offsetof(S, field), letter, name, arg, help, 0, 0, NULL                 \
    }
#define OPT_CHOICE(S, field, letter, name, arg, words, help)                                   \
    {                                                                                          \
        OPT_TYPE_CHOICE, offsetof(S, field), letter, name, arg, help, 0, 0, words              \
    }
#define OPT_MAYBE(S, field, name, arg, help)                                                   \
    {                                                                                          \
        OPT_TYPE_MAYBE, offsetof(S, field), 0, name, arg, help, 0, 0, NULL                     \
    }
#define OPT_SIZE(S, field, name, arg, help)                                                    \
    {                                                                                          \
        OPT_TYPE_SIZE, offsetof(S, field), 0, name, arg, help, 0, 0, NULL                      \
    }
#define OPT_END                                                                                \
    {                                                                                          \
        OPT_TYPE_END, 0, 0, NULL, NULL, NULL, 0, 0, NULL                                       \
    }

/* What every record stage takes. A zeroed struct means: standard output, keep going. */
struct cli_common {
    const char *out; /* -o, NULL: standard output */
    bool fail_fast;  /* the first failed record ends the run with its status */
    bool keep;       /* tensors this stage consumed stay in the record */
    bool verbose;
};
#define OPT_OUTPUT(S, field)                                                                   \
    OPT_STR(S, field, 'o', "output", "FILE", "write to FILE (complete or not at all)")
#define OPT_COMMON(S, field)                                                                   \
    OPT_OUTPUT(S, field.out),                                                                  \
        OPT_FLAG(S, field.keep, 0, "keep", "keep the tensors this stage consumes"),            \
        OPT_FLAG(S, field.fail_fast, 0, "fail-fast", "stop at the first record that fails"),   \
        OPT_FLAG(S, field.verbose, 'v', "verbose", "say on standard error what is done")

/* What every stage that computes takes. threads 0: as many as this process may use. */
struct cli_model {
    const char *model; /* -m, NULL: $VQA_MODEL, else the shipped model */
    int threads, batch;
    int weights; /* --weights, enum quant_scheme; 0: as stored */
};
#define OPT_MODEL(S, field)                                                                    \
    OPT_STR(S, field.model, 'm', "model", "MODEL",                                             \
            "directory, or ORG/NAME[@REV] in the Hugging Face cache")
#define OPT_COMPUTE(S, field)                                                                  \
    OPT_INT(S, field.threads, 't', "threads", "N", 1, 1024, "threads to compute with"),        \
        OPT_INT(S, field.batch, 'b', "batch-size", "N", 1, 256, "records computed together")

struct cli {
    const char *name;             /* "qformer" */
    const char *usage;            /* "[-m MODEL] [FILE]"; several forms separated by \n */
    const char *about;            /* one sentence */
    const struct opt *opts;       /* ends in OPT_END */
    const char *(*version)(void); /* more for --version (kernels in use), or NULL */

    /* Called when the arguments are wrong, after the line that says so: stage_abort() tells the
     * programs after this one in a pipe. Or NULL. */
    void (*on_usage_error)(const char *program);
};

/* Opens closed standard descriptors, restores SIGPIPE, parses; answers --help and --version
 * itself and leaves with status 64 after one line if the arguments are wrong. Operands end up
 * in argv[result..argc), whatever their place among the options. */
int cli_start(const struct cli *c, int argc, char **argv, void *args);

/* The one file that a filter may be given behind cli_start()'s options; NULL: none was. Leaves
 * with status 64 if there are more. */
const char *cli_file(int argc, char **argv, int first);

/* Bytes: a positive integer, and K, M, G or T for powers of 1024. false if s is not one. */
bool opt_size(uint64_t *bytes, const char *s);

#endif
