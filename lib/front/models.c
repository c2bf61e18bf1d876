/* models.c - see models.h. */
#include "front/models.h"

#include "base/err.h"
#include "base/io.h"
#include "cli/die.h"
#include "cli/env.h"
#include "cli/opt.h"
#include "front/format.h"
#include "front/model.h"
#include "store/hub.h"
#include "store/store.h"
#include "store/verify.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

struct args {
    bool json;
};

static const struct opt opts[] = { OPT_FLAG(struct args, json, 0, "json", "one JSON document"),
                                   OPT_END };

/* ---- list ---- */

static const struct {
    const char *architecture, *text_model, *runs;
} architectures[] = {
    { "Blip2ForConditionalGeneration", "opt", "all stages" },
    { "Blip2ForConditionalGeneration", NULL, "img-encode, qformer" },
    { "Blip2ForImageTextRetrieval", NULL, "img-encode, qformer" },
    { "CLIPVisionModel", NULL, "img-encode" },
    { "OPTForCausalLM", NULL, "tokenize, opt-generate" },
};

/* The stages that can use the model; NULL with err set if none can. */
static const char *runs_in(struct store *s, const char *architecture)
{
    struct tensor t;
    const char *text = store_config_str(s, "text_config", "model_type");
    for (size_t i = 0; i < sizeof architectures / sizeof *architectures; i++) {
        const char *need = architectures[i].text_model;
        if (strcmp(architecture, architectures[i].architecture) ||
            (need && *text && strcmp(text, need)))
            continue;
        return store_find(&t, s, "") < 0 ? NULL : architectures[i].runs;
    }
    return err_null(ERR_CONFIG, "no stage knows this architecture");
}

struct list {
    json_t *json; /* an array, or NULL: text */
};

static void print_model(const char *name, double size, const char *architecture,
                        const char *runs)
{
    printf("%-44s %8.1f MB  %-30s  %s%s\n", name, size / 1e6, architecture,
           runs ? runs : "none: ", runs ? "" : err_msg());
}

/* Takes what is known of one directory into the list. name: what -m takes. */
static int list_model(struct list *l, const char *name, const char *commit, const char *dir)
{
    struct store *s = store_open(dir);
    const char *architecture = s ? store_config_str(s, "", "architectures") : "";
    const char *runs = s ? runs_in(s, architecture) : NULL;
    int64_t size = verify_size(dir);
    if (!runs && !*err_msg())
        err_set(ERR_CONFIG, "unreadable");
    int rc = 0;
    if (!l->json)
        print_model(name, (double)size, *architecture ? architecture : "-", runs);
    else
        rc = json_array_append_new(l->json, json_pack("{s:s, s:s?, s:s, s:I, s:s, s:s?, s:s?}",
                                                      "model", name, "commit", commit, "dir",
                                                      dir, "bytes", (json_int_t)size,
                                                      "architecture", architecture, "stages",
                                                      runs, "reason", runs ? NULL : err_msg()));
    store_close(s);
    return rc < 0 ? err_nomem("JSON") : 0;
}

static int list_snapshot(void *ctx, const struct hub_snapshot *s)
{
    char name[400];
    snprintf(name, sizeof name, s->main ? "%s" : "%s@%s", s->name, s->commit);
    return list_model(ctx, name, s->commit, s->dir);
}

static int list(const struct args *a)
{
    char path[4096];
    struct list l = { .json = a->json ? json_array() : NULL };
    int rc = a->json && !l.json ? err_nomem("JSON") : 0;
    env_data_path(path, sizeof path, "demo-model");
    if (rc == 0 && io_is_dir(path))
        rc = list_model(&l, path, NULL, path);
    if (rc == 0 && front_hub_cache(path, sizeof path))
        rc = hub_each(path, list_snapshot, &l);
    if (rc == 0 && l.json)
        return format_print_json(l.json);
    json_decref(l.json);
    return rc;
}

/* ---- where ---- */

static int where(const struct args *a, const char *name)
{
    char dir[4096];
    if (front_model(dir, sizeof dir, name) < 0)
        return -1;
    if (a->json)
        return format_print_json(json_pack("{s:s}", "dir", dir));
    puts(dir);
    return 0;
}

/* ---- verify ---- */

struct verdict {
    json_t *json; /* an array, or NULL: text */
    int bad;
};

static const char *const state_words[] = { "ok", "unknown", "bad" };

static int judge(void *ctx, const struct verify_file *f)
{
    struct verdict *v = ctx;
    const char *why = f->state == VERIFY_OK ? NULL : f->why;
    v->bad += f->state == VERIFY_BAD;
    if (!v->json) {
        printf("%s\t%s%s%s\n", state_words[f->state], f->name, why ? "\t" : "", why ? why : "");
        return 0;
    }
    json_t *j = json_pack("{s:s, s:I, s:s, s:s?}", "file", f->name, "bytes",
                          (json_int_t)f->size, "state", state_words[f->state], "reason", why);
    return json_array_append_new(v->json, j) < 0 ? err_nomem("JSON") : 0;
}

static int verify(const struct args *a, const char *name)
{
    char dir[4096];
    struct verdict v = { 0 };
    if (front_model(dir, sizeof dir, name) < 0)
        return -1;
    if (a->json && !(v.json = json_array()))
        return err_nomem("JSON");
    int rc = verify_each(dir, judge, &v);
    if (rc == 0 && v.json)
        rc = format_print_json(
            json_pack("{s:s, s:b, s:o}", "dir", dir, "ok", v.bad == 0, "files", v.json));
    else
        json_decref(v.json);
    return rc == 0 && v.bad ? err_set(ERR_DATA, "%s: %d bad", dir, v.bad) : rc;
}

int front_models(int argc, char **argv)
{
    struct args a = { 0 };
    int i = cli_start(
        &(struct cli){ .name = "vqa models",
                       .usage = "list [--json]\n"
                                "where [--json] [MODEL]\n"
                                "verify [--json] [MODEL]",
                       .about = "Models on this machine: the shipped one and those "
                                "in the Hugging Face cache.",
                       .opts = opts },
        argc, argv, &a);
    const char *verb = i < argc ? argv[i++] : "", *model = i < argc ? argv[i++] : NULL;
    if (i < argc)
        cli_usage_error("unexpected operand '%s'", argv[i]);
    if (!strcmp(verb, "where"))
        return cli_finish(where(&a, model));
    if (!strcmp(verb, "verify"))
        return cli_finish(verify(&a, model));
    if (strcmp(verb, "list"))
        cli_usage_error("'%s': expected list, where or verify", verb);
    if (model)
        cli_usage_error("unexpected operand '%s'", model);
    return cli_finish(list(&a));
}
