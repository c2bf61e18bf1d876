/* via.c - the chain of producers, looked at: see wire.h. */
#include "base/err.h"
#include "wire/unpack.h"
#include "wire/wire.h"

#include <stdio.h>
#include <string.h>

#define VIA_MAX ((size_t)1 << 20)

static int no_more(void *ctx, size_t need)
{
    (void)ctx;
    (void)need;
    return 0;
}

static bool is(const struct unpack_token *key, const char *name)
{
    return key->type == UNPACK_STR && key->n == strlen(name) && !memcmp(key->p, name, key->n);
}

static void copy(char *dst, size_t size, const struct unpack_token *t)
{
    if (t->type == UNPACK_STR && t->n < size)
        snprintf(dst, size, "%.*s", (int)t->n, (const char *)t->p);
}

static void read_link(struct wire_link *out, struct unpack map)
{
    *out = (struct wire_link){ 0 };
    struct unpack_token head = unpack_next(&map);
    for (size_t i = 0; head.type == UNPACK_MAP && i < head.n; i++) {
        struct unpack at = map;
        struct unpack_token key = unpack_next(&at);
        unpack_skip(&map);
        at = map;
        struct unpack_token value = unpack_next(&at);
        unpack_skip(&map);
        if (is(&key, "program"))
            copy(out->program, sizeof out->program, &value);
        else if (is(&key, "version"))
            copy(out->version, sizeof out->version, &value);
        else if (is(&key, "model"))
            copy(out->model, sizeof out->model, &value);
    }
}

int wire_via_link(struct wire_link *out, const void *via, size_t n, int i)
{
    const unsigned char *base = via;
    size_t have = n, len = 0;
    if (unpack_scan(&len, &base, &have, VIA_MAX, no_more, NULL) < 0)
        return err_wrap("chain of producers");
    struct unpack u = { base, base + n };
    struct unpack_token array = { 0 };
    if (len)
        array = unpack_next(&u);
    if (len != n || array.type != UNPACK_ARRAY)
        return err_set(ERR_DATA, "chain of producers: not an array");
    if ((size_t)i >= array.n)
        return 0;
    while (i--)
        unpack_skip(&u);
    read_link(out, u);
    return 1;
}
