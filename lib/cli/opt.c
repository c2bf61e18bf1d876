/* opt.c - the option table at work: see opt.h. */
#include "cli/opt.h"

#include "base/err.h"
#include "cli/die.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OPTS_MAX 64
#define CODE     0x1000 /* getopt's value of an option's long form: CODE + index */

static int option_count(const struct opt *o)
{
    int n = 0;
    while (o[n].type != OPT_TYPE_END)
        n++;
    return n;
}

/* A parent may have closed 0-2 or ignored SIGPIPE; neither is what a filter expects (as git). A
 * file that may not grow so far is a write that fails, and is said as one. */
static void sane_process(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= 2);
    if (fd > 2)
        close(fd);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGXFSZ, SIG_IGN);
    cli_catch_sigbus();
}

static void print_usage(const struct cli *c, FILE *f)
{
    const char *form = c->usage, *lead = "usage:";
    while (*form) {
        size_t n = strcspn(form, "\n");
        fprintf(f, "%s %s %.*s\n", lead, c->name, (int)n, form);
        form += n + (form[n] == '\n');
        lead = "      ";
    }
}

static void print_option(const struct opt *o)
{
    char left[64];
    int n = o->letter ? snprintf(left, sizeof left, "  -%c, --%s", o->letter, o->name)
                      : snprintf(left, sizeof left, "      --%s", o->name);
    if (o->arg)
        snprintf(left + n, sizeof left - (size_t)n, o->type == OPT_TYPE_MAYBE ? "[=%s]" : " %s",
                 o->arg);
    printf("%-30s %s\n", left, o->help);
}

static void print_help(const struct cli *c)
{
    print_usage(c, stdout);
    printf("\n%s\n\n", c->about);
    for (const struct opt *o = c->opts; o->type != OPT_TYPE_END; o++)
        print_option(o);
    printf("%-30s %s\n%-30s %s\n", "  -h, --help", "this text", "  -V, --version",
           "version and build");
}

static void print_version(const struct cli *c)
{
    printf("%s (vqatools) %s\n", c->name, VQA_VERSION);
    if (c->version)
        printf("%s\n", c->version());
}

/* Edit distance, for "did you mean"; words longer than the table never match. */
static size_t distance(const char *a, const char *b)
{
    enum { MAX = 40 };
    size_t row[MAX + 1], n = strlen(b);
    if (n > MAX)
        return MAX;
    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            best = best < row[j] + 1 ? best : row[j] + 1;
            row[j] = best < row[j - 1] + 1 ? best : row[j - 1] + 1;
        }
    }
    return row[n];
}

static const char *nearest(const struct opt *o, const char *word)
{
    const char *best = NULL;
    size_t least = 4;
    for (; o->type != OPT_TYPE_END; o++) {
        size_t d = distance(word, o->name);
        if (d < least) {
            least = d;
            best = o->name;
        }
    }
    return best;
}

static _Noreturn void unknown_option(const struct cli *c, const char *word)
{
    char name[64] = "";
    if (!strncmp(word, "--", 2))
        snprintf(name, sizeof name, "%.*s", (int)strcspn(word + 2, "="), word + 2);
    const char *near = *name ? nearest(c->opts, name) : NULL;
    if (near)
        cli_usage_error("unknown option %s; did you mean --%s?", word, near);
    cli_usage_error("unknown option %s", word);
}

static double parse_number(const struct opt *o, const char *s, bool integer)
{
    char *end;
    errno = 0;
    double v = integer ? (double)strtol(s, &end, 10) : strtod(s, &end);
    if (end == s || *end || errno || !isfinite(v))
        cli_usage_error("--%s: '%s', expected %s", o->name, s,
                        integer ? "an integer" : "a number");
    if (v < o->min || v > o->max)
        cli_usage_error("--%s: %s, expected between %g and %g", o->name, s, o->min, o->max);
    return v;
}

static int parse_choice(const struct opt *o, const char *s)
{
    char all[256] = "";
    for (int i = 0; o->words[i]; i++) {
        if (!strcmp(o->words[i], s))
            return i;
        size_t n = strlen(all);
        snprintf(all + n, sizeof all - n, "%s%s", i ? ", " : "", o->words[i]);
    }
    cli_usage_error("--%s: '%s', expected one of %s", o->name, s, all);
}

bool opt_size(uint64_t *bytes, const char *s)
{
    static const char units[] = "KMGT";
    char *end;
    errno = 0;
    unsigned long long v = strtoull(s, &end, 10);
    if (end == s || *s < '0' || *s > '9' || errno || v == 0)
        return false;
    const char *unit = *end ? strchr(units, *end) : NULL;
    int shift = unit ? 10 * (int)(unit - units + 1) : 0;
    if (end[unit ? 1 : 0] || v > UINT64_MAX >> shift)
        return false;
    *bytes = (uint64_t)v << shift;
    return true;
}

static uint64_t parse_size(const struct opt *o, const char *s)
{
    uint64_t v;
    if (!opt_size(&v, s))
        cli_usage_error("--%s: '%s', expected a size as 500M or 20G", o->name, s);
    return v;
}

static void list_add(struct opt_list *l, const char *s)
{
    const char **v = realloc(l->v, ((size_t)l->n + 1) * sizeof *v);
    if (!v)
        cli_die_with(err_nomem("options"));
    v[l->n++] = s;
    l->v = v;
}

static void store(const struct opt *o, void *args, const char *s)
{
    void *field = (char *)args + o->offset;
    switch (o->type) {
    case OPT_TYPE_FLAG:
        *(bool *)field = true;
        break;
    case OPT_TYPE_STR:
        *(const char **)field = s;
        break;
    case OPT_TYPE_MAYBE:
        *(const char **)field = s ? s : "";
        break;
    case OPT_TYPE_SIZE:
        *(uint64_t *)field = parse_size(o, s);
        break;
    case OPT_TYPE_INT:
        *(int *)field = (int)parse_number(o, s, true);
        break;
    case OPT_TYPE_FLOAT:
        *(double *)field = parse_number(o, s, false);
        break;
    case OPT_TYPE_LIST:
        list_add(field, s);
        break;
    case OPT_TYPE_CHOICE:
        *(int *)field = parse_choice(o, s);
        break;
    case OPT_TYPE_END:
        break;
    }
}

/* The table in getopt_long's terms; letters must hold 2 * OPTS_MAX + 8 characters. */
static void to_getopt(const struct opt *o, struct option *longs, char *letters)
{
    char *l = letters;
    *l++ = ':'; /* a missing argument is told apart from an unknown option */
    int n = option_count(o);
    for (int i = 0; i < n; i++) {
        int has_arg = o[i].type == OPT_TYPE_FLAG    ? no_argument
                      : o[i].type == OPT_TYPE_MAYBE ? optional_argument
                                                    : required_argument;
        longs[i] = (struct option){ o[i].name, has_arg, NULL, CODE + i };
        if (o[i].letter) {
            *l++ = (char)o[i].letter;
            if (has_arg == required_argument)
                *l++ = ':';
        }
    }
    longs[n] = (struct option){ "help", no_argument, NULL, 'h' };
    longs[n + 1] = (struct option){ "version", no_argument, NULL, 'V' };
    longs[n + 2] = (struct option){ 0 };
    memcpy(l, "hV", 3);
}

static const struct opt *by_code(const struct opt *o, int code)
{
    if (code >= CODE)
        return &o[code - CODE];
    while (o->type != OPT_TYPE_END && o->letter != code)
        o++;
    return o->type == OPT_TYPE_END ? NULL : o;
}

static void take(const struct cli *c, int code, char **argv, void *args)
{
    const struct opt *o = by_code(c->opts, code);
    if (o) {
        store(o, args, optarg);
        return;
    }
    if (code == ':')
        cli_usage_error("option %s needs an argument", argv[optind - 1]);
    if (code == 'h')
        print_help(c);
    else if (code == 'V')
        print_version(c);
    else if (optopt && optopt < CODE)
        cli_usage_error("unknown option -%c", optopt);
    else
        unknown_option(c, argv[optind - 1]);
    exit(cli_finish(0));
}

int cli_start(const struct cli *c, int argc, char **argv, void *args)
{
    struct option longs[OPTS_MAX + 3];
    char letters[2 * OPTS_MAX + 8];
    BUG_ON(option_count(c->opts) > OPTS_MAX);
    sane_process();
    cli_name(c->name);
    cli_on_usage_error(c->on_usage_error);
    to_getopt(c->opts, longs, letters);
    opterr = 0;
    for (int code; (code = getopt_long(argc, argv, letters, longs, NULL)) != -1;)
        take(c, code, argv, args);
    return optind;
}

const char *cli_file(int argc, char **argv, int first)
{
    if (argc - first > 1)
        cli_usage_error("%d files, expected at most one (tensor-cat joins them)", argc - first);
    return argv[first];
}
