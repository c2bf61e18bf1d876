/* record.h - one record: named values of one image or question. The bytes are
 * man/tensor-stream.5.
 *
 * Owns:      for a record that was read, its bytes; values set with record_put_* are borrowed
 * and must live until the record is written or cleared (record_mem() has that lifetime).
 * Lifetime:  what the getters give lasts until record_clear() or the next read into the record.
 * Errors:    getters: 1 there, 0 absent, -1 (ERR_DATA) there with another type. */
#ifndef WIRE_RECORD_H
#define WIRE_RECORD_H

#include "base/arena.h"
#include "base/buf.h"
#include "tensor/tensor.h"

#define RECORD_FIELDS 64

enum record_type {
    RECORD_NIL,
    RECORD_BOOL,
    RECORD_INT,
    RECORD_FLOAT,
    RECORD_STR,
    RECORD_BIN,
    RECORD_TENSOR,
    RECORD_OTHER, /* any other msgpack value: passed on as it came */
};

struct record_field {
    const char *key; /* not terminated */
    size_t key_len;
    enum record_type type;
    const unsigned char *raw; /* the value's bytes as received; NULL if set by us */
    size_t raw_len;
    const char *str; /* RECORD_STR, RECORD_BIN: the bytes, not terminated */
    size_t str_len;
    int64_t i; /* RECORD_INT, RECORD_BOOL */
    double f;  /* RECORD_FLOAT */
    struct tensor tensor;
};

struct record {
    int n;
    struct record_field field[RECORD_FIELDS];
    struct buf bytes; /* as received */
    bool lazy;        /* tensors read into it are checked but not placed: data may be NULL */
    struct arena mem; /* aligned copies of tensors, and what stages add */
};

void record_init(struct record *r);
void record_clear(struct record *r);   /* no fields; memory kept */
void record_release(struct record *r); /* memory returned */

/* Memory that lives as long as the record's present content. */
static inline struct arena *record_mem(struct record *r)
{
    return &r->mem;
}

const struct record_field *record_find(const struct record *r, const char *key);
bool record_has(const struct record *r, const char *key);

int record_get_str(const char **s, size_t *n, const struct record *r, const char *key);
int record_get_bin(const char **s, size_t *n, const struct record *r, const char *key);
int record_get_int(int64_t *v, const struct record *r, const char *key);
int record_get_float(double *v, const struct record *r, const char *key); /* or an integer */
int record_get_tensor(struct tensor *t, const struct record *r, const char *key);

/* Sets or replaces a field; keys must be literals. -1 (ERR_DATA) past RECORD_FIELDS. Text that
 * is not UTF-8 (a file name can be anything) is written as bin. */
int record_put_str(struct record *r, const char *key, const char *s, size_t n);
int record_put_bin(struct record *r, const char *key, const void *p, size_t n);
int record_put_int(struct record *r, const char *key, int64_t v);
int record_put_float(struct record *r, const char *key, double v);
int record_put_bool(struct record *r, const char *key, bool v);
int record_put_tensor(struct record *r, const char *key, struct tensor t);
void record_drop(struct record *r, const char *key);

/* dst becomes a view of src's fields: valid as long as src's content. Own additions to dst are
 * free. Use it to emit several records for one. */
void record_view(struct record *dst, const struct record *src);

/* The id for messages: printable, at most 255 bytes of it; "record" when there is none. */
const char *record_id(struct record *r);

/* An error record: {"id", "err": {kind, stage, message}} (tensor-stream.5). */
bool record_is_error(const struct record *r);
struct record_error {
    char kind[16], stage[64], message[512];
};
/* 1 and *e filled if r is an error record, 0 if not. */
int record_get_error(struct record_error *e, const struct record *r);
/* Turns r into an error record of the present err_kind() and err_msg(); id (and path) stay. */
int record_put_error(struct record *r, const char *stage);

#endif
