/* special.c - see special.h. */
#include "text/special.h"

#include "base/err.h"
#include "text/source.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An added token is in the vocabulary under its id, or is put there. */
static int put_added(struct files *f, const char *s, size_t n, struct added_token like)
{
    int64_t id = vocab_find(&f->vocab, s, n);
    if (id >= 0 && like.id >= 0 && id != like.id)
        return err_set(ERR_DATA, "added token '%.*s': id %lld, but %lld in the vocabulary",
                       (int)n, s, (long long)like.id, (long long)id);
    if (id < 0 && like.id < 0)
        return err_set(ERR_DATA, "special token '%.*s' is not in the vocabulary", (int)n, s);
    if (id < 0 && vocab_add(&f->vocab, s, n, like.id) < 0)
        return -1;
    like.id = id < 0 ? like.id : id;
    return added_add(&f->added, s, n, &like);
}

static int refuse_true(json_t *obj, const char *key, const char *where)
{
    return json_is_true(json_object_get(obj, key))
               ? err_set(ERR_CONFIG, "%s: %s: true, expected false", where, key)
               : 0;
}

/* {"content", "special", "normalized", ...}, as in tokenizer.json and tokenizer_config.json. */
static int put_added_object(struct files *f, json_t *t, int64_t id, bool special)
{
    json_t *content = json_object_get(t, "content");
    if (!json_is_string(content))
        return err_set(ERR_DATA, "an added token without content");
    const char *s = json_string_value(content);
    if (refuse_true(t, "lstrip", s) < 0 || refuse_true(t, "rstrip", s) < 0 ||
        refuse_true(t, "single_word", s) < 0)
        return -1;
    return put_added(f, s, json_string_length(content),
                     (struct added_token){
                         .id = id,
                         .special = special || json_is_true(json_object_get(t, "special")),
                         .normalized = json_is_true(json_object_get(t, "normalized")),
                     });
}

int special_array(struct files *f, json_t *array)
{
    size_t i;
    json_t *t;
    json_array_foreach(array, i, t)
    {
        json_t *id = json_object_get(t, "id");
        if (!json_is_integer(id) || json_integer_value(id) < 0)
            return err_set(ERR_DATA, "added_tokens: entry %zu has no id", i);
        if (put_added_object(f, t, json_integer_value(id), false) < 0)
            return err_wrap("added_tokens");
    }
    return 0;
}

/* ---- the template's first token ---- */

static json_t *find_template(json_t *processor)
{
    size_t i;
    json_t *p;
    const char *type = json_string_value(json_object_get(processor, "type"));
    if (type && !strcmp(type, "TemplateProcessing"))
        return json_object_get(processor, "single");
    json_array_foreach(json_object_get(processor, "processors"), i, p)
    {
        json_t *found = find_template(p);
        if (found)
            return found;
    }
    return NULL;
}

/* 1 and f->bos set if there is a template of the form [token] text. */
int special_bos_of_template(struct files *f, json_t *root)
{
    json_t *single = find_template(json_object_get(root, "post_processor"));
    if (!single)
        return 0;
    json_t *token = json_object_get(json_array_get(single, 0), "SpecialToken");
    size_t n = json_array_size(single);
    if (n != (token ? 2u : 1u) || !json_object_get(json_array_get(single, n - 1), "Sequence"))
        return err_set(ERR_CONFIG, "post_processor: expected one token before the text, none "
                                   "after it");
    f->bos = -1;
    if (!token)
        return 1;
    const char *name = json_string_value(json_object_get(token, "id"));
    f->bos = name ? vocab_find(&f->vocab, name, strlen(name)) : -1;
    return f->bos < 0 ? err_set(ERR_DATA, "post_processor: its token is not in the vocabulary")
                      : 1;
}

/* A token is a string or an object with content. */
static const char *token_text(json_t *t)
{
    return json_string_value(json_is_object(t) ? json_object_get(t, "content") : t);
}

/* OPT's bos_token is "</s>"; GPT2Tokenizer's default is not, so nothing else is assumed. */
int special_bos_of_config(struct files *f, const char *dir)
{
    static const char *const names[] = { "special_tokens_map.json", "tokenizer_config.json" };
    char text[64] = "</s>";
    for (size_t i = 0; i < 2; i++) {
        json_t *json;
        if (source_json(&json, dir, names[i]) < 0)
            return -1;
        const char *s = token_text(json_object_get(json, "bos_token"));
        if (s)
            snprintf(text, sizeof text, "%s", s);
        json_decref(json);
        if (s)
            break;
    }
    f->bos = vocab_find(&f->vocab, text, strlen(text));
    return f->bos < 0 ? err_set(ERR_DATA, "bos_token '%s' is not in the vocabulary", text) : 0;
}

/* ---- the small files beside vocab.json ---- */

/* tokenizer_config.json: {"added_tokens_decoder": {"2": {...}}}. 1 if it is there. */
static int put_added_decoder(struct files *f, json_t *config)
{
    const char *key;
    json_t *t, *table = json_object_get(config, "added_tokens_decoder");
    json_object_foreach(table, key, t)
    {
        char *end;
        long id = strtol(key, &end, 10);
        if (*end || id < 0)
            return err_set(ERR_DATA, "added_tokens_decoder: '%s', expected an id", key);
        if (put_added_object(f, t, id, false) < 0)
            return err_wrap("added_tokens_decoder");
    }
    return json_object_size(table) > 0;
}

/* added_tokens.json: {"<image>": 50265}. */
static int put_added_map(struct files *f, json_t *map)
{
    const char *s;
    size_t n;
    json_t *id;
    json_object_keylen_foreach(map, s, n, id)
    {
        if (!json_is_integer(id) || json_integer_value(id) < 0)
            return err_set(ERR_DATA, "added_tokens.json: '%.*s' has no id", (int)n, s);
        struct added_token like = { .id = json_integer_value(id), .special = true };
        if (put_added(f, s, n, like) < 0)
            return err_wrap("added_tokens.json");
    }
    return 0;
}

/* special_tokens_map.json: {"pad_token": "<pad>"} or {"pad_token": {"content": ...}}. */
static int put_special_map(struct files *f, json_t *map)
{
    const char *key;
    json_t *t;
    json_object_foreach(map, key, t)
    {
        int rc = 0;
        if (json_is_object(t))
            rc = put_added_object(f, t, -1, true);
        else if (json_is_string(t))
            rc = put_added(f, json_string_value(t), json_string_length(t),
                           (struct added_token){ .id = -1, .special = true });
        if (rc < 0)
            return err_wrap("special_tokens_map.json: %s", key);
    }
    return 0;
}

int special_read(struct files *f, const char *dir)
{
    json_t *json;
    int rc = source_json(&json, dir, "tokenizer_config.json");
    if (rc > 0)
        rc = put_added_decoder(f, json);
    json_decref(json);
    if (rc != 0)
        return rc < 0 ? -1 : 0;
    if (source_json(&json, dir, "added_tokens.json") < 0)
        return -1;
    rc = put_added_map(f, json);
    json_decref(json);
    if (rc < 0 || source_json(&json, dir, "special_tokens_map.json") < 0)
        return -1;
    rc = put_special_map(f, json);
    json_decref(json);
    return rc;
}
