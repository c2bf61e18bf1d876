/* format.h - results of a pipeline for people and programs.
 *
 *   text   the answer alone, one line a record; with `named`, PATH<TAB>answer
 *   tsv    id<TAB>text
 *   jsonl  one object a record, keys in a fixed order; an error record has "error"
 *   json   the same objects in one array
 *
 * Newlines and tabs inside an answer become blanks in text and tsv; JSON is exact. Partial
 * records (opt-generate --stream) show in text alone: of one answer at a time, what is new.
 * Errors: -1 with err set. Failed records print nothing in text and tsv: they are counted. */
#ifndef FRONT_FORMAT_H
#define FRONT_FORMAT_H

#include "base/err.h"
#include "wire/record.h"

#include <stdint.h>
#include <stdio.h>

enum format_kind { FORMAT_TEXT, FORMAT_TSV, FORMAT_JSONL, FORMAT_JSON, FORMAT_MSGPACK };

/* The words of -f, in the order of enum format_kind; ends in NULL. */
extern const char *const format_words[];

/* What the JSON keys are called: tokenize -d says prompt and text, vqa ask question and answer.
 */
struct format_keys {
    const char *id, *prompt, *text;
};

struct format {
    enum format_kind kind;
    bool named; /* text: put the id before the answer */
    struct format_keys keys;
    FILE *f;
    uint64_t records, errors; /* partial ones do not count */
    char part[320];           /* the answer being shown piece by piece; "": none */
    size_t part_len;          /* bytes of it shown so far */
    char first_error[600];    /* "id: stage: message" of the first failed record */
    enum err_kind first_kind;
};

void format_begin(struct format *o);

/* prompt: what to show instead of the record's own prompt (the bare question), or NULL. */
int format_record(struct format *o, struct record *rec, const char *prompt);

/* Counts the record, and prints nothing. */
void format_count(struct format *o, struct record *rec);

int format_end(struct format *o);

/* One JSON document on a line of standard output; takes the reference. */
struct json_t;
int format_print_json(struct json_t *j);

/* Text as JSON, which must be UTF-8: a name that is not loses the offending bytes to '?'. */
struct json_t *format_json_text(const char *s, size_t n);

#endif
