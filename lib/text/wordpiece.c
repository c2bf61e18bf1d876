/* wordpiece.c - see wordpiece.h. */
#include "text/wordpiece.h"

#include "base/err.h"
#include "text/bert.h"
#include "text/files.h"
#include "text/unicode.h"

#include <stdlib.h>
#include <string.h>

#define WORD_CHARS 100 /* a longer word is [UNK] */
#define PREFIX     "##"
#define PREFIX_LEN 2

struct wordpiece {
    struct files files;
    int64_t unk, cls, sep;
};

static int find_specials(struct wordpiece *t)
{
    struct {
        const char *name;
        int64_t *id;
    } want[] = { { "[UNK]", &t->unk }, { "[CLS]", &t->cls }, { "[SEP]", &t->sep } };
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        *want[i].id = vocab_find(&t->files.vocab, want[i].name, strlen(want[i].name));
        if (*want[i].id < 0)
            return err_set(ERR_DATA, "the vocabulary has no %s", want[i].name);
    }
    return 0;
}

struct wordpiece *wordpiece_open(const char *dir)
{
    struct wordpiece *t = calloc(1, sizeof *t);
    if (!t)
        return err_null(ERR_OS, "out of memory opening a tokenizer");
    int rc = files_read_wordpiece(&t->files, dir);
    if (rc == 0 && find_specials(t) < 0)
        rc = err_wrap("%s", dir);
    if (rc == 0)
        return t;
    wordpiece_close(t);
    return NULL;
}

void wordpiece_close(struct wordpiece *t)
{
    if (t)
        files_release(&t->files);
    free(t);
}

/* ---- encoding ---- */

/* The longest token that s begins with, inside a word with "##" before it; -1: none. */
static int64_t longest(size_t *len, const struct wordpiece *t, const char *s, size_t n,
                       bool inside)
{
    char piece[PREFIX_LEN + 4 * WORD_CHARS] = PREFIX;
    size_t skip = inside ? PREFIX_LEN : 0, most = t->files.vocab.longest;
    memcpy(piece + skip, s, n);
    for (*len = n + skip > most ? most - skip : n; *len > 0; --*len) {
        if (*len < n && ((unsigned char)s[*len] & 0xc0) == 0x80)
            continue; /* within a character */
        int64_t id = vocab_find(&t->files.vocab, piece, skip + *len);
        if (id >= 0)
            return id;
    }
    return -1;
}

static size_t count_chars(const char *s, size_t n)
{
    size_t chars = 0;
    for (size_t i = 0; i < n; i++)
        chars += ((unsigned char)s[i] & 0xc0) != 0x80;
    return chars;
}

static int encode_word(struct bpe_ids *out, const struct wordpiece *t, const char *s, size_t n)
{
    size_t begin = out->n, len;
    bool known = count_chars(s, n) <= WORD_CHARS;
    for (size_t i = 0; i < n && known; i += len) {
        int64_t id = longest(&len, t, s + i, n - i, i > 0);
        known = id >= 0;
        if (known && bpe_ids_push(out, id) < 0)
            return -1;
    }
    if (known)
        return 0;
    out->n = begin;
    return bpe_ids_push(out, t->unk);
}

static int encode_plain(struct bpe_ids *out, const struct wordpiece *t, const char *s, size_t n)
{
    struct buf words;
    buf_init(&words);
    int rc = bert_words(&words, s, n);
    const char *w = (const char *)words.data;
    for (size_t i = 0, len; i < words.len && rc == 0; i += len + 1) {
        len = (size_t)((const char *)memchr(w + i, '\n', words.len - i) - (w + i));
        rc = encode_word(out, t, w + i, len);
    }
    buf_release(&words);
    return rc;
}

/* "[SEP]" and the like in a text are their ids, as in the reference. */
static int encode_cutting(struct bpe_ids *out, const struct wordpiece *t, const char *s,
                          size_t n, bool normalized)
{
    const struct added_token *a;
    size_t at;
    do {
        a = added_next(&at, &t->files.added, s, n, normalized, -1);
        size_t before = a ? at : n;
        int rc = normalized ? encode_plain(out, t, s, before)
                            : encode_cutting(out, t, s, before, true);
        if (rc < 0 || (a && bpe_ids_push(out, a->id) < 0))
            return -1;
        s += before + (a ? a->n : 0);
        n -= before + (a ? a->n : 0);
    } while (a);
    return 0;
}

int wordpiece_encode(struct bpe_ids *out, const struct wordpiece *t, const char *s, size_t n,
                     size_t max)
{
    size_t begin = out->n;
    if (bpe_ids_push(out, t->cls) < 0 || encode_cutting(out, t, s, n, false) < 0)
        return -1;
    if (max && out->n - begin > max - 1)
        out->n = begin + max - 1;
    return bpe_ids_push(out, t->sep);
}

/* ---- decoding ---- */

/* Replaces `from` by its own bytes [skip, skip + keep), from byte `begin` on, in place. */
static void shorten(struct buf *b, size_t begin, const char *from, size_t skip, size_t keep)
{
    size_t n = strlen(from), to = begin;
    for (size_t i = begin; i < b->len;) {
        bool found = b->len - i >= n && !memcmp(b->data + i, from, n);
        size_t take = found ? keep : 1;
        memmove(b->data + to, b->data + i + (found ? skip : 0), take);
        to += take;
        i += found ? n : 1;
    }
    b->len = to;
}

/* The reference's tidying of English, in its order: "it ' s ." is "it's." */
static void tidy(struct buf *b, size_t begin)
{
    static const char *const joined[] = { " n't", " 'm", " 's", " 've", " 're" };
    for (const char *mark = ".?!,"; *mark; mark++)
        shorten(b, begin, (char[]){ ' ', *mark, 0 }, 1, 1);
    shorten(b, begin, " ' ", 1, 1);
    for (size_t i = 0; i < sizeof joined / sizeof *joined; i++)
        shorten(b, begin, joined[i], 1, strlen(joined[i]) - 1);
}

static int put_token(struct buf *out, const char *s, size_t n, bool first)
{
    if (!first && n >= PREFIX_LEN && !memcmp(s, PREFIX, PREFIX_LEN))
        return buf_append(out, s + PREFIX_LEN, n - PREFIX_LEN);
    if (!first && buf_putc(out, ' ') < 0)
        return -1;
    return buf_append(out, s, n);
}

int wordpiece_decode(struct buf *out, const struct wordpiece *t, const int64_t *ids, size_t n,
                     bool skip_specials)
{
    size_t begin = out->len;
    bool first = true;
    for (size_t i = 0; i < n; i++) {
        size_t len;
        const char *s = vocab_token(&len, &t->files.vocab, ids[i]);
        const struct added_token *added = added_of_id(&t->files.added, ids[i]);
        if (!s || (skip_specials && added && added->special))
            continue;
        if (put_token(out, s, len, first) < 0)
            return -1;
        first = false;
    }
    tidy(out, begin);
    return 0;
}
