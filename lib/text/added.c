/* added.c - see added.h. */
#include "text/added.h"

#include "base/err.h"

#include <stdlib.h>
#include <string.h>

void added_release(struct added *a)
{
    for (size_t i = 0; i < a->n; i++)
        free(a->v[i].s);
    free(a->v);
    *a = (struct added){ 0 };
}

static int grow(struct added *a)
{
    if (a->n == ADDED_MAX)
        return err_set(ERR_DATA, "more than %d added tokens", ADDED_MAX);
    if (a->n < a->cap)
        return 0;
    size_t cap = a->cap ? a->cap * 2 : 16;
    struct added_token *v = realloc(a->v, cap * sizeof *v);
    if (!v)
        return err_nomem("added tokens");
    a->v = v;
    a->cap = cap;
    return 0;
}

int added_add(struct added *a, const char *s, size_t n, const struct added_token *like)
{
    if (n == 0)
        return err_set(ERR_DATA, "an added token is empty");
    for (size_t i = 0; i < a->n; i++)
        if (a->v[i].n == n && !memcmp(a->v[i].s, s, n)) {
            a->v[i].special = like->special;
            a->v[i].normalized = like->normalized;
            return 0;
        }
    char *copy = grow(a) < 0 ? NULL : malloc(n);
    if (!copy)
        return a->n < a->cap ? err_nomem("added tokens") : -1;
    memcpy(copy, s, n);
    a->v[a->n++] = (struct added_token){ copy, n, like->id, like->special, like->normalized };
    a->first[(unsigned char)*s] = true;
    return 0;
}

const struct added_token *added_of_id(const struct added *a, int64_t id)
{
    for (size_t i = 0; i < a->n; i++)
        if (a->v[i].id == id)
            return &a->v[i];
    return NULL;
}

static const struct added_token *longest_here(const struct added *a, const char *s, size_t n,
                                              bool normalized, int64_t never)
{
    const struct added_token *best = NULL;
    for (size_t i = 0; i < a->n; i++) {
        const struct added_token *t = &a->v[i];
        if (t->normalized == normalized && t->id != never && t->n <= n &&
            !memcmp(t->s, s, t->n) && (!best || t->n > best->n))
            best = t;
    }
    return best;
}

const struct added_token *added_next(size_t *at, const struct added *a, const char *s, size_t n,
                                     bool normalized, int64_t never)
{
    for (size_t i = 0; i < n; i++) {
        if (!a->first[(unsigned char)s[i]])
            continue;
        const struct added_token *t = longest_here(a, s + i, n - i, normalized, never);
        if (t) {
            *at = i;
            return t;
        }
    }
    return NULL;
}
