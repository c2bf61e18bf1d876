/* hidden.c - hidden states become fields of records: whose part, in whose place, how many. */
#include "front/hidden.h"
#include "lib/tap.h"

#include "base/err.h"

static struct tensor field(const struct record *rec, const char *key)
{
    struct tensor t = { 0 };
    return record_get_tensor(&t, rec, key) == 1 ? t : (struct tensor){ 0 };
}

static void test_parts(void)
{
    float x[24];
    struct hidden h = { 0 };
    struct record rec;
    for (int i = 0; i < 24; i++)
        x[i] = (float)i;
    record_init(&rec);
    hidden_reset(&h);
    hidden_take(&h, 0, tensor_3d(x, DT_F32, 2, 3, 4));
    hidden_take(&h, 1, tensor_2d(x, DT_F32, 6, 4));
    hidden_take(&h, 2, tensor_2d(x, DT_F32, 4, 4));
    ok(hidden_put(&rec, &h, 1, 2) == 0 && rec.n == 3, "three states");
    const char *key[] = { "hidden_states.0", "hidden_states.1", "hidden_states.2" };
    const int rows[] = { 3, 3, 2 }, first[] = { 12, 12, 8 };
    for (int i = 0; i < 3; i++) {
        struct tensor t = field(&rec, key[i]);
        ok(t.ndim == 2 && t.dim[0] == rows[i] && t.dim[1] == 4 &&
               *(float *)t.data == (float)first[i],
           "%s: the second of two", key[i]);
    }
    hidden_reset(&h);
    ok(hidden_put(&rec, &h, 0, 1) == 0 && rec.n == 3, "no states: the record stays as it is");
    hidden_take(&h, 0, tensor_2d(x, DT_F32, 1, 4));
    ok(hidden_put(&rec, &h, 0, 1) == 0 && rec.n == 1 && field(&rec, key[0]).dim[0] == 1,
       "those of a model of fewer layers replace all");
    record_release(&rec);
    hidden_release(&h);
}

static void test_failures(void)
{
    float x = 0;
    struct record rec;
    struct hidden h = { .n = 2 };
    record_init(&rec);
    h.state[0] = h.state[1] = tensor_2d(&x, DT_F32, 8 << 20, 1);
    fails(hidden_put(&rec, &h, 0, 1), ERR_DATA,
          "hidden_states: 67108864 bytes, a record holds 62914560");
    hidden_reset(&h);
    hidden_take(&h, 0, (struct tensor){ 0 });
    fails(hidden_put(&rec, &h, 0, 1), ERR_OS, "hidden states");
    ok(rec.n == 0, "and the record stays as it was");
    record_release(&rec);
    hidden_release(&h);
}

int main(void)
{
    test_parts();
    test_failures();
    return tap_done();
}
