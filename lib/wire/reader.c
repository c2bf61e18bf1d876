/* reader.c - records from bytes: see wire.h. */
#include "base/err.h"
#include "base/io.h"
#include "base/sha256.h"
#include "base/utf8.h"
#include "wire/numpy.h"
#include "wire/unpack.h"
#include "wire/wire.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define RECORD_MAX ((size_t)64 << 20)
#define KEY_MAX    128
#define READ_STEP  ((size_t)1 << 20)

struct wire_reader {
    int fd;
    char *name;
    struct wire_limits lim;
    struct buf in; /* bytes read and not yet consumed: [at, in.len) */
    size_t at;
    const unsigned char *base; /* in.data + at, for the scan */
    size_t have;
    bool started, in_stream;        /* in_stream: a header was seen, its end not yet */
    struct wire_counts total, part; /* of everything; of the stream we are in */
    struct sha256 *digest;          /* of the stream we are in */
    struct buf via;                 /* the first header's chain: an array, packed */
    size_t pending;                 /* length of a value scanned by wire_start() */
};

static void refresh(struct wire_reader *r)
{
    r->base = r->in.data + r->at;
    r->have = r->in.len - r->at;
}

/* unpack_more: reads until `need` bytes from base are there. Memory grows with what has
 * arrived, never with what was promised. */
static int more(void *ctx, size_t need)
{
    struct wire_reader *r = ctx;
    if (r->at) {
        memmove(r->in.data, r->base, r->have);
        r->in.len = r->have;
        r->at = 0;
    }
    while (r->in.len < need) {
        size_t want = need - r->in.len < 65536 ? 65536 : need - r->in.len;
        if (want > READ_STEP)
            want = READ_STEP;
        if (buf_reserve(&r->in, want) < 0)
            return -1;
        ssize_t got = io_read_some(r->fd, r->in.data + r->in.len, want);
        if (got <= 0) {
            refresh(r);
            return (int)got;
        }
        r->in.len += (size_t)got;
    }
    refresh(r);
    return 1;
}

struct wire_reader *wire_reader_new(int fd, const char *name, const struct wire_limits *lim)
{
    struct wire_reader *r = calloc(1, sizeof *r);
    if (!r)
        return err_null(ERR_OS, "%s: out of memory", name);
    r->fd = fd;
    r->name = strdup(name);
    r->digest = sha256_new();
    r->lim = lim ? *lim : (struct wire_limits){ 0 };
    r->lim.record_bytes = r->lim.record_bytes ? r->lim.record_bytes : RECORD_MAX;
    if (!r->name || !r->digest) {
        wire_reader_free(r);
        return err_null(ERR_OS, "%s: out of memory", name);
    }
    return r;
}

void wire_reader_free(struct wire_reader *r)
{
    if (!r)
        return;
    free(r->name);
    sha256_free(r->digest);
    buf_release(&r->in);
    buf_release(&r->via);
    free(r);
}

/* Scans the next value: 1 and its length, 0 at the end of the input, -1. */
static int next_value(struct wire_reader *r, size_t *len)
{
    refresh(r);
    if (r->pending) {
        *len = r->pending;
        r->pending = 0;
        return 1;
    }
    return unpack_scan(len, &r->base, &r->have, r->lim.record_bytes, more, r);
}

/* Fields of the map at bytes: keys are short UTF-8 strs, none twice. */
static int parse_key(struct record *rec, struct unpack_token k)
{
    if (k.type != UNPACK_STR || k.n > KEY_MAX || !utf8_valid((const char *)k.p, k.n))
        return err_set(ERR_DATA, "record with a key that is not a str of at most %d bytes",
                       KEY_MAX);
    if (rec->n == RECORD_FIELDS)
        return err_set(ERR_DATA, "record with more than %d fields", RECORD_FIELDS);
    for (int i = 0; i < rec->n; i++)
        if (rec->field[i].key_len == k.n && !memcmp(rec->field[i].key, k.p, k.n))
            return err_set(ERR_DATA, "record with the key '%.*s' twice", (int)k.n,
                           (const char *)k.p);
    rec->field[rec->n] = (struct record_field){ .key = (const char *)k.p, .key_len = k.n };
    return 0;
}

static int parse_value(struct record_field *f, struct unpack u, struct arena *mem)
{
    static const enum record_type scalar[] = { RECORD_NIL,   RECORD_BOOL, RECORD_INT,
                                               RECORD_FLOAT, RECORD_STR,  RECORD_BIN };
    struct unpack at = u;
    struct unpack_token t = unpack_next(&u);
    f->type = RECORD_OTHER;
    if (t.type == UNPACK_MAP) {
        int is_array = numpy_read(&f->tensor, at, mem);
        if (is_array < 0)
            return err_wrap("%.*s", (int)f->key_len, f->key);
        if (is_array)
            f->type = RECORD_TENSOR;
        return 0;
    }
    if (t.type == UNPACK_ARRAY)
        return 0;
    f->type = scalar[t.type];
    f->str = (const char *)t.p;
    f->str_len = t.n;
    f->i = t.type == UNPACK_BOOL ? t.b : t.i;
    f->f = t.f;
    return 0;
}

static int parse(struct record *rec)
{
    struct unpack u = { rec->bytes.data, rec->bytes.data + rec->bytes.len };
    struct unpack_token map = unpack_next(&u);
    if (map.type != UNPACK_MAP)
        return err_set(ERR_DATA, "malformed: a record is a map with str keys");
    for (size_t i = 0; i < map.n; i++) {
        if ((*u.p & 0xe0) != 0xa0 && (*u.p < 0xd9 || *u.p > 0xdb))
            return err_set(ERR_DATA, "malformed: a record's keys are str");
        if (parse_key(rec, unpack_next(&u)) < 0)
            return -1;
        struct record_field *f = &rec->field[rec->n];
        f->raw = u.p;
        if (parse_value(f, u, rec->lazy ? NULL : &rec->mem) < 0)
            return -1;
        unpack_skip(&u);
        f->raw_len = (size_t)(u.p - f->raw);
        rec->n++;
    }
    return 0;
}

/* The map's value for a str key; false if absent. */
static bool lookup(struct unpack *value, struct unpack u, const char *key)
{
    struct unpack_token map = unpack_next(&u);
    for (size_t i = 0; map.type == UNPACK_MAP && i < map.n; i++) {
        struct unpack key_at = u;
        struct unpack_token k = unpack_next(&key_at);
        unpack_skip(&u);
        if (k.type == UNPACK_STR && k.n == strlen(key) && !memcmp(k.p, key, k.n)) {
            *value = u;
            return true;
        }
        unpack_skip(&u);
    }
    return false;
}

static struct unpack span(const struct record_field *f)
{
    return (struct unpack){ f->raw, f->raw + f->raw_len };
}

static int64_t lookup_int(struct unpack map, const char *key)
{
    struct unpack v;
    if (!lookup(&v, map, key))
        return -1;
    struct unpack_token t = unpack_next(&v);
    return t.type == UNPACK_INT ? t.i : -1;
}

/* Keeps the chain of the first header for our own. */
static int keep_via(struct wire_reader *r, struct unpack header)
{
    struct unpack via;
    if (r->via.len || !lookup(&via, header, "via"))
        return 0;
    struct unpack end = via, head = via;
    unpack_skip(&end);
    if (unpack_next(&head).type != UNPACK_ARRAY)
        return err_set(ERR_DATA, "malformed: the header's via is not an array");
    return buf_append(&r->via, via.p, (size_t)(end.p - via.p));
}

static int take_header(struct wire_reader *r, const struct record *rec)
{
    struct unpack header = span(&rec->field[0]);
    int64_t version = lookup_int(header, "version");
    if (r->in_stream)
        return err_set(ERR_DATA,
                       "truncated: a stream begins before the one before it has ended");
    if (version != WIRE_VERSION)
        return err_set(ERR_PROTO, "stream of version %lld, expected %d", (long long)version,
                       WIRE_VERSION);
    r->in_stream = true;
    r->part = (struct wire_counts){ 0 };
    sha256_free(r->digest);
    r->digest = sha256_new();
    if (!r->digest)
        return -1;
    sha256_update(r->digest, rec->bytes.data, rec->bytes.len);
    return keep_via(r, header);
}

static int take_end(struct wire_reader *r, const struct record *rec)
{
    struct unpack end = span(&rec->field[0]), sum;
    unsigned char digest[SHA256_BYTES];
    if (!r->in_stream)
        return err_set(ERR_DATA, "malformed: an end record without a header");
    int64_t records = lookup_int(end, "records"), errors = lookup_int(end, "errors");
    if (records != (int64_t)r->part.records || errors != (int64_t)r->part.errors)
        return err_set(ERR_DATA,
                       "damaged: the stream ends after %llu records, its end says %lld",
                       (unsigned long long)r->part.records, (long long)records);
    if (sha256_peek(r->digest, digest) < 0)
        return -1;
    struct unpack_token t = { 0 };
    if (lookup(&sum, end, "sha256"))
        t = unpack_next(&sum);
    if (t.type != UNPACK_BIN || t.n != SHA256_BYTES ||
        (!r->lim.endless && memcmp(t.p, digest, SHA256_BYTES) != 0))
        return err_set(ERR_DATA, "damaged: the stream's SHA-256 is not the one its end gives");
    r->in_stream = false;
    return 0;
}

/* -1 always: the failure of the producer becomes ours. */
static int take_abort(const struct wire_reader *r, const struct record *rec)
{
    struct unpack v;
    struct unpack_token kind = { 0 }, message = { 0 };
    char name[16];
    if (lookup(&v, span(&rec->field[0]), "kind"))
        kind = unpack_next(&v);
    if (lookup(&v, span(&rec->field[0]), "message"))
        message = unpack_next(&v);
    if (kind.type != UNPACK_STR || message.type != UNPACK_STR)
        return err_set(ERR_DATA, "malformed: an abort record without kind and message");
    snprintf(name, sizeof name, "%.*s", (int)kind.n, (const char *)kind.p);
    err_set(err_kind_named(name), "%.*s", (int)message.n, (const char *)message.p);
    struct stat st;
    if (fstat(r->fd, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode)))
        err_set_said();
    return -1;
}

/* The input's name in front, unless the message is another program's. */
static int fail(const struct wire_reader *r)
{
    return err_said() ? -1 : err_wrap("%s", r->name);
}

static void account(struct wire_reader *r, const struct record *rec)
{
    bool error = record_is_error(rec);
    r->total.records++;
    r->part.records++;
    r->total.errors += error;
    r->part.errors += error;
    if (r->in_stream && !r->lim.endless)
        sha256_update(r->digest, rec->bytes.data, rec->bytes.len);
}

static bool is_only(const struct record *rec, const char *key)
{
    return rec->n == 1 && record_has(rec, key) && rec->field[0].type == RECORD_OTHER;
}

static void swap(struct buf *a, struct buf *b)
{
    struct buf t = *a;
    *a = *b;
    *b = t;
}

/* The next len bytes become the record's: without a copy when nothing else has come. */
static int take_bytes(struct wire_reader *r, struct record *rec, size_t len)
{
    if (r->at == 0 && r->in.len == len) {
        swap(&r->in, &rec->bytes);
        buf_clear(&r->in);
        return 0;
    }
    if (buf_append(&rec->bytes, r->base, len) < 0)
        return -1;
    r->at += len;
    return 0;
}

/* Undoes take_bytes(). */
static void give_back(struct wire_reader *r, struct record *rec)
{
    if (r->at)
        r->at -= rec->bytes.len;
    else
        swap(&r->in, &rec->bytes);
}

/* One value into rec: 1 a record, 2 a header or end (taken care of), 0 the end of the input. */
static int read_value(struct wire_reader *r, struct record *rec)
{
    size_t len;
    record_clear(rec);
    int got = next_value(r, &len);
    if (got <= 0)
        return got;
    if (take_bytes(r, rec, len) < 0 || parse(rec) < 0)
        return -1;
    if (is_only(rec, "stream"))
        return take_header(r, rec) < 0 ? -1 : 2;
    if (is_only(rec, "abort"))
        return take_abort(r, rec);
    if (is_only(rec, "end"))
        return take_end(r, rec) < 0 ? -1 : 2;
    account(r, rec);
    return 1;
}

/* What wire_read() gives for what read_value() gave. */
static int conclude(struct wire_reader *r, struct record *rec, int got)
{
    if (got == 0 && r->in_stream)
        got = err_set(ERR_DATA, "truncated: the stream ends without its end record");
    if (got <= 0)
        record_clear(rec);
    return got < 0 ? fail(r) : got;
}

int wire_read(struct wire_reader *r, struct record *rec)
{
    int got;
    if (wire_start(r) < 0)
        return -1;
    while ((got = read_value(r, rec)) == 2)
        ;
    return conclude(r, rec, got);
}

static int lacks(void *ctx, size_t need)
{
    (void)need;
    *(bool *)ctx = true;
    return 0;
}

/* Whether the next value can be read without waiting: it is here, or is no value. */
static bool whole(struct wire_reader *r)
{
    bool lacking = false;
    size_t len;
    refresh(r);
    if (!r->pending)
        unpack_scan(&len, &r->base, &r->have, r->lim.record_bytes, lacks, &lacking);
    return !lacking;
}

/* What is there now, up to a step: 1, 0 at the end or on an error (which reading again will
 * show), 2 nothing. */
static int fill(struct wire_reader *r)
{
    struct pollfd p = { r->fd, POLLIN, 0 };
    if (poll(&p, 1, 0) <= 0)
        return 2;
    if (r->at) {
        memmove(r->in.data, r->base, r->have);
        r->in.len = r->have;
        r->at = 0;
    }
    if (buf_reserve(&r->in, READ_STEP) < 0)
        return 0;
    ssize_t got = io_read_some(r->fd, r->in.data + r->in.len, READ_STEP);
    r->in.len += got > 0 ? (size_t)got : 0;
    refresh(r);
    return got > 0;
}

int wire_read_now(struct wire_reader *r, struct record *rec)
{
    for (;;) {
        int got = whole(r) ? 1 : fill(r);
        if (got == 2)
            return 2;
        if (got == 1 && !whole(r))
            continue;
        if (!r->started) {
            if (wire_start(r) < 0)
                return -1;
            continue;
        }
        got = read_value(r, rec);
        if (got != 2)
            return conclude(r, rec, got);
    }
}

static int decode(struct record *rec)
{
    static const char *const framing[] = { "stream", "end", "abort" };
    const unsigned char *base = rec->bytes.data;
    size_t have = rec->bytes.len, len;
    bool lacking = false;
    int got = unpack_scan(&len, &base, &have, RECORD_MAX, lacks, &lacking);
    if (got <= 0)
        return got < 0 ? -1 : err_set(ERR_DATA, "empty, expected a record");
    if (len != have)
        return err_set(ERR_DATA, "%zu bytes after a record", have - len);
    if (parse(rec) < 0)
        return -1;
    for (int i = 0; i < 3; i++)
        if (rec->n == 1 && record_has(rec, framing[i]))
            return err_set(ERR_DATA, "a stream's '%s', expected a record", framing[i]);
    return 0;
}

int wire_decode(struct record *rec, const void *p, size_t n)
{
    record_clear(rec);
    return buf_append(&rec->bytes, p, n) < 0 ? -1 : decode(rec);
}

int wire_look(const void *p, size_t n, void (*look)(void *ctx, const struct record *rec),
              void *ctx)
{
    struct record rec;
    record_init(&rec);
    rec.lazy = true;
    rec.bytes = (struct buf){ (unsigned char *)p, n, 0 }; /* borrowed, and given back below */
    int rc = decode(&rec);
    if (rc == 0)
        look(ctx, &rec);
    rec.bytes = (struct buf){ 0 };
    record_release(&rec);
    return rc;
}

/* Whether the value of len bytes at hand is a map whose one key is that word. */
static bool begins(const struct wire_reader *r, size_t len, const char *word)
{
    size_t n = strlen(word);
    return len > n + 2 && r->base[0] == 0x81 && r->base[1] == (0xa0 | n) &&
           !memcmp(r->base + 2, word, n);
}

/* A header (or an abort) is consumed at once, any other first value is kept for wire_read(). */
int wire_start(struct wire_reader *r)
{
    if (r->started)
        return 0;
    size_t len;
    int got = next_value(r, &len);
    if (got == 0)
        err_set(ERR_DATA, "empty, expected a stream of records (did the stage before fail?)");
    if (got <= 0)
        return err_wrap("%s", r->name);
    r->started = true;
    r->pending = len;
    if (!begins(r, len, "stream") && !begins(r, len, "abort"))
        return 0;
    struct record rec;
    record_init(&rec);
    got = read_value(r, &rec);
    if (got == 1) { /* <not a map>: an ordinary record; read it again */
        give_back(r, &rec);
        r->pending = len;
        r->total = r->part = (struct wire_counts){ 0 };
    }
    record_release(&rec);
    return got < 0 ? fail(r) : 0;
}

bool wire_ready(const struct wire_reader *r, int ms)
{
    struct pollfd p = { r->fd, POLLIN, 0 };
    return r->at < r->in.len || poll(&p, 1, ms) != 0;
}

struct wire_counts wire_reader_counts(const struct wire_reader *r)
{
    return r->total;
}

const unsigned char *wire_reader_via(const struct wire_reader *r, size_t *n)
{
    *n = r->via.len;
    return r->via.len ? r->via.data : NULL;
}
