/* actions.c - see actions.h. */
#include "rpc/actions.h"

#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Grows by doubling; when it cannot, the last entry is used again and the list is failed. */
struct rpc_action *rpc_act(struct rpc_actions *a, enum rpc_act what)
{
    if (a->n == a->cap) {
        int cap = a->cap ? 2 * a->cap : 16;
        struct rpc_action *v = realloc(a->v, (size_t)cap * sizeof *v);
        if (!v && a->cap == 0)
            err_bug(__FILE__, __LINE__, "no memory for the first actions");
        a->failed |= !v;
        a->n -= !v;
        a->v = v ? v : a->v;
        a->cap = v ? cap : a->cap;
    }
    struct rpc_action *one = &a->v[a->n++];
    memset(one, 0, offsetof(struct rpc_action, text) + 1);
    one->what = what;
    return one;
}

void rpc_actions_clear(struct rpc_actions *a)
{
    a->n = 0;
}

void rpc_actions_release(struct rpc_actions *a)
{
    free(a->v);
    *a = (struct rpc_actions){ 0 };
}

void rpc_error_text(struct rpc_action *a, int kind, const char *fmt, ...)
{
    int n = snprintf(a->text, sizeof a->text, "%s ", err_kind_name((enum err_kind)kind));
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(a->text + n, sizeof a->text - (size_t)n, fmt, ap);
    va_end(ap);
    a->kind = kind;
}
