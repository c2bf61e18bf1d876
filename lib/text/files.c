/* files.c - see files.h. */
#include "text/files.h"

#include "base/err.h"
#include "text/source.h"
#include "text/special.h"
#include "text/tables.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

void files_release(struct files *f)
{
    vocab_release(&f->vocab);
    added_release(&f->added);
    merges_release(&f->merges);
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
    if (tables_vocab(f, &t->vocab) < 0)
        return err_wrap("model.vocab");
    if (!bpe)
        return 0;
    if (!t->merges.p)
        return err_set(ERR_DATA, "model.merges: not there, expected an array");
    return tables_merges(f, &t->merges) < 0 ? err_wrap("model.merges") : 0;
}

/* 1 if it also gave the first token of the template. */
static int put_tokenizer_json(struct files *f, const struct buf *text, const struct only *only)
{
    struct tables t;
    struct buf small = { 0 };
    json_t *root = NULL;
    int rc = find_tables(&t, text) < 0 ? -1 : without_tables(&small, text, &t);
    if (rc == 0 && source_parse(&root, &small, "tokenizer.json") < 0)
        rc = -1;
    if (rc == 0)
        rc = check_only(root, only);
    if (rc == 0)
        rc = put_tables(f, &t, only == bpe_only);
    if (rc == 0)
        rc = special_array(f, json_object_get(root, "added_tokens"));
    if (rc == 0 && only == bpe_only)
        rc = special_bos_of_template(f, root);
    json_decref(root);
    buf_release(&small);
    return rc;
}

static int read_tokenizer_json(struct files *f, const char *dir, const struct only *only)
{
    struct buf text;
    buf_init(&text);
    int rc = source_read(&text, dir, "tokenizer.json"), bos = 0;
    if (rc > 0)
        rc = source_check(&text) < 0 ? -1 : 1;
    if (rc > 0 && (bos = put_tokenizer_json(f, &text, only)) < 0)
        rc = -1;
    buf_release(&text);
    if (rc < 0)
        return err_wrap("tokenizer.json");
    if (rc > 0 && only == bpe_only && bos == 0 && special_bos_of_config(f, dir) < 0)
        rc = -1;
    return rc;
}

static int read_vocab_json(struct files *f, const char *dir)
{
    struct buf text;
    buf_init(&text);
    int rc = source_read(&text, dir, "vocab.json");
    struct scan s = scan_of(text.data, text.len);
    if (rc > 0 && (source_check(&text) < 0 || tables_vocab(f, &s) < 0))
        rc = err_wrap("vocab.json");
    buf_release(&text);
    return rc;
}

static int read_merges_txt(struct files *f, const char *dir)
{
    struct buf b;
    buf_init(&b);
    int rc = source_read(&b, dir, "merges.txt");
    if (rc > 0 && tables_merges_text(f, &b) < 0)
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
    if (rc < 0 || special_read(f, dir) < 0 || special_bos_of_config(f, dir) < 0)
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
    int rc = source_read(&b, dir, "vocab.txt");
    while (rc > 0 && tables_next_line(&s, &n, &b, &at))
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
    if (rc < 0 || special_read(f, dir) < 0)
        return err_wrap("%s", dir);
    return 0;
}
