/* token_table.c - see token_table.h. */
#include "front/token_table.h"

#include "base/err.h"
#include "base/utf8.h"
#include "cli/env.h"
#include "front/show.h"

#include <jansson.h>
#include <string.h>

#define SPECIAL "\033[35m"
#define DIM     "\033[2m"
#define PLAIN   "\033[0m"

static const char *const word_colours[] = { "\033[36m", "\033[33m" }; /* by turns */

int token_table_make(struct token_table *t, struct tokens *k, const char *text, size_t n)
{
    const struct prompt_layout *l = &k->layout;
    k->ids.n = 0;
    t->text = text;
    t->n = n;
    t->image_token = l->image_token;
    t->rows = l->image_token >= 0 ? l->rows : 0;
    if (prompt_encode(&k->ids, l, k->bpe, text, n, false) < 0)
        return -1;
    t->spans = k->ids.n;
    t->span = bpe_spans(k->bpe, &k->ids, text, n,
                        BPE_BOS | (l->split_specials ? 0 : BPE_SPECIALS), &t->mem);
    return t->span ? 0 : -1;
}

void token_table_release(struct token_table *t)
{
    arena_release(&t->mem);
}

/* ---- for people ---- */

static bool split(const struct token_table *t, size_t i)
{
    const struct bpe_span *k = &t->span[i];
    bool more = i + 1 < t->spans && t->span[i + 1].word == k->word;
    return k->word >= 0 && (!k->first || more);
}

static const char *colour_of(const struct bpe_span *k, bool colour)
{
    if (!colour)
        return "";
    return k->special ? SPECIAL : k->word < 0 ? "" : word_colours[k->word % 2];
}

/* The text, a bar where a word is cut. */
static int put_cuts(struct buf *out, const struct token_table *t, bool colour)
{
    for (size_t i = 0; i < t->spans; i++) {
        const struct bpe_span *k = &t->span[i];
        if (k->word >= 0 && !k->first && buf_puts(out, "|") < 0)
            return -1;
        if (buf_puts(out, colour_of(k, colour)) < 0 ||
            show_text(out, t->text + k->at, k->n, NULL) < 0 ||
            buf_puts(out, colour ? PLAIN : "") < 0)
            return -1;
    }
    return buf_puts(out, "\n");
}

/* Blanks from a text of that width to the next column, at least one. */
static int fill(struct buf *out, int width, int columns)
{
    return buf_printf(out, "%*s", width < columns ? columns - width : 1, "");
}

static const char *note(const struct token_table *t, size_t i)
{
    const struct bpe_span *k = &t->span[i];
    if (k->n == 0)
        return "special: begins every prompt";
    return k->special ? "special" : split(t, i) ? "part of a word" : "";
}

/* "    3   1843     1  " and the text in quotes, filled up to a column, then its bytes. */
static int put_row(struct buf *out, const struct token_table *t, size_t i, bool colour)
{
    const struct bpe_span *k = &t->span[i];
    const char *s = k->n ? t->text + k->at : "</s>", *why = note(t, i);
    int width, hex = k->n ? 3 * (int)k->n - 1 : 0;
    if (buf_printf(out, "%5lld %6lld %5d  %s\"", (long long)(t->rows + (int64_t)i),
                   (long long)k->id, 1, colour_of(k, colour)) < 0 ||
        show_text(out, s, k->n ? k->n : strlen(s), &width) < 0 ||
        buf_printf(out, "\"%s", colour ? PLAIN : "") < 0 || fill(out, width, 18) < 0 ||
        buf_puts(out, colour ? DIM : "") < 0 || show_bytes(out, t->text + k->at, k->n) < 0 ||
        (*why && fill(out, hex, 26) < 0))
        return -1;
    return buf_printf(out, "%s%s\n", why, colour ? PLAIN : "");
}

static int put_image(struct buf *out, const struct token_table *t, bool colour)
{
    if (t->rows == 0)
        return 0;
    return buf_printf(out,
                      "%2d-%-2lld %6lld %5d  %s<image>%s%*s%lld times, special: the rows of "
                      "the picture\n",
                      0, (long long)t->rows - 1, (long long)t->image_token, 1,
                      colour ? SPECIAL : "", colour ? PLAIN : "", 13, "", (long long)t->rows);
}

static int put_table(struct buf *out, const struct token_table *t, bool colour)
{
    if (put_cuts(out, t, colour) < 0 ||
        buf_puts(out, "place     id  mask  text                bytes\n") < 0 ||
        put_image(out, t, colour) < 0)
        return -1;
    for (size_t i = 0; i < t->spans; i++)
        if (put_row(out, t, i, colour) < 0)
            return -1;
    return 0;
}

int token_table_print(FILE *f, const struct token_table *t, bool colour)
{
    struct buf out = { 0 };
    int rc = put_table(&out, t, colour);
    if (rc == 0)
        fwrite(out.data, 1, out.len, f);
    buf_release(&out);
    return rc;
}

/* ---- for programs ---- */

static json_t *bytes_json(const char *s, size_t n)
{
    struct buf hex = { 0 };
    json_t *j = show_bytes(&hex, s, n) < 0 || !buf_str(&hex)
                    ? NULL
                    : json_stringn((const char *)hex.data, hex.len);
    buf_release(&hex);
    return j;
}

/* Half a character is no text: null. */
static json_t *span_json(const struct token_table *t, size_t i)
{
    const struct bpe_span *k = &t->span[i];
    const char *s = t->text + k->at;
    return json_pack("{s:I, s:I, s:i, s:b, s:i, s:b, s:o, s:o}", "at",
                     (json_int_t)(t->rows + (int64_t)i), "id", (json_int_t)k->id, "mask", 1,
                     "special", k->special, "word", k->word, "first", k->first, "text",
                     utf8_valid(s, k->n) ? json_stringn_nocheck(s, k->n) : json_null(), "bytes",
                     bytes_json(s, k->n));
}

struct json_t *token_table_json(const struct token_table *t)
{
    json_t *tokens = json_array();
    for (size_t i = 0; i < t->spans; i++)
        if (json_array_append_new(tokens, span_json(t, i)) < 0)
            return json_decref(tokens), err_nomem("JSON"), NULL;
    json_t *image = t->rows ? json_pack("{s:I, s:I}", "id", (json_int_t)t->image_token, "rows",
                                        (json_int_t)t->rows)
                            : json_null();
    json_t *j = json_pack("{s:o, s:o, s:o}", "text", json_stringn_nocheck(t->text, t->n),
                          "image", image, "tokens", tokens);
    if (!j)
        err_nomem("JSON");
    return j;
}

int token_table_line(FILE *f, struct tokens *k, const char *text, size_t n, bool json)
{
    struct token_table t = { 0 };
    int rc = token_table_make(&t, k, text, n);
    if (rc == 0 && json) {
        json_t *j = token_table_json(&t);
        rc = !j || json_dumpf(j, f, JSON_COMPACT) < 0 ? -1 : 0;
        fputc('\n', f);
        json_decref(j);
    } else if (rc == 0)
        rc = token_table_print(f, &t, env_colour(fileno(f)));
    token_table_release(&t);
    return rc;
}
