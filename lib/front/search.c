/* search.c - see search.h. Pictures are read through the cache, or their vectors come from the
 * files of vqa embed --pool itc; qformer-match compares, and the best are kept. */
#include "front/search.h"

#include "base/err.h"
#include "base/io.h"
#include "cli/die.h"
#include "front/format.h"
#include "front/stages.h"
#include "wire/wire.h"

#include <glob.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct hit {
    char *name;
    double score;
};

struct search {
    struct stages_common common;
    const char *text, *resize;
    int top;
    bool jsonl, verbose;
    char **from;
    int count;
    struct hit *best; /* best first; of equal scores the first seen */
    int hits;
    bool failed, fail_fast;
    enum err_kind why; /* of the first failure */
};

static const struct opt opts[] = {
    STAGES_COMMON_OPTS(struct search, common),
    OPT_INT(struct search, top, 'k', "top", "N", 1, 1000000, "show the best N (10)"),
    OPT_STR(struct search, resize, 0, "resize", "WORD", "pillow (default) or torchvision"),
    OPT_FLAG(struct search, jsonl, 0, "jsonl", "one JSON object a line"),
    OPT_FLAG(struct search, verbose, 'v', "verbose", "show the pipeline, ready to paste"),
    OPT_END
};

/* ---- the best ---- */

static int keep(struct search *s, const char *name, size_t n, double score)
{
    if (s->hits == s->top && score <= s->best[s->hits - 1].score)
        return 0;
    char *copy = strndup(name, n);
    if (!copy)
        return err_nomem("names");
    if (s->hits == s->top)
        free(s->best[--s->hits].name);
    int i = s->hits++;
    for (; i > 0 && s->best[i - 1].score < score; i--)
        s->best[i] = s->best[i - 1];
    s->best[i] = (struct hit){ copy, score };
    return 0;
}

static int print(const struct search *s)
{
    for (int i = 0; i < s->hits; i++) {
        const struct hit *h = &s->best[i];
        if (!s->jsonl)
            printf("%.4f\t%s\n", h->score, h->name);
        else if (format_print_json(json_pack("{s:o, s:f}", "image",
                                             format_json_text(h->name, strlen(h->name)),
                                             "score", h->score)) < 0)
            return -1;
    }
    return 0;
}

/* ---- the files of vqa embed ---- */

/* Lines of part-*.jsonl, those of failed images left out: the names of the .npy's rows. */
struct names {
    glob_t jsonl;
    size_t at;
    FILE *f;
    char *line;
    size_t cap;
};

/* The next row's name, in n->line's place: NULL at the end (no error), or with err set. */
static json_t *next_name(struct names *n)
{
    while (n->f || n->at < n->jsonl.gl_pathc) {
        json_error_t why;
        const char *path = n->jsonl.gl_pathv[n->f ? n->at - 1 : n->at];
        if (!n->f && (n->at++, !(n->f = fopen(path, "re"))))
            return err_sys(ERR_NOINPUT, "%s", path), NULL;
        if (getline(&n->line, &n->cap, n->f) < 0) {
            fclose(n->f);
            n->f = NULL;
            continue;
        }
        json_t *j = json_loads(n->line, 0, &why);
        if (!j)
            return err_null(ERR_DATA, "%s: %s", path, why.text);
        if (json_object_get(j, "row"))
            return j;
        json_decref(j);
    }
    return err_null(ERR_DATA, "more rows in .npy than lines with \"row\" in .jsonl");
}

static void names_close(struct names *n)
{
    if (n->f)
        fclose(n->f);
    free(n->line);
    globfree(&n->jsonl);
}

/* ---- running ---- */

/* The record's picture is called by its id, or as the next line says. */
static int take(struct search *s, struct record *rec, struct names *names)
{
    const char *id;
    size_t n;
    double score;
    json_t *j = names ? next_name(names) : NULL;
    if (names && !j)
        return -1;
    int rc = record_get_float(&score, rec, "itc_score") == 1 ? 0 : -1;
    if (j) {
        id = json_string_value(json_object_get(j, "image"));
        n = id ? strlen(id) : 0;
    } else if (record_get_str(&id, &n, rec, "id") <= 0) {
        id = NULL;
    }
    if (rc < 0 || !id)
        rc = err_set(ERR_DATA, "a record without id or itc_score, expected both");
    else
        rc = keep(s, id, n, score);
    json_decref(j);
    return rc;
}

static int read_scores(struct search *s, int fd, struct names *names)
{
    struct wire_reader *in = wire_reader_new(fd, "the pipeline", NULL);
    struct record_error e;
    struct record rec;
    record_init(&rec);
    int rc = in ? 1 : -1;
    while (rc > 0 && (rc = wire_read(in, &rec)) > 0) {
        if (record_get_error(&e, &rec) > 0) {
            if (!s->failed)
                s->why = err_kind_named(e.kind);
            s->failed = true;
        } else if (take(s, &rec, names) < 0)
            rc = -1;
    }
    record_release(&rec);
    wire_reader_free(in);
    return rc;
}

static int run_pipeline(struct search *s, struct pipeline *p, struct names *names)
{
    stages_match(p, &s->common);
    pipeline_opt(p, "--text", s->text);
    if (s->fail_fast)
        pipeline_arg(p, "--fail-fast");
    if ((s->verbose && stages_show(p) < 0) || pipeline_start(p, false) < 0)
        return -1;
    int rc = read_scores(s, p->out, names), status = pipeline_wait(p);
    if (status <= 1)
        return rc;
    if (rc == 0 || !err_said())
        return status; /* the stage has said why */
    return rc;
}

/* DIR/part-*.TYPE, whatever signs of a pattern DIR has in its name. False: none are there. */
static bool list_parts(glob_t *g, const char *dir, const char *type)
{
    char pattern[8192];
    size_t n = 0;
    if (strlen(dir) > 4000)
        return false;
    for (const char *c = dir; *c; c++) {
        if (strchr("\\*?[", *c))
            pattern[n++] = '\\';
        pattern[n++] = *c;
    }
    snprintf(pattern + n, sizeof pattern - n, "/part-*.%s", type);
    return glob(pattern, 0, NULL, g) == 0;
}

static int search_stored(struct search *s, const char *dir)
{
    struct pipeline p;
    struct names n = { 0 };
    glob_t npy;
    if (!list_parts(&npy, dir, "npy"))
        return err_set(ERR_OS, "%s: cannot list it", dir);
    int rc = list_parts(&n.jsonl, dir, "jsonl")
                 ? 0
                 : err_set(ERR_NOINPUT,
                           "%s/part-*.jsonl: no such file, expected it beside .npy", dir);
    if (rc == 0) {
        pipeline_init(&p);
        pipeline_command(&p, "tensor-convert");
        pipeline_opt(&p, "--from", "npy");
        pipeline_opt(&p, "--field", "image_embeds_proj");
        for (size_t i = 0; i < npy.gl_pathc; i++)
            pipeline_arg(&p, npy.gl_pathv[i]);
        s->fail_fast = true; /* vectors of another kind are so in every row */
        rc = run_pipeline(s, &p, &n);
        pipeline_release(&p);
    }
    names_close(&n);
    globfree(&npy);
    return rc;
}

static int search_pictures(struct search *s)
{
    struct pipeline p;
    pipeline_init(&p);
    stages_img_encode(&p, &s->common);
    pipeline_opt(&p, "--resize", s->resize);
    pipeline_arg(&p, "-r");
    pipeline_arg(&p, "--");
    for (int i = 0; i < s->count; i++)
        pipeline_arg(&p, s->from[i]);
    int rc = run_pipeline(s, &p, NULL);
    pipeline_release(&p);
    return rc;
}

static bool is_stored(const char *dir)
{
    glob_t g;
    bool found = io_is_dir(dir) && list_parts(&g, dir, "npy");
    if (found)
        globfree(&g);
    return found;
}

static int run(struct search *s)
{
    stages_prepare(&s->common);
    s->best = calloc((size_t)s->top, sizeof *s->best);
    if (!s->best)
        cli_die_with(err_nomem("results"));
    int rc = s->count == 1 && is_stored(s->from[0]) ? search_stored(s, s->from[0])
                                                    : search_pictures(s);
    if (rc == 0)
        rc = print(s);
    if (rc == 0 && s->failed && s->hits == 0)
        rc = cli_status(s->why); /* nothing could be compared, as a stage has said */
    while (s->hits)
        free(s->best[--s->hits].name);
    free(s->best);
    return rc > 1 ? rc : cli_finish(rc < 0 ? rc : s->failed);
}

int front_search(int argc, char **argv)
{
    struct search s = { .top = 10 };
    int i = cli_start(&(struct cli){ .name = "vqa search",
                                     .usage = "[OPTION...] TEXT DIR\n"
                                              "[OPTION...] TEXT IMAGE...",
                                     .about = "Show the pictures that fit a sentence best.",
                                     .opts = opts },
                      argc, argv, &s);
    if (argc - i < 2)
        cli_usage_error("no pictures; expected TEXT DIR or TEXT IMAGE...");
    s.text = argv[i];
    s.from = argv + i + 1;
    s.count = argc - i - 1;
    for (int k = 0; k < s.count && s.count > 1; k++)
        if (is_stored(s.from[k]))
            cli_usage_error("%s: vectors of vqa embed, expected nothing beside them",
                            s.from[k]);
    return run(&s);
}
