/* reduce.c - rows to unit length, and means of rows. */
#include "base/err.h"
#include "nn/back.h"

#include <math.h>

struct tensor nn_unit(struct nn *nn, struct tensor x)
{
    struct tensor y = nn->failed ? (struct tensor){ 0 } : nn_tensor(nn, x.ndim, x.dim);
    if (!y.data)
        return y;
    int64_t D = x.dim[x.ndim - 1], rows = tensor_count(x) / D;
    for (int64_t i = 0; i < rows; i++) {
        const float *from = (const float *)x.data + i * D;
        float *to = (float *)y.data + i * D;
        double sum = 0;
        for (int64_t d = 0; d < D; d++)
            sum += (double)from[d] * from[d];
        double norm = fmax(sqrt(sum), 1e-12);
        for (int64_t d = 0; d < D; d++)
            to[d] = (float)(from[d] / norm);
    }
    if (nn->tape)
        nn_back_unit(nn, y, x);
    return y;
}

struct tensor nn_mean(struct nn *nn, struct tensor x)
{
    struct tensor y = { 0 };
    if (nn->failed)
        return y;
    BUG_ON(x.ndim != 3);
    int64_t B = x.dim[0], T = x.dim[1], D = x.dim[2];
    y = nn_tensor(nn, 2, (int64_t[]){ B, D });
    for (int64_t i = 0; y.data && i < B * D; i++) {
        const float *from = (const float *)x.data + i / D * T * D + i % D;
        double sum = 0;
        for (int64_t t = 0; t < T; t++)
            sum += (double)from[t * D];
        ((float *)y.data)[i] = (float)(sum / (double)T);
    }
    return y;
}
