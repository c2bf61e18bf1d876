/* source.c - see source.h. */
#include "text/source.h"

#include "base/err.h"
#include "base/io.h"
#include "text/vocab.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* 1 read, 0 not there, -1. */
int source_read(struct buf *b, const char *dir, const char *name)
{
    char path[4096];
    if (snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path)
        return err_set(ERR_NOINPUT, "%s: the name is too long", dir);
    if (!io_is_file(path))
        return 0;
    return io_read_file(b, path, VOCAB_BYTES) < 0 ? -1 : 1;
}

/* tokenizer_config.json has a model_max_length of 10^30; its ids are keys, not numbers. */
static size_t number_flags(const char *name)
{
    return strcmp(name, "tokenizer_config.json") ? 0 : JSON_DECODE_INT_AS_REAL;
}

int source_check(const struct buf *b)
{
    static const char lfs[] = "version https://git-lfs";
    if (b->len >= sizeof lfs - 1 && !memcmp(b->data, lfs, sizeof lfs - 1))
        return err_set(ERR_DATA, "a git-lfs pointer, not the file; run git lfs pull");
    return 0;
}

int source_parse(json_t **json, const struct buf *b, const char *name)
{
    json_error_t e;
    if (source_check(b) < 0)
        return -1;
    *json = json_loadb((const char *)b->data, b->len,
                       JSON_REJECT_DUPLICATES | number_flags(name), &e);
    if (!*json)
        return err_set(ERR_DATA, "line %d: %s", e.line, e.text);
    if (json_is_object(*json))
        return 1;
    json_decref(*json);
    *json = NULL;
    return err_set(ERR_DATA, "expected a JSON object");
}

/* 1 read (json_decref() it), 0 not there (*json NULL), -1. */
int source_json(json_t **json, const char *dir, const char *name)
{
    struct buf b;
    buf_init(&b);
    *json = NULL;
    int rc = source_read(&b, dir, name);
    if (rc > 0 && (rc = source_parse(json, &b, name)) < 0)
        err_wrap("%s", name);
    buf_release(&b);
    return rc;
}
