/* retrieval.c - image-text matching and contrast: see retrieval.h. */
#include "model/retrieval.h"

#include "base/err.h"
#include "model/arch.h"

#include <stddef.h>

struct retrieval {
    struct qformer *qformer;
    int64_t P;
    struct retrieval_heads heads;
};

static const struct store_config config[] = {
    STORE_CONFIG_INT(struct retrieval, P, "image_text_hidden_size", 256, 1, 16384),
    STORE_CONFIG_END,
};

/* J is the width of the projections: P means positions elsewhere. */
static const struct store_bind heads[] = {
    STORE_BIND(struct retrieval, heads.vision.weight, "vision_projection.weight", "J,D"),
    STORE_BIND_F32(struct retrieval, heads.vision.bias, "vision_projection.bias", "J"),
    STORE_BIND(struct retrieval, heads.text.weight, "text_projection.weight", "J,D"),
    STORE_BIND_F32(struct retrieval, heads.text.bias, "text_projection.bias", "J"),
    STORE_BIND(struct retrieval, heads.itm.weight, "itm_head.weight", "2,D"),
    STORE_BIND_F32(struct retrieval, heads.itm.bias, "itm_head.bias", "2"),
    STORE_BIND_END,
};

struct retrieval *retrieval_open(struct store *st, struct arena *mem)
{
    struct retrieval *r = arena_calloc(mem, 1, sizeof *r);
    int arch = r ? model_arch(st) : -1;
    if (arch < 0)
        return NULL;
    if (arch != MODEL_RETRIEVAL)
        return model_lacks(st, "heads for matching, expected Blip2ForImageTextRetrieval"), NULL;
    r->qformer = qformer_open(st, mem);
    if (!r->qformer || store_config(r, st, "", config) < 0)
        return NULL;
    struct store_dims dims = { 0 };
    dims.of['D' - 'A'] = qformer_hidden_size(r->qformer);
    dims.of['J' - 'A'] = r->P;
    return store_bind(r, st, "", 0, heads, &dims, mem) < 0 ? NULL : r;
}

const struct qformer *retrieval_qformer(const struct retrieval *r)
{
    return r->qformer;
}

const struct retrieval_heads *retrieval_heads(const struct retrieval *r)
{
    return &r->heads;
}

int retrieval_size(const struct retrieval *r)
{
    return (int)r->P;
}

int retrieval_image(struct tensor *image_embeds_proj, const struct retrieval *r, struct nn *nn,
                    struct tensor image_embeds)
{
    struct tensor query;
    if (qformer_forward(&query, r->qformer, nn, image_embeds, NULL, 0) < 0)
        return -1;
    struct tensor x = nn_linear(nn, query, &r->heads.vision, NN_NONE); // (B, Q, P)
    *image_embeds_proj = nn_unit(nn, x);
    return nn_failed(nn);
}

int retrieval_text(struct tensor *text_embeds_proj, const struct retrieval *r, struct nn *nn,
                   const int64_t *ids, int64_t n)
{
    struct tensor x;
    if (qformer_text(&x, r->qformer, nn, ids, n) < 0)
        return -1;
    x = tensor_2d(x.data, DT_F32, 1, x.dim[1]);                 // (1, D): [CLS]
    x = nn_unit(nn, nn_linear(nn, x, &r->heads.text, NN_NONE)); // (1, P)
    *text_embeds_proj = tensor_1d(x.data, DT_F32, r->P);
    return nn_failed(nn);
}

double retrieval_similarity(struct tensor image, struct tensor text)
{
    int64_t Q = image.dim[0], P = image.dim[1];
    const float *z = image.data, *w = text.data;
    double best = -1;
    for (int64_t q = 0; q < Q; q++, z += P) {
        double sum = 0;
        for (int64_t p = 0; p < P; p++)
            sum += (double)z[p] * w[p];
        best = q == 0 || sum > best ? sum : best;
    }
    return best;
}

int retrieval_match(struct tensor *itm_logits, const struct retrieval *r, struct nn *nn,
                    struct tensor image_embeds, const int64_t *ids, int64_t n)
{
    struct tensor query;
    if (qformer_forward(&query, r->qformer, nn, image_embeds, ids, n) < 0)
        return -1;
    struct tensor x = nn_linear(nn, query, &r->heads.itm, NN_NONE); // (B, Q, 2)
    *itm_logits = nn_mean(nn, x);                                   // (B, 2)
    return nn_failed(nn);
}
