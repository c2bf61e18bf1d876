/* hidden.c - see hidden.h. */
#include "front/hidden.h"

#include "base/err.h"

#include <stdio.h>
#include <string.h>

#define NAME        "hidden_states.%d"
#define STATES_MOST ((size_t)60 << 20) /* bytes in one record */

void hidden_reset(struct hidden *h)
{
    arena_reset(&h->mem);
    h->n = 0;
    h->failed = false;
}

void hidden_release(struct hidden *h)
{
    arena_release(&h->mem);
}

void hidden_take(void *ctx, int layer, struct tensor state)
{
    struct hidden *h = ctx;
    (void)layer;
    if (!state.data || h->n == HIDDEN_STATES) {
        h->failed = true;
        return;
    }
    state.data = arena_memdup(&h->mem, state.data, tensor_bytes(state));
    h->failed |= !state.data;
    h->state[h->n++] = state;
}

/* Part b of B of a state, kept by the record. */
static int put_state(struct record *rec, const struct hidden *h, int i, int b, int B)
{
    char name[32];
    struct tensor t = h->state[i];
    int64_t D = t.dim[t.ndim - 1];
    size_t bytes = tensor_bytes(t) / (size_t)B;
    int len = snprintf(name, sizeof name, NAME, i);
    char *key = arena_strndup(record_mem(rec), name, (size_t)len);
    void *part = arena_memdup(record_mem(rec), (char *)t.data + (size_t)b * bytes, bytes);
    if (!key || !part)
        return -1;
    return record_put_tensor(rec, key, tensor_2d(part, DT_F32, tensor_count(t) / B / D, D));
}

/* Those of a model of more layers, from the i-th on. */
static void drop_states(struct record *rec, int i)
{
    char name[32];
    for (;; i++) {
        snprintf(name, sizeof name, NAME, i);
        if (!record_has(rec, name))
            return;
        record_drop(rec, name);
    }
}

int hidden_put(struct record *rec, const struct hidden *h, int b, int B)
{
    size_t all = 0;
    if (h->failed)
        return err_nomem("hidden states");
    for (int i = 0; i < h->n; i++)
        all += tensor_bytes(h->state[i]) / (size_t)B;
    if (all > STATES_MOST)
        return err_set(ERR_DATA, "hidden_states: %zu bytes, a record holds %zu", all,
                       STATES_MOST);
    if (h->n)
        drop_states(rec, h->n);
    for (int i = 0; i < h->n; i++)
        if (put_state(rec, h, i, b, B) < 0)
            return -1;
    return 0;
}
