/* vocab.c - see vocab.h. Open addressing with linear probes, at most half full. */
#include "text/vocab.h"

#include "base/err.h"

#include <stdlib.h>
#include <string.h>

void vocab_release(struct vocab *v)
{
    buf_release(&v->text);
    free(v->token);
    free(v->slot);
    *v = (struct vocab){ 0 };
}

const char *vocab_token(size_t *n, const struct vocab *v, int64_t id)
{
    if (id < 0 || id >= (int64_t)v->n || v->token[id].len == 0)
        return NULL;
    *n = v->token[id].len;
    return (const char *)v->text.data + v->token[id].at;
}

/* FNV-1a. */
static uint64_t hash(const char *s, size_t n)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)s[i]) * 0x100000001b3u;
    return h ^ h >> 32;
}

/* The token's slot, or the free one where it would go. */
static uint32_t *find_slot(const struct vocab *v, const char *s, size_t n)
{
    for (size_t i = hash(s, n);; i++) {
        uint32_t *slot = &v->slot[i & v->mask];
        if (*slot == 0)
            return slot;
        struct vocab_token t = v->token[*slot - 1];
        if (t.len == n && !memcmp(v->text.data + t.at, s, n))
            return slot;
    }
}

int64_t vocab_find(const struct vocab *v, const char *s, size_t n)
{
    return v->slot && n <= v->longest ? (int64_t)*find_slot(v, s, n) - 1 : -1;
}

static int grow_slots(struct vocab *v)
{
    size_t slots = v->slot ? (v->mask + 1) * 2 : 1024;
    if (v->slot && v->count < (v->mask + 1) / 2)
        return 0;
    uint32_t *old = v->slot;
    v->slot = calloc(slots, sizeof *v->slot);
    if (!v->slot) {
        v->slot = old;
        return err_nomem("vocabulary");
    }
    v->mask = slots - 1;
    free(old);
    for (size_t id = 0; id < v->n; id++) {
        size_t n;
        const char *s = vocab_token(&n, v, (int64_t)id);
        if (s)
            *find_slot(v, s, n) = (uint32_t)id + 1;
    }
    return 0;
}

static int grow_tokens(struct vocab *v, size_t id)
{
    if (id >= v->cap) {
        size_t cap = v->cap ? v->cap : 1024;
        while (cap <= id)
            cap *= 2;
        struct vocab_token *p = realloc(v->token, cap * sizeof *p);
        if (!p)
            return err_nomem("vocabulary");
        memset(p + v->cap, 0, (cap - v->cap) * sizeof *p);
        v->token = p;
        v->cap = cap;
    }
    if (id >= v->n)
        v->n = id + 1;
    return 0;
}

int vocab_add(struct vocab *v, const char *s, size_t n, int64_t id)
{
    size_t len;
    if (id < 0 || id >= VOCAB_MAX)
        return err_set(ERR_DATA, "token '%.*s': id %lld, expected 0 to %d", (int)n, s,
                       (long long)id, VOCAB_MAX - 1);
    if (n == 0 || n > VOCAB_BYTES - v->text.len)
        return err_set(ERR_DATA,
                       "token of id %lld: %zu bytes, expected at least 1, at most "
                       "%zu in all",
                       (long long)id, n, VOCAB_BYTES);
    if (vocab_token(&len, v, id))
        return err_set(ERR_DATA, "token '%.*s': id %lld is taken by '%.*s'", (int)n, s,
                       (long long)id, (int)len, vocab_token(&len, v, id));
    if (grow_slots(v) < 0 || grow_tokens(v, (size_t)id) < 0)
        return -1;
    uint32_t *slot = find_slot(v, s, n);
    if (*slot)
        return err_set(ERR_DATA, "token '%.*s' is there twice", (int)n, s);
    v->token[id] = (struct vocab_token){ (uint32_t)v->text.len, (uint32_t)n };
    if (buf_append(&v->text, s, n) < 0) {
        v->token[id].len = 0;
        return -1;
    }
    *slot = (uint32_t)id + 1;
    v->count++;
    v->longest = n > v->longest ? n : v->longest;
    return 0;
}

int vocab_check_dense(const struct vocab *v)
{
    for (size_t id = 0; id < v->n; id++)
        if (v->token[id].len == 0)
            return err_set(ERR_DATA, "%zu tokens, the highest id is %zu, but none has id %zu",
                           v->count, v->n - 1, id);
    return v->n ? 0 : err_set(ERR_DATA, "the vocabulary is empty");
}
