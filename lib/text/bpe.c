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
