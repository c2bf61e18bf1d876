/* embed.c - rows picked, cut and put together. */
#include "base/err.h"
#include "base/math.h"
#include "kern/kern.h"
#include "nn/back.h"

#include <string.h>

struct tensor nn_embed(struct nn *nn, struct tensor table, const int64_t *ids, int64_t n)
{
    int64_t D = table.dim[1];
    struct tensor y = nn_tensor(nn, 2, (int64_t[]){ n, D });
    if (!y.data)
        return y;
    enum kern_type t = table.dtype == DT_F32   ? KERN_F32
                       : table.dtype == DT_F16 ? KERN_F16
                                               : KERN_BF16;
    size_t row = (size_t)D * dtype_size(table.dtype);
    for (int64_t i = 0; i < n; i++)
        nn->kern->widen[t]((float *)y.data + i * D,
                           (const char *)table.data + (size_t)ids[i] * row, (size_t)D);
    if (nn->tape)
        nn_back_pick(nn, y, table, (struct tensor){ 0 }, ids);
    return y;
}

struct tensor nn_pick(struct nn *nn, struct tensor a, struct tensor b, const int64_t *idx,
                      int64_t n)
{
    if (nn->failed)
        return (struct tensor){ 0 };
    int64_t D = a.dim[a.ndim - 1], first = tensor_count(a) / D;
    BUG_ON(b.data && b.dim[b.ndim - 1] != D);
    struct tensor y = nn_tensor(nn, 2, (int64_t[]){ n, D });
    float *out = y.data;
    for (int64_t i = 0; out && i < n; i++, out += D) {
        const float *from = idx[i] < first ? (const float *)a.data + idx[i] * D
                                           : (const float *)b.data + (idx[i] - first) * D;
        nn->kern->widen[KERN_F32](out, from, (size_t)D);
    }
    if (nn->tape && out)
        nn_back_pick(nn, y, a, b, idx);
    return y;
}

static struct tensor with_batch(struct tensor x)
{
    return x.ndim == 3 ? x : tensor_3d(x.data, x.dtype, 1, x.dim[0], x.dim[1]);
}

struct tensor nn_concat(struct nn *nn, struct tensor a, struct tensor b)
{
    BUG_ON(tape_wants(nn, a.data) || tape_wants(nn, b.data)); /* nn_pick() goes back */
    if (nn->failed)
        return (struct tensor){ 0 };
    a = with_batch(a);
    b = with_batch(b);
    int64_t B = math_max(a.dim[0], b.dim[0]), D = a.dim[2];
    BUG_ON(D != b.dim[2] || B % a.dim[0] || B % b.dim[0]);
    struct tensor y = nn_tensor(nn, 3, (int64_t[]){ B, a.dim[1] + b.dim[1], D });
    float *out = y.data;
    for (int64_t i = 0; out && i < B; i++) {
        int64_t na = a.dim[1] * D, nb = b.dim[1] * D;
        nn->kern->widen[KERN_F32](out, (float *)a.data + i % a.dim[0] * na, (size_t)na);
        nn->kern->widen[KERN_F32](out + na, (float *)b.data + i % b.dim[0] * nb, (size_t)nb);
        out += na + nb;
    }
    return y;
}

struct tensor nn_repeat(struct nn *nn, struct tensor x, int64_t B)
{
    BUG_ON(tape_wants(nn, x.data)); /* nn_pick() goes back */
    if (nn->failed)
        return x;
    x = with_batch(x);
    int64_t n = x.dim[1] * x.dim[2];
    struct tensor y = nn_tensor(nn, 3, (int64_t[]){ B, x.dim[1], x.dim[2] });
    for (int64_t b = 0; y.data && b < B; b++)
        nn->kern->widen[KERN_F32]((float *)y.data + b * n, x.data, (size_t)n);
    return y;
}

struct tensor nn_rows(struct nn *nn, struct tensor x, int64_t from, int64_t n)
{
    BUG_ON(tape_wants(nn, x.data)); /* nn_pick() goes back */
    if (nn->failed)
        return (struct tensor){ 0 };
    int64_t B = x.dim[0], T = x.dim[1], D = x.dim[2];
    BUG_ON(from < 0 || n < 0 || from + n > T);
    struct tensor y = nn_tensor(nn, 3, (int64_t[]){ B, n, D });
    for (int64_t b = 0; y.data && b < B; b++)
        nn->kern->widen[KERN_F32]((float *)y.data + b * n * D,
                                  (float *)x.data + (b * T + from) * D, (size_t)(n * D));
    return y;
}

/* One square of one channel, its P rows one after the other. */
static float *copy_square(float *out, const float *in, int64_t P, int64_t W)
{
    for (int64_t i = 0; i < P; i++)
        memcpy(out + i * P, in + i * W, (size_t)P * sizeof *out);
    return out + P * P;
}

struct tensor nn_patches(struct nn *nn, struct tensor images, int64_t P)
{
    int64_t B = images.dim[0], C = images.dim[1], H = images.dim[2], W = images.dim[3];
    int64_t h = H / P, w = W / P;
    struct tensor y = nn_tensor(nn, 3, (int64_t[]){ B, h * w, C * P * P });
    float *out = y.data;
    for (int64_t i = 0; out && i < B * h * w; i++) {
        int64_t b = i / (h * w), row = i / w % h, column = i % w;
        for (int64_t c = 0; c < C; c++)
            out = copy_square(
                out, (float *)images.data + ((b * C + c) * H + row * P) * W + column * P, P, W);
    }
    return y;
}
