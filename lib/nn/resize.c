/* resize.c - grids of vectors at another size: position embeddings for larger images. */
#include "base/math.h"
#include "nn/nn.h"

#include <math.h>

/* Keys' cubic with a = -0.75, as torch has it: weights of the four neighbours at distance t
 * beyond the second. */
static void cubic(float w[4], float t)
{
    const float a = -0.75f;
    float far0 = t + 1, near1 = 1 - t, far1 = 2 - t;
    w[0] = ((a * far0 - 5 * a) * far0 + 8 * a) * far0 - 4 * a;
    w[1] = ((a + 2) * t - (a + 3)) * t * t + 1;
    w[2] = ((a + 2) * near1 - (a + 3)) * near1 * near1 + 1;
    w[3] = ((a * far1 - 5 * a) * far1 + 8 * a) * far1 - 4 * a;
}

/* Along one axis: the four source indices of output i, edges repeated, and their weights. */
struct taps {
    int64_t at[4];
    float w[4];
};

static struct taps taps(int64_t i, int64_t in, int64_t out)
{
    struct taps p;
    float at = (float)in / (float)out * ((float)i + 0.5f) - 0.5f, whole = floorf(at);
    cubic(p.w, at - whole);
    for (int k = 0; k < 4; k++)
        p.at[k] = math_min(math_max((int64_t)whole - 1 + k, 0), in - 1);
    return p;
}

struct tensor nn_resize(struct nn *nn, struct tensor x, int64_t H, int64_t W)
{
    int64_t h = x.dim[0], w = x.dim[1], D = x.dim[2];
    struct tensor y = nn_tensor(nn, 3, (int64_t[]){ H, W, D });
    float *out = y.data;
    const float *in = x.data;
    for (int64_t i = 0; out && i < H * W; i++, out += D) {
        struct taps v = taps(i / W, h, H), u = taps(i % W, w, W);
        for (int64_t d = 0; d < D; d++) {
            float sum = 0;
            for (int k = 0; k < 16; k++)
                sum += v.w[k / 4] * u.w[k % 4] * in[(v.at[k / 4] * w + u.at[k % 4]) * D + d];
            out[d] = sum;
        }
    }
    return y;
}
