/* nn.c - which kernels, whose memory, and what failed: see nn.h. */
#include "nn/nn.h"

#include "base/err.h"
#include "kern/kern.h"

#include <string.h>

/* What kern_at() knows here, in words. */
static const char *available(void)
{
    return kern_at(2) ? "ref avx2 avx512" : kern_at(1) ? "ref avx2" : "ref";
}

int nn_init(struct nn *nn, struct arena *mem, struct pool *pool, const char *cpu)
{
    *nn = (struct nn){ .mem = mem, .pool = pool, .kern = kern_get(cpu) };
    if (!nn->kern)
        return err_set(ERR_USAGE,
                       "unknown or unsupported instruction set '%s', expected one of "
                       "%s",
                       cpu, available());
    return 0;
}

const char *nn_kernels(const char *cpu)
{
    static const char *const words[3][3] = {
        { "ref (this processor: ref)" },
        { "ref (this processor: ref avx2)", "avx2 (this processor: ref avx2)" },
        { "ref (this processor: ref avx2 avx512)", "avx2 (this processor: ref avx2 avx512)",
          "avx512 (this processor: ref avx2 avx512)" },
    };
    const struct kern *k = kern_get(cpu);
    int here = kern_at(2) ? 2 : kern_at(1) ? 1 : 0;
    for (int i = 0; k && i <= here; i++)
        if (kern_at(i) == k)
            return words[here][i];
    return "none";
}

int nn_failed(struct nn *nn)
{
    int failed = nn->failed;
    nn->failed = 0;
    return failed ? err_nomem("activations") : 0;
}

struct tensor nn_tensor(struct nn *nn, int ndim, const int64_t *dim)
{
    struct tensor t = { .dtype = DT_F32, .ndim = ndim };
    size_t bytes;
    memcpy(t.dim, dim, (size_t)ndim * sizeof *dim);
    if (nn->failed || tensor_size_checked(&bytes, DT_F32, ndim, dim) < 0 ||
        !(t.data = arena_alloc(nn->mem, bytes))) {
        nn->failed = 1;
        return (struct tensor){ 0 };
    }
    return t;
}

void nn_replace(struct nn *nn, struct tensor x, struct tensor y, struct arena_mark mark)
{
    if (!nn->failed)
        memcpy(x.data, y.data, tensor_bytes(x));
    arena_rewind(nn->mem, mark);
}
