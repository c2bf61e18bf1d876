/* hidden.c - see hidden.h. */
#include "front/hidden.h"

#include "base/err.h"

#include <stdio.h>
#include <string.h>

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

/* Row b of a state, kept by the record. */
static int put_state(struct record *rec, struct tensor t, int i, int b)
{
    char name[32];
    size_t bytes = tensor_bytes(t) / (size_t)t.dim[0];
    int len = snprintf(name, sizeof name, "hidden_states.%d", i);
    char *key = arena_strndup(record_mem(rec), name, (size_t)len);
    void *row = arena_memdup(record_mem(rec), (char *)t.data + (size_t)b * bytes, bytes);
    if (!key || !row)
        return -1;
    return record_put_tensor(rec, key, tensor_2d(row, DT_F32, t.dim[1], t.dim[2]));
}

int hidden_put(struct record *rec, const struct hidden *h, int b)
{
    size_t all = 0;
    if (h->failed)
        return err_nomem("hidden states");
    for (int i = 0; i < h->n; i++)
        all += tensor_bytes(h->state[i]) / (size_t)h->state[i].dim[0];
    if (all > STATES_MOST)
        return err_set(ERR_DATA, "hidden_states: %zu bytes, a record holds %zu", all,
                       STATES_MOST);
    for (int i = 0; i < h->n; i++)
        if (put_state(rec, h->state[i], i, b) < 0)
            return -1;
    return 0;
}
