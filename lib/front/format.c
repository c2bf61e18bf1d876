/* format.c - see format.h. */
#include "front/format.h"

#include "base/utf8.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

const char *const format_words[] = { "text", "tsv", "jsonl", "json", "msgpack", NULL };

void format_begin(struct format *o)
{
    o->records = o->errors = 0;
    o->first_error[0] = '\0';
    o->first_kind = ERR_NONE;
    if (o->kind == FORMAT_JSON)
        fputc('[', o->f);
}

json_t *format_json_text(const char *s, size_t n)
{
    if (utf8_valid(s, n))
        return json_stringn_nocheck(s, n);
    char copy[4096];
    size_t len = n < sizeof copy ? n : sizeof copy;
    memcpy(copy, s, len);
    for (size_t i = 0, step; i < len; i += step)
        if (!(step = utf8_char(copy + i, len - i))) {
            copy[i] = '?';
            step = 1;
        }
    return json_stringn_nocheck(copy, len);
}

static void set_text(json_t *obj, const char *key, const struct record *rec, const char *field)
{
    const char *s;
    size_t n;
    if (record_get_str(&s, &n, rec, field) > 0)
        json_object_set_new(obj, key, format_json_text(s, n));
}

static void set_numbers(json_t *obj, const struct record *rec)
{
    double score;
    int64_t sequence, row;
    if (record_get_int(&sequence, rec, "sequence") > 0)
        json_object_set_new(obj, "sequence", json_integer(sequence));
    if (record_get_int(&row, rec, "row") > 0)
        json_object_set_new(obj, "row", json_integer(row));
    if (record_get_float(&score, rec, "score") > 0)
        json_object_set_new(obj, "score", score == score ? json_real(score) : json_null());
}

static json_t *to_json(const struct format *o, const struct record *rec, const char *prompt)
{
    struct record_error e;
    json_t *obj = json_object();
    set_text(obj, o->keys.id, rec, "id");
    if (prompt)
        json_object_set_new(obj, o->keys.prompt, format_json_text(prompt, strlen(prompt)));
    else
        set_text(obj, o->keys.prompt, rec, "prompt");
    if (record_get_error(&e, rec)) {
        json_object_set_new(obj, "error",
                            json_pack("{s:s, s:s, s:o}", "kind", e.kind, "stage", e.stage,
                                      "message",
                                      format_json_text(e.message, strlen(e.message))));
        return obj;
    }
    set_text(obj, o->keys.text, rec, "text");
    set_numbers(obj, rec);
    set_text(obj, "finish", rec, "finish");
    return obj;
}

static int put_json(struct format *o, const struct record *rec, const char *prompt)
{
    json_t *obj = to_json(o, rec, prompt);
    if (!obj)
        return err_nomem("JSON");
    if (o->kind == FORMAT_JSON)
        fputs(o->records ? ",\n " : "\n ", o->f);
    json_dumpf(obj, o->f, JSON_COMPACT);
    if (o->kind == FORMAT_JSONL)
        fputc('\n', o->f);
    json_decref(obj);
    return 0;
}

static void put_text(FILE *f, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        fputc(s[i] == '\n' || s[i] == '\r' || s[i] == '\t' ? ' ' : s[i], f);
}

/* The field's bytes from `from` on. */
static void put_field(FILE *f, const struct record *rec, const char *key, size_t from)
{
    const char *s;
    size_t n;
    if (record_get_str(&s, &n, rec, key) > 0 && from < n)
        put_text(f, s + from, n - from);
}

static void put_line(struct format *o, const struct record *rec, size_t from)
{
    if (o->kind == FORMAT_TSV || o->named) {
        put_field(o->f, rec, "id", 0);
        fputc('\t', o->f);
    }
    put_field(o->f, rec, "text", from);
    fputc('\n', o->f);
}

/* ---- answers piece by piece ---- */

static bool is_partial(const struct record *rec)
{
    const struct record_field *f = record_find(rec, "partial");
    return f && f->type == RECORD_BOOL && f->i;
}

static void part_key(char *key, size_t n, struct record *rec)
{
    int64_t sequence = 0;
    record_get_int(&sequence, rec, "sequence");
    snprintf(key, n, "%lld %s", (long long)sequence, record_id(rec));
}

/* What of a partial text stays as it is: a U+FFFD at its end may be half a character, and that
 * may be a blank, which the whole text would not end in. */
static size_t settled(const char *s, size_t n)
{
    while (n >= 3 && !memcmp(s + n - 3, "\xef\xbf\xbd", 3))
        n -= 3;
    while (n && strchr(" \t\r\n", s[n - 1]))
        n--;
    return n;
}

/* The first answer that begins is shown as it comes; of others that run beside it nothing until
 * they are whole. */
static void put_part(struct format *o, struct record *rec)
{
    char key[sizeof o->part];
    const char *s;
    size_t n;
    if (o->kind != FORMAT_TEXT || o->named || record_get_str(&s, &n, rec, "text") <= 0)
        return;
    part_key(key, sizeof key, rec);
    if (!o->part[0])
        memcpy(o->part, key, sizeof key);
    n = settled(s, n);
    if (strcmp(o->part, key) || n <= o->part_len)
        return;
    put_text(o->f, s + o->part_len, n - o->part_len);
    o->part_len = n;
}

/* How much of the record's answer has been shown. */
static size_t end_part(struct format *o, struct record *rec)
{
    char key[sizeof o->part];
    size_t n = o->part_len;
    part_key(key, sizeof key, rec);
    if (strcmp(o->part, key))
        return 0;
    o->part[0] = '\0';
    o->part_len = 0;
    return n;
}

/* ---- */

static void note_error(struct format *o, struct record *rec)
{
    struct record_error e;
    record_get_error(&e, rec);
    if (o->errors++ == 0) {
        o->first_kind = err_kind_named(e.kind);
        snprintf(o->first_error, sizeof o->first_error, "%s: %s: %s", record_id(rec), e.stage,
                 e.message);
    }
}

static int flush(struct format *o)
{
    return fflush(o->f) ? err_sys(ERR_IO, "standard output") : 0;
}

int format_record(struct format *o, struct record *rec, const char *prompt)
{
    bool failed = record_is_error(rec),
         json = o->kind == FORMAT_JSON || o->kind == FORMAT_JSONL;
    if (is_partial(rec)) {
        put_part(o, rec);
        return flush(o);
    }
    size_t shown = end_part(o, rec);
    if (failed)
        note_error(o, rec);
    if (json && put_json(o, rec, prompt) < 0)
        return -1;
    if (!json && (!failed || shown))
        put_line(o, rec, shown);
    o->records++;
    return flush(o);
}

void format_count(struct format *o, struct record *rec)
{
    if (record_is_error(rec))
        note_error(o, rec);
    o->records++;
}

int format_end(struct format *o)
{
    if (o->kind == FORMAT_JSON)
        fputs(o->records ? "\n]\n" : "]\n", o->f);
    return flush(o);
}

int format_print_json(json_t *j)
{
    char *text = j ? json_dumps(j, 0) : NULL;
    json_decref(j);
    if (!text)
        return err_nomem("JSON");
    puts(text);
    free(text);
    return 0;
}
