/* nn.c - which kernels, whose memory, and what failed: see nn.h. */
#include "nn/nn.h"

#include "base/err.h"
#include "kern/kern.h"

#include <stdio.h>
#include <string.h>

/* What kern_at() knows here, in words; gives text. */
static const char *available(char text[NN_KERNELS])
{
    size_t n = 0;
    for (int i = 0; kern_at(i) && n < NN_KERNELS; i++)
        n += (size_t)snprintf(text + n, NN_KERNELS - n, "%s%s", i ? " " : "", kern_at(i)->name);
    return text;
}

int nn_init(struct nn *nn, struct arena *mem, struct pool *pool, const char *cpu)
{
    char words[NN_KERNELS];
    *nn = (struct nn){ .mem = mem, .pool = pool, .kern = kern_get(cpu) };
    if (!nn->kern)
        return err_set(ERR_USAGE,
                       "VQA_CPU: unknown or unsupported instruction set '%s', expected one "
                       "of %s",
                       cpu, available(words));
    return 0;
}

const char *nn_kernels(char text[NN_KERNELS], const char *cpu)
{
    char words[NN_KERNELS];
    const struct kern *k = kern_get(cpu);
    if (k)
        snprintf(text, NN_KERNELS, "%s (this processor: %.90s)", k->name, available(words));
    else
        snprintf(text, NN_KERNELS, "none");
    return text;
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

struct tensor nn_replace(struct nn *nn, struct tensor x, struct tensor y,
                         struct arena_mark mark)
{
    if (nn->tape)
        return y;
    if (!nn->failed)
        memcpy(x.data, y.data, tensor_bytes(x));
    arena_rewind(nn->mem, mark);
    return x;
}
