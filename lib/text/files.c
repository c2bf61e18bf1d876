/* files.c - see files.h. */
#include "text/files.h"

#include "base/err.h"
#include "base/io.h"
#include "text/scan.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

void files_release(struct files *f)
{
    vocab_release(&f->vocab);
    added_release(&f->added);
    merges_release(&f->merges);
}

/* ---- one file ---- */

/* 1 read, 0 not there, -1. */
static int read_file(struct buf *b, const char *dir, const char *name)
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

static int check_pointer(const struct buf *b)
{
    static const char lfs[] = "version https://git-lfs";
    if (b->len >= sizeof lfs - 1 && !memcmp(b->data, lfs, sizeof lfs - 1))
        return err_set(ERR_DATA, "a git-lfs pointer, not the file; run git lfs pull");
    return 0;
}

static int parse(json_t **json, const struct buf *b, const char *name)
{
    json_error_t e;
    if (check_pointer(b) < 0)
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
static int read_json(json_t **json, const char *dir, const char *name)
{
    struct buf b;
    buf_init(&b);
    *json = NULL;
    int rc = read_file(&b, dir, name);
    if (rc > 0 && (rc = parse(json, &b, name)) < 0)
        err_wrap("%s", name);
    buf_release(&b);
    return rc;
}

/* ---- vocabulary ---- */

/* {"token": id, ...} */
static int put_tokens(struct files *f, struct scan *s, struct buf *token)
{
    int64_t id;
    if (!scan_take(s, '{'))
        return scan_fail(s, "an object of tokens and ids");
    for (int more = !scan_take(s, '}'); more;) {
        buf_clear(token);
        if (scan_str(token, s) < 0)
            return -1;
        if (!scan_take(s, ':'))
            return scan_fail(s, "':'");
        if (scan_int(&id, s) < 0 ||
            vocab_add(&f->vocab, (char *)token->data, token->len, id) < 0)
            return -1;
        if ((more = scan_more(s, '}')) < 0)
            return -1;
    }
    return vocab_check_dense(&f->vocab);
}

static int put_vocab(struct files *f, struct scan *s)
{
    struct buf token = { 0 };
    int rc = buf_reserve(&token, 64) < 0 ? -1 : put_tokens(f, s, &token);
    buf_release(&token);
    return rc;
}

/* ---- added tokens ---- */

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

static int put_added_array(struct files *f, json_t *array)
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

/* ---- merges ---- */

static int put_merge(struct files *f, const char *left, size_t n, const char *right, size_t m,
                     size_t rank)
{
    char both[1024];
    if (n + m > sizeof both)
        return err_set(ERR_DATA, "%zu bytes, expected at most %zu", n + m, sizeof both);
    memcpy(both, left, n);
    memcpy(both + n, right, m);
    int64_t a = vocab_find(&f->vocab, left, n), b = vocab_find(&f->vocab, right, m),
            ab = vocab_find(&f->vocab, both, n + m);
    if (a < 0 || b < 0 || ab < 0)
        return err_set(ERR_DATA, "'%.*s' is not in the vocabulary",
                       a < 0   ? (int)n
                       : b < 0 ? (int)m
                               : (int)(n + m),
                       a < 0   ? left
                       : b < 0 ? right
                               : both);
    merges_add(&f->merges, (uint32_t)a, (uint32_t)b, (uint32_t)ab, (uint32_t)rank);
    return 0;
}

/* "left right". */
static int put_merge_words(struct files *f, const char *s, size_t n, size_t rank)
{
    const char *gap = memchr(s, ' ', n);
    size_t left = gap ? (size_t)(gap - s) : 0;
    if (!gap || memchr(gap + 1, ' ', n - left - 1))
        return err_set(ERR_DATA, "'%.*s', expected two tokens", (int)n, s);
    return put_merge(f, s, left, gap + 1, n - left - 1, rank);
}

/* ["left", "right"] as since 2024, or "left right". Scratch: both are empty. */
static int put_rule(struct files *f, struct scan *s, struct buf *left, struct buf *right,
                    size_t rank)
{
    if (scan_sees(s, '"'))
        return scan_str(left, s) < 0 ? -1
                                     : put_merge_words(f, (char *)left->data, left->len, rank);
    if (!scan_take(s, '['))
        return scan_fail(s, "two tokens");
    if (scan_str(left, s) < 0)
        return -1;
    if (!scan_take(s, ','))
        return scan_fail(s, "two tokens");
    if (scan_str(right, s) < 0)
        return -1;
    if (!scan_take(s, ']'))
        return scan_fail(s, "two tokens");
    return put_merge(f, (char *)left->data, left->len, (char *)right->data, right->len, rank);
}

static int put_rules(struct files *f, struct scan *s, struct buf *left, struct buf *right)
{
    size_t rank = 0;
    if (!scan_take(s, '['))
        return scan_fail(s, "an array of merges");
    for (int more = !scan_take(s, ']'); more; rank++) {
        buf_clear(left);
        buf_clear(right);
        if (put_rule(f, s, left, right, rank) < 0)
            return err_wrap("rule %zu", rank);
        if ((more = scan_more(s, ']')) < 0)
            return -1;
    }
    return 0;
}

/* At most as many rules as there are strings in the array. */
static size_t count_strings(const struct scan *s)
{
    size_t quotes = 0;
    for (const char *p = s->p; p < s->end && (p = memchr(p, '"', (size_t)(s->end - p))); p++)
        quotes++;
    return quotes / 2;
}

static int put_merges(struct files *f, struct scan *s)
{
    struct buf left = { 0 }, right = { 0 };
    int rc = merges_init(&f->merges, count_strings(s));
    if (rc == 0 && (buf_reserve(&left, 64) < 0 || buf_reserve(&right, 64) < 0))
        rc = -1;
    if (rc == 0)
        rc = put_rules(f, s, &left, &right);
    buf_release(&left);
    buf_release(&right);
    return rc;
}

static size_t count_lines(const struct buf *b)
{
    size_t lines = 1;
    for (size_t i = 0; i < b->len; i++)
        lines += b->data[i] == '\n';
    return lines;
}

/* The next line of b without its end, 0 when there is none. */
static bool next_line(const char **s, size_t *n, const struct buf *b, size_t *at)
{
    if (*at >= b->len)
        return false;
    *s = (const char *)b->data + *at;
    const char *end = memchr(*s, '\n', b->len - *at);
    *n = end ? (size_t)(end - *s) : b->len - *at;
    *at += *n + 1;
    if (*n && (*s)[*n - 1] == '\r')
        --*n;
    return true;
}

/* A first line "#version: 0.2" is no rule; a later one that begins with # is. */
static int put_merges_text(struct files *f, const struct buf *b)
{
    const char *s;
    size_t n, at = 0, rank = 0, line = 0;
    if (merges_init(&f->merges, count_lines(b)) < 0)
        return -1;
    while (next_line(&s, &n, b, &at)) {
        line++;
        if (n == 0 || (line == 1 && n >= 8 && !memcmp(s, "#version", 8)))
            continue;
        if (put_merge_words(f, s, n, rank++) < 0)
            return err_wrap("merges.txt: line %zu", line);
    }
    return 0;
}

/* ---- what tokenizer.json says about the method ---- */

/* A key and the only value (as JSON text) that is done here; null and absence always are. */
struct only {
    const char *section, *key, *value;
};

static const struct only bpe_only[] = {
    { "model", "type", "\"BPE\"" },
    { "model", "dropout", "null" },
    { "model", "continuing_subword_prefix", "\"\"" },
    { "model", "end_of_word_suffix", "\"\"" },
    { "model", "byte_fallback", "false" },
    { "model", "ignore_merges", "false" },
    { "normalizer", "type", "null" },
    { "pre_tokenizer", "type", "\"ByteLevel\"" },
    { "pre_tokenizer", "add_prefix_space", "false" },
    { "pre_tokenizer", "use_regex", "true" },
    { NULL, NULL, NULL },
};

static const struct only wordpiece_only[] = {
    { "model", "type", "\"WordPiece\"" },
    { "model", "unk_token", "\"[UNK]\"" },
    { "model", "continuing_subword_prefix", "\"##\"" },
    { "model", "max_input_chars_per_word", "100" },
    { "normalizer", "type", "\"BertNormalizer\"" },
    { "normalizer", "clean_text", "true" },
    { "normalizer", "handle_chinese_chars", "true" },
    { "normalizer", "strip_accents", "true" },
    { "normalizer", "lowercase", "true" },
    { "pre_tokenizer", "type", "\"BertPreTokenizer\"" },
    { NULL, NULL, NULL },
};

static int check_only(json_t *root, const struct only *o)
{
    int rc = 0;
    for (; o->key && rc == 0; o++) {
        json_t *got = json_object_get(json_object_get(root, o->section), o->key);
        if (!got || json_is_null(got))
            continue;
        char *text = json_dumps(got, JSON_ENCODE_ANY | JSON_COMPACT);
        if (!text)
            return err_nomem("tokenizer.json");
        if (strcmp(text, o->value))
            rc = err_set(ERR_CONFIG, "%s.%s: %.80s, expected %s", o->section, o->key, text,
                         o->value);
        free(text);
    }
    return rc;
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
static int bos_of_template(struct files *f, json_t *root)
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
static int bos_of_config(struct files *f, const char *dir)
{
    static const char *const names[] = { "special_tokens_map.json", "tokenizer_config.json" };
    char text[64] = "</s>";
    for (size_t i = 0; i < 2; i++) {
        json_t *json;
        if (read_json(&json, dir, names[i]) < 0)
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

static int read_added(struct files *f, const char *dir)
{
    json_t *json;
    int rc = read_json(&json, dir, "tokenizer_config.json");
    if (rc > 0)
        rc = put_added_decoder(f, json);
    json_decref(json);
    if (rc != 0)
        return rc < 0 ? -1 : 0;
    if (read_json(&json, dir, "added_tokens.json") < 0)
        return -1;
    rc = put_added_map(f, json);
    json_decref(json);
    if (rc < 0 || read_json(&json, dir, "special_tokens_map.json") < 0)
        return -1;
    rc = put_special_map(f, json);
    json_decref(json);
    return rc;
}

/* ---- whole tokenizers ---- */

/* One of the two large tables: where its value is, p NULL if it is not there. */
static int find_table(struct scan *value, struct scan model, const char *key)
{
    int rc = scan_find(value, model, key);
    struct scan after = *value;
    if (rc > 0 && scan_skip(&after) < 0)
        rc = -1;
    value->end = after.p;
    if (rc == 0)
        value->p = NULL;
    return rc;
}

struct tables {
    struct scan vocab, merges;
};

static int find_tables(struct tables *t, const struct buf *text)
{
    struct scan model;
    int rc = scan_find(&model, scan_of(text->data, text->len), "model");
    if (rc == 0)
        return err_set(ERR_DATA, "no model in it");
    if (rc < 0 || find_table(&t->vocab, model, "vocab") < 0)
        return -1;
    return find_table(&t->merges, model, "merges") < 0 ? -1 : 0;
}

/* The text without the tables, 0 in their place, for jansson. */
static int without_tables(struct buf *small, const struct buf *text, const struct tables *t)
{
    const struct scan *cut[2] = { &t->vocab, &t->merges };
    const char *at = (const char *)text->data, *end = at + text->len;
    if (t->merges.p && t->vocab.p && t->merges.p < t->vocab.p) {
        cut[0] = &t->merges;
        cut[1] = &t->vocab;
    }
    for (int i = 0; i < 2; i++) {
        if (!cut[i]->p)
            continue;
        if (buf_append(small, at, (size_t)(cut[i]->p - at)) < 0 || buf_putc(small, '0') < 0)
            return -1;
        at = cut[i]->end;
    }
    return buf_append(small, at, (size_t)(end - at));
}

static int put_tables(struct files *f, struct tables *t, bool bpe)
{
    if (!t->vocab.p)
        return err_set(ERR_DATA, "model.vocab: not there, expected an object");
    if (put_vocab(f, &t->vocab) < 0)
        return err_wrap("model.vocab");
    if (!bpe)
        return 0;
    if (!t->merges.p)
        return err_set(ERR_DATA, "model.merges: not there, expected an array");
    return put_merges(f, &t->merges) < 0 ? err_wrap("model.merges") : 0;
}

/* 1 if it also gave the first token of the template. */
static int put_tokenizer_json(struct files *f, const struct buf *text, const struct only *only)
{
    struct tables t;
    struct buf small = { 0 };
    json_t *root = NULL;
    int rc = find_tables(&t, text) < 0 ? -1 : without_tables(&small, text, &t);
    if (rc == 0 && parse(&root, &small, "tokenizer.json") < 0)
        rc = -1;
    if (rc == 0)
        rc = check_only(root, only);
    if (rc == 0)
        rc = put_tables(f, &t, only == bpe_only);
    if (rc == 0)
        rc = put_added_array(f, json_object_get(root, "added_tokens"));
    if (rc == 0 && only == bpe_only)
        rc = bos_of_template(f, root);
    json_decref(root);
    buf_release(&small);
    return rc;
}

static int read_tokenizer_json(struct files *f, const char *dir, const struct only *only)
{
    struct buf text;
    buf_init(&text);
    int rc = read_file(&text, dir, "tokenizer.json"), bos = 0;
    if (rc > 0)
        rc = check_pointer(&text) < 0 ? -1 : 1;
    if (rc > 0 && (bos = put_tokenizer_json(f, &text, only)) < 0)
        rc = -1;
    buf_release(&text);
    if (rc < 0)
        return err_wrap("tokenizer.json");
    if (rc > 0 && only == bpe_only && bos == 0 && bos_of_config(f, dir) < 0)
        rc = -1;
    return rc;
}

static int read_vocab_json(struct files *f, const char *dir)
{
    struct buf text;
    buf_init(&text);
    int rc = read_file(&text, dir, "vocab.json");
    struct scan s = scan_of(text.data, text.len);
    if (rc > 0 && (check_pointer(&text) < 0 || put_vocab(f, &s) < 0))
        rc = err_wrap("vocab.json");
    buf_release(&text);
    return rc;
}

static int read_merges_txt(struct files *f, const char *dir)
{
    struct buf b;
    buf_init(&b);
    int rc = read_file(&b, dir, "merges.txt");
    if (rc > 0 && put_merges_text(f, &b) < 0)
        rc = -1;
    buf_release(&b);
    return rc;
}

int files_read_bpe(struct files *f, const char *dir)
{
    int rc = read_tokenizer_json(f, dir, bpe_only);
    if (rc != 0)
        return rc < 0 ? err_wrap("%s", dir) : 0;
    if ((rc = read_vocab_json(f, dir)) > 0)
        rc = read_merges_txt(f, dir);
    if (rc == 0)
        rc = err_set(ERR_NOINPUT, "no tokenizer.json and no vocab.json with merges.txt");
    if (rc < 0 || read_added(f, dir) < 0 || bos_of_config(f, dir) < 0)
        return err_wrap("%s", dir);
    return 0;
}

static int read_vocab_txt(struct files *f, const char *dir)
{
    struct buf b;
    const char *s;
    size_t n, at = 0;
    int64_t id = 0;
    buf_init(&b);
    int rc = read_file(&b, dir, "vocab.txt");
    while (rc > 0 && next_line(&s, &n, &b, &at))
        if (vocab_add(&f->vocab, s, n, id++) < 0)
            rc = err_wrap("vocab.txt: line %lld", (long long)id);
    buf_release(&b);
    return rc;
}

int files_read_wordpiece(struct files *f, const char *dir)
{
    int rc = read_tokenizer_json(f, dir, wordpiece_only);
    if (rc != 0)
        return rc < 0 ? err_wrap("%s", dir) : 0;
    rc = read_vocab_txt(f, dir);
    if (rc == 0)
        rc = err_set(ERR_NOINPUT, "no tokenizer.json and no vocab.txt");
    if (rc < 0 || read_added(f, dir) < 0)
        return err_wrap("%s", dir);
    return 0;
}
