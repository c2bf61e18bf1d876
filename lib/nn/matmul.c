/* matmul.c - the products that go back through a linear layer. Kernels take v as rows, so a
 * panel of it, some columns of a stretch of rows, is put together as f32 and stays in the cache
 * while all rows of p go by. */
#include "base/err.h"
#include "base/math.h"
#include "kern/kern.h"
#include "nn/back.h"

#include <string.h>

#define COLUMNS 64   /* of a panel */
#define STRETCH 512  /* of the sums */
#define ROWS    1024 /* of y in one piece of work */
#define SCRATCH (STRETCH * COLUMNS + ROWS * COLUMNS)

struct job {
    const struct nn_matmul *m;
    const struct kern *kern;
    enum kern_type type;
    float *scratch; /* SCRATCH floats a worker */
    int64_t panels;
};

static enum kern_type type_of(enum dtype t)
{
    return t == DT_F32 ? KERN_F32 : t == DT_F16 ? KERN_F16 : KERN_BF16;
}

static void fill(float *panel, const struct job *j, int64_t k, int64_t rows, int64_t n,
                 int64_t columns)
{
    const struct nn_matmul *m = j->m;
    size_t size = dtype_size(m->v.dtype);
    for (int64_t r = 0; r < rows; r++)
        j->kern->widen[j->type](panel + r * COLUMNS,
                                (const char *)m->v.data + (size_t)((k + r) * m->N + n) * size,
                                (size_t)columns);
}

static void add_rows(const struct job *j, float *y, const float *sum, int64_t rows,
                     int64_t columns)
{
    for (int64_t r = 0; r < rows; r++)
        j->kern->add(y + r * j->m->N, y + r * j->m->N, sum + r * COLUMNS, (size_t)columns);
}

/* One panel's columns of some rows of y. */
static void piece(const struct job *j, int64_t i, float *panel)
{
    const struct nn_matmul *m = j->m;
    float *sum = panel + STRETCH * COLUMNS;
    int64_t n = i % j->panels * COLUMNS, row = i / j->panels * ROWS;
    int64_t columns = math_min(COLUMNS, m->N - n), rows = math_min(ROWS, m->M - row);
    float *y = m->y + row * m->N + n;
    for (int64_t k = 0; k < m->K; k += STRETCH) {
        bool add = m->add || k > 0;
        int64_t stretch = math_min(STRETCH, m->K - k);
        fill(panel, j, k, stretch, n, columns);
        struct kern_mix mix = { .M = (size_t)rows,
                                .N = (size_t)columns,
                                .K = (size_t)stretch,
                                .p = m->p + row * m->K + k,
                                .v = panel,
                                .y = add ? sum : y,
                                .ldp = (size_t)m->K,
                                .ldv = COLUMNS,
                                .ldy = add ? COLUMNS : (size_t)m->N };
        j->kern->mix(&mix);
        if (add)
            add_rows(j, y, sum, rows, columns);
    }
}

static int pieces(void *ctx, int64_t begin, int64_t end, int worker)
{
    const struct job *j = ctx;
    for (int64_t i = begin; i < end; i++)
        piece(j, i, j->scratch + (int64_t)worker * SCRATCH);
    return 0;
}

void nn_matmul(struct nn *nn, const struct nn_matmul *m)
{
    int threads = pool_threads(nn->pool);
    size_t room = (size_t)threads * SCRATCH;
    struct job j = { m, nn->kern, type_of(m->v.dtype), tape_take(nn, room), 0 };
    if (!j.scratch)
        return;
    j.panels = (m->N + COLUMNS - 1) / COLUMNS;
    pool_run(nn->pool, pieces, &j, j.panels * ((m->M + ROWS - 1) / ROWS), 1);
    tape_give(nn, j.scratch, room);
}
