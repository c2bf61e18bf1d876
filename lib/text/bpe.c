/* bpe.c - see bpe.h. */
#include "text/bpe.h"

#include "base/err.h"
#include "base/math.h"
#include "text/decode.h"
#include "text/files.h"
#include "text/pretoken.h"
#include "text/unicode.h"

#include <stdlib.h>
#include <string.h>

struct bpe {
    struct files files;
    uint32_t of_byte[256]; /* ids of the single bytes */
    int64_t reserved;      /* no text becomes this id; -1: none */
};

/* ---- ids ---- */

void bpe_ids_release(struct bpe_ids *ids)
{
    free(ids->v);
    *ids = (struct bpe_ids){ 0 };
}

int bpe_ids_push(struct bpe_ids *ids, int64_t id)
{
    if (ids->n == ids->cap) {
        size_t cap = ids->cap ? ids->cap * 2 : 64, bytes;
        int64_t *v = math_mul(&bytes, cap, sizeof *v) ? realloc(ids->v, bytes) : NULL;
        if (!v)
            return err_nomem("token ids");
        ids->v = v;
        ids->cap = cap;
    }
    ids->v[ids->n++] = id;
    return 0;
}

/* ---- opening ---- */

/* With an id for each byte there is no text that cannot be encoded. */
static int find_bytes(struct bpe *t)
{
    for (int byte = 0; byte < 256; byte++) {
        char s[4];
        size_t n = unicode_put(s, decode_char_of_byte((unsigned char)byte));
        int64_t id = vocab_find(&t->files.vocab, s, n);
        if (id < 0)
            return err_set(ERR_DATA, "the vocabulary has no token for byte 0x%02x", byte);
        t->of_byte[byte] = (uint32_t)id;
    }
    return 0;
}

struct bpe *bpe_open(const char *dir)
{
    struct bpe *t = calloc(1, sizeof *t);
    if (!t)
        return err_null(ERR_OS, "out of memory opening a tokenizer");
    t->reserved = -1;
    if (files_read_bpe(&t->files, dir) < 0) {
        bpe_close(t);
        return NULL;
    }
    if (find_bytes(t) < 0) {
        err_wrap("%s", dir);
        bpe_close(t);
        return NULL;
    }
    return t;
}

void bpe_close(struct bpe *t)
{
    if (t)
        files_release(&t->files);
    free(t);
}

int64_t bpe_id(const struct bpe *t, const char *token)
{
    return vocab_find(&t->files.vocab, token, strlen(token));
}

void bpe_reserve(struct bpe *t, int64_t id)
{
    t->reserved = id;
}

/* ---- encoding ---- */

struct job {
    const struct bpe *t;
    struct bpe_ids *out;
    struct merges_work work;
    uint32_t *piece; /* ids of the piece at hand */
    size_t room;
};

static int reserve_piece(struct job *j, size_t n)
{
    size_t bytes;
    if (n <= j->room)
        return 0;
    if (n > INT32_MAX)
        return err_set(ERR_DATA, "a piece of text of %zu bytes, expected less than 2 GiB", n);
    uint32_t *p = math_mul(&bytes, n, sizeof *p) ? realloc(j->piece, bytes) : NULL;
    if (!p)
        return err_nomem("a piece of text");
    j->piece = p;
    j->room = n;
    return 0;
}

static int encode_piece(struct job *j, const char *s, size_t n)
{
    if (reserve_piece(j, n) < 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        j->piece[i] = j->t->of_byte[(unsigned char)s[i]];
    if (merges_apply(j->piece, &n, &j->t->files.merges, &j->work) < 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        if (bpe_ids_push(j->out, j->piece[i]) < 0)
            return -1;
    return 0;
}

static int encode_plain(struct job *j, const char *s, size_t n)
{
    for (size_t len; n > 0; s += len, n -= len) {
        len = pretoken_next(s, n);
        if (encode_piece(j, s, len) < 0)
            return -1;
    }
    return 0;
}

/* Cuts out the added tokens: first those that are not normalized, then, in what lies between,
 * the others. */
static int encode_cutting(struct job *j, const char *s, size_t n, bool normalized)
{
    const struct added_token *t;
    size_t at;
    do {
        t = added_next(&at, &j->t->files.added, s, n, normalized, j->t->reserved);
        size_t before = t ? at : n;
        int rc = normalized ? encode_plain(j, s, before) : encode_cutting(j, s, before, true);
        if (rc < 0 || (t && bpe_ids_push(j->out, t->id) < 0))
            return -1;
        s += before + (t ? t->n : 0);
        n -= before + (t ? t->n : 0);
    } while (t);
    return 0;
}

int bpe_encode(struct bpe_ids *out, const struct bpe *t, const char *s, size_t n, int flags)
{
    struct job j = { .t = t, .out = out };
    int rc = 0;
    if (flags & BPE_BOS && t->files.bos >= 0)
        rc = bpe_ids_push(out, t->files.bos);
    if (rc == 0)
        rc = flags & BPE_SPECIALS ? encode_cutting(&j, s, n, false) : encode_plain(&j, s, n);
    merges_work_release(&j.work);
    free(j.piece);
    return rc;
}

/* ---- decoding ---- */

int bpe_decode(struct buf *out, const struct bpe *t, const int64_t *ids, size_t n,
               bool skip_specials)
{
    struct buf bytes;
    int rc = 0;
    buf_init(&bytes);
    for (size_t i = 0; i < n && rc == 0; i++) {
        size_t len;
        const char *s = vocab_token(&len, &t->files.vocab, ids[i]);
        const struct added_token *added = added_of_id(&t->files.added, ids[i]);
        if (s && !(skip_specials && added && added->special))
            rc = decode_token(&bytes, s, len);
    }
    if (rc == 0)
        rc = decode_lossy(out, (const char *)bytes.data, bytes.len);
    buf_release(&bytes);
    return rc;
}

/* ---- where ids come from ---- */

int bpe_token(struct buf *out, const struct bpe *t, int64_t id)
{
    size_t n;
    const char *s = vocab_token(&n, &t->files.vocab, id);
    return s ? decode_token(out, s, n) : 0;
}

bool bpe_is_special(const struct bpe *t, int64_t id)
{
    const struct added_token *added = added_of_id(&t->files.added, id);
    return added && added->special;
}

/* Every id in its place; gives the end of the last. */
static int place_spans(struct bpe_span *span, const struct bpe *t, const struct bpe_ids *ids,
                       bool bos, size_t *end)
{
    struct buf bytes = { 0 };
    size_t at = 0;
    int rc = 0;
    for (size_t i = 0; i < ids->n && rc == 0; i++) {
        int64_t id = ids->v[i];
        buf_clear(&bytes);
        if (i > 0 || !bos)
            rc = bpe_token(&bytes, t, id);
        span[i] = (struct bpe_span){
            .id = id, .at = at, .n = bytes.len, .word = -1, .special = bpe_is_special(t, id)
        };
        at += bytes.len;
    }
    buf_release(&bytes);
    *end = at;
    return rc;
}

/* The next span from i on that was cut out of the text, or count. */
static size_t next_cut(const struct bpe_span *span, size_t i, size_t count, const struct bpe *t,
                       int flags)
{
    if (!(flags & BPE_SPECIALS))
        return count;
    while (i < count && !added_of_id(&t->files.added, span[i].id))
        i++;
    return i;
}

/* Words of the run span[i..stop), which ends at s[end]. */
static void number_words(struct bpe_span *span, size_t i, size_t stop, const char *s,
                         size_t end, int *words)
{
    for (size_t word_end = i < stop ? span[i].at : 0; i < stop; i++) {
        struct bpe_span *k = &span[i];
        k->first = k->at == word_end;
        if (k->first) {
            word_end += pretoken_next(s + word_end, end - word_end);
            (*words)++;
        }
        k->word = *words - 1;
    }
}

struct bpe_span *bpe_spans(const struct bpe *t, const struct bpe_ids *ids, const char *s,
                           size_t n, int flags, struct arena *mem)
{
    bool bos = flags & BPE_BOS && t->files.bos >= 0;
    struct bpe_span *span = arena_calloc(mem, ids->n, sizeof *span);
    size_t end;
    int words = 0;
    if (!span || place_spans(span, t, ids, bos, &end) < 0)
        return NULL;
    if (end != n)
        return err_null(ERR_BUG, "ids of %zu bytes for a text of %zu", end, n);
    for (size_t i = bos; i < ids->n; i++) {
        size_t stop = next_cut(span, i, ids->n, t, flags);
        number_words(span, i, stop, s, stop < ids->n ? span[stop].at : n, &words);
        i = stop;
    }
    return span;
}
