/* cache.h - what a stage computed for an input, kept under a key made of everything that the
 * result depends on.
 *
 * Key:      SHA-256 of the context (as text: program, model digest, preprocessing, decoders,
 *           numerics, output) and of the whole input with its length.
 * Entry:    a stream of one record, {"id": KEY, FIELD: tensor}, so that `cat` replays it. Its
 *           end record has the count and SHA-256 of all before it: both and the key are checked
 *           on every read, and what is not whole, or another's, is a miss.
 * Publish:  a temporary with a random name in the same directory, then rename. Not synced: what
 *           a power cut leaves behind is a miss. No locks; two writers of a key write the same.
 * Threads:  cache_get() from any number of them, the rest from one.
 * Errors:   none that cost a result. What keeps entries from being written is said once, and
 *           then nothing is written any more. */
#ifndef STAGE_CACHE_H
#define STAGE_CACHE_H

#include "base/sha256.h"
#include "wire/record.h"

struct cache;

struct cache_config {
    const char *dir;     /* entries are read and written here, or NULL */
    const char *ro;      /* and only read here (a cache others fill), or NULL */
    uint64_t max;        /* bytes to keep in dir, about; 0: any number */
    const char *context; /* one line a fact; begins with "program NAME\n" */
    const char *note;    /* more lines for people who look at the directory, not in the key */
    const char *program, *model; /* for the header of new entries */
    void (*say)(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
};

/* Strings are kept by the caller. NULL with err set, for lack of memory or a name too long. */
struct cache *cache_open(const struct cache_config *c);
void cache_close(struct cache *c);

struct cache_key {
    char hex[SHA256_HEX];
};

/* kind: what the bytes are ("file", "f32 (3, 224, 224)"), so that equal bytes of another shape
 * are another input. -1 for lack of memory. */
int cache_key(struct cache_key *key, const struct cache *c, const char *kind, const void *p,
              size_t n);

/* 1 and the entry's tensor, which lives in rec (an initialised record of the caller's); 0: not
 * there, or damaged. Leaves err as it was. */
int cache_get(struct tensor *t, struct record *rec, const struct cache *c,
              const struct cache_key *key, const char *field);

void cache_put(struct cache *c, const struct cache_key *key, const char *field,
               struct tensor t);

/* Whether the file at path is a whole entry with that key. -1 with err set says what is wrong.
 */
int cache_verify(const char *path, const char *key);

#endif
