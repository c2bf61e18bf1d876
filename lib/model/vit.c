/* vit.c - the image encoder, in the order of the paper: see vit.h. Letters of shapes: B images,
 * N patches, T = 1 + N rows, D width, F of the feed-forward, P pixels of a patch's side. */
#include "model/vit.h"

#include "base/err.h"
#include "base/math.h"
#include "model/arch.h"

#include <math.h>
#include <stddef.h>

struct block {
    struct nn_norm norm1, norm2;
    struct nn_linear qkv, q, k, v, out; /* fused in BLIP-2, apart in CLIP */
    struct nn_linear fc1, fc2;
};

struct vit {
    int64_t D, F, layers, heads, image, P;
    double eps;
    bool qkv_bias;
    int act;
    struct tensor cls, positions; /* (1, D), (T, D) f32 */
    struct nn_linear patch;
    struct nn_norm pre, post; /* pre: CLIP only; post: BLIP-2 only */
    struct block *block;
    vit_watch *watch;
    void *watch_ctx;
};

/* ---- config.json ---- */

#define VIT_CONFIG(width, ffn, depth, nheads, pixels, side, epsilon, activation)               \
    STORE_CONFIG_INT(struct vit, D, "hidden_size", width, 1, 16384),                           \
        STORE_CONFIG_INT(struct vit, F, "intermediate_size", ffn, 1, 65536),                   \
        STORE_CONFIG_INT(struct vit, layers, "num_hidden_layers", depth, 1, 1024),             \
        STORE_CONFIG_INT(struct vit, heads, "num_attention_heads", nheads, 1, 1024),           \
        STORE_CONFIG_INT(struct vit, image, "image_size", pixels, 1, 8192),                    \
        STORE_CONFIG_INT(struct vit, P, "patch_size", side, 1, 1024),                          \
        STORE_CONFIG_FLOAT(struct vit, eps, "layer_norm_eps", epsilon, 0, 1),                  \
        STORE_CONFIG_WORD(struct vit, act, "hidden_act", activation, model_acts)

static const struct store_config blip2_config[] = {
    VIT_CONFIG(1408, 6144, 39, 16, 224, 14, 1e-6, MODEL_ACT_GELU),
    STORE_CONFIG_BOOL(struct vit, qkv_bias, "qkv_bias", true),
    STORE_CONFIG_END,
};

static const struct store_config clip_config[] = {
    VIT_CONFIG(768, 3072, 12, 12, 224, 32, 1e-5, MODEL_ACT_QUICK_GELU),
    STORE_CONFIG_END,
};

/* ---- names and shapes ---- */

static const struct store_bind blip2_bind[] = {
    STORE_BIND_F32(struct vit, cls, "embeddings.class_embedding", "1,1,D"),
    STORE_BIND_F32(struct vit, positions, "embeddings.position_embedding", "1,T,D"),
    STORE_BIND(struct vit, patch.weight, "embeddings.patch_embedding.weight", "D,3,P,P"),
    STORE_BIND_F32(struct vit, patch.bias, "embeddings.patch_embedding.bias", "D"),
    STORE_BIND_F32(struct vit, post.weight, "post_layernorm.weight", "D"),
    STORE_BIND_F32(struct vit, post.bias, "post_layernorm.bias", "D"),
    STORE_BIND_END,
};

static const struct store_bind clip_bind[] = {
    STORE_BIND_F32(struct vit, cls, "embeddings.class_embedding", "D"),
    STORE_BIND_F32(struct vit, positions, "embeddings.position_embedding.weight", "T,D"),
    STORE_BIND(struct vit, patch.weight, "embeddings.patch_embedding.weight", "D,3,P,P"),
    STORE_BIND_F32(struct vit, pre.weight, "pre_layrnorm.weight", "D"), /* the file's word */
    STORE_BIND_F32(struct vit, pre.bias, "pre_layrnorm.bias", "D"),
    STORE_BIND_END,
};

static const struct store_bind block_bind[] = {
    STORE_BIND_F32(struct block, norm1.weight, "layer_norm1.weight", "D"),
    STORE_BIND_F32(struct block, norm1.bias, "layer_norm1.bias", "D"),
    STORE_BIND_F32(struct block, norm2.weight, "layer_norm2.weight", "D"),
    STORE_BIND_F32(struct block, norm2.bias, "layer_norm2.bias", "D"),
    STORE_BIND_LINEAR(struct block, fc1, "mlp.fc1.weight", "F,D"),
    STORE_BIND_F32(struct block, fc1.bias, "mlp.fc1.bias", "F"),
    STORE_BIND_LINEAR(struct block, fc2, "mlp.fc2.weight", "D,F"),
    STORE_BIND_F32(struct block, fc2.bias, "mlp.fc2.bias", "D"),
    STORE_BIND_END,
};

static const struct store_bind fused_bind[] = {
    STORE_BIND_LINEAR(struct block, qkv, "self_attn.qkv.weight", "3D,D"),
    STORE_BIND_LINEAR(struct block, out, "self_attn.projection.weight", "D,D"),
    STORE_BIND_F32(struct block, out.bias, "self_attn.projection.bias", "D"),
    STORE_BIND_END,
};

static const struct store_bind fused_bias_bind[] = {
    STORE_BIND_F32(struct block, qkv.bias, "self_attn.qkv.bias", "3D"),
    STORE_BIND_END,
};

static const struct store_bind apart_bind[] = {
    STORE_BIND_LINEAR(struct block, q, "self_attn.q_proj.weight", "D,D"),
    STORE_BIND_F32(struct block, q.bias, "self_attn.q_proj.bias", "D"),
    STORE_BIND_LINEAR(struct block, k, "self_attn.k_proj.weight", "D,D"),
    STORE_BIND_F32(struct block, k.bias, "self_attn.k_proj.bias", "D"),
    STORE_BIND_LINEAR(struct block, v, "self_attn.v_proj.weight", "D,D"),
    STORE_BIND_F32(struct block, v.bias, "self_attn.v_proj.bias", "D"),
    STORE_BIND_LINEAR(struct block, out, "self_attn.out_proj.weight", "D,D"),
    STORE_BIND_F32(struct block, out.bias, "self_attn.out_proj.bias", "D"),
    STORE_BIND_END,
};

/* The files of the hub say vision_model.; transformers 5 leaves it out of CLIPVisionModel's. */
static int find_prefix(const char **root, const char **blocks, struct store *st)
{
    struct tensor t;
    int found = store_find(&t, st, "embeddings.class_embedding");
    *root = found == 1 ? "" : "vision_model.";
    *blocks = found == 1 ? "encoder.layers.%d." : "vision_model.encoder.layers.%d.";
    return found;
}

static int bind_block(struct vit *v, struct store *st, const char *prefix, int i, bool fused,
                      const struct store_dims *dims, struct arena *mem)
{
    struct block *b = &v->block[i];
    if (store_bind(b, st, prefix, i, block_bind, dims, mem) < 0 ||
        store_bind(b, st, prefix, i, fused ? fused_bind : apart_bind, dims, mem) < 0)
        return -1;
    return fused && v->qkv_bias ? store_bind(b, st, prefix, i, fused_bias_bind, dims, mem) : 0;
}

static int bind(struct vit *v, struct store *st, bool fused, struct arena *mem)
{
    int64_t side = v->image / v->P, D = v->D;
    struct store_dims dims = { 0 };
    dims.of['D' - 'A'] = D;
    dims.of['F' - 'A'] = v->F;
    dims.of['P' - 'A'] = v->P;
    dims.of['T' - 'A'] = 1 + side * side;
    const char *root, *blocks;
    v->block = arena_calloc(mem, (size_t)v->layers, sizeof *v->block);
    if (!v->block || find_prefix(&root, &blocks, st) < 0 ||
        store_bind(v, st, root, 0, fused ? blip2_bind : clip_bind, &dims, mem) < 0)
        return -1;
    for (int i = 0; i < v->layers; i++)
        if (bind_block(v, st, blocks, i, fused, &dims, mem) < 0)
            return -1;
    v->cls = tensor_2d(v->cls.data, DT_F32, 1, D);
    v->positions = tensor_2d(v->positions.data, DT_F32, 1 + side * side, D);
    v->patch.weight = tensor_2d(v->patch.weight.data, v->patch.weight.dtype, D,
                                3 * v->P * v->P);
    return 0;
}

struct vit *vit_open(struct store *st, struct arena *mem)
{
    int arch = model_arch(st);
    bool fused = arch == MODEL_BLIP2 || arch == MODEL_RETRIEVAL;
    const char *section = arch == MODEL_CLIP_VISION ? "" : "vision_config";
    struct vit *v = arch < 0 ? NULL : arena_calloc(mem, 1, sizeof *v);
    if (!v)
        return NULL;
    if (arch == MODEL_OPT)
        return model_lacks(st, "vision model"), NULL;
    if (store_config(v, st, section, fused ? blip2_config : clip_config) < 0 ||
        model_check_heads("vision_config", v->D, v->heads) < 0)
        return NULL;
    if (v->image < v->P)
        return err_null(ERR_CONFIG, "config.json: image_size %d is smaller than patch_size %d",
                        (int)v->image, (int)v->P);
    return bind(v, st, fused, mem) < 0 ? NULL : v;
}

int vit_image_size(const struct vit *v)
{
    return (int)v->image;
}

int vit_patch_size(const struct vit *v)
{
    return (int)v->P;
}

#define NEAR ((int64_t)16 << 20) /* bytes of the widest rows that the last cache holds */

int vit_together(const struct vit *v, int64_t height, int64_t width)
{
    int64_t T = 1 + height / v->P * (width / v->P);
    return (int)math_max(1, NEAR / (T * v->F * (int64_t)sizeof(float)));
}

int vit_hidden_size(const struct vit *v)
{
    return (int)v->D;
}

void vit_set_watch(struct vit *v, vit_watch *watch, void *ctx)
{
    v->watch = watch;
    v->watch_ctx = ctx;
}

/* ---- the forward pass ---- */

void vit_skip_post_layernorm(struct vit *v)
{
    v->post.weight.data = NULL;
}

static void watch(const struct vit *v, int layer, struct tensor hidden)
{
    if (v->watch)
        v->watch(v->watch_ctx, layer, hidden);
}

/* The table as it is, or its patches' part resampled for a grid of h x w. */
static struct tensor positions(const struct vit *v, struct nn *nn, int64_t H, int64_t W)
{
    int64_t side = v->image / v->P, h = H / v->P, w = W / v->P;
    if (H == v->image && W == v->image)
        return v->positions;
    float *patches = (float *)v->positions.data + v->D;
    struct tensor grid = nn_resize(nn, tensor_3d(patches, DT_F32, side, side, v->D), h, w);
    return nn_concat(nn, tensor_2d(v->positions.data, DT_F32, 1, v->D),
                     tensor_2d(grid.data, DT_F32, h * w, v->D)); // (1, 1 + h w, D)
}

static struct tensor embed(const struct vit *v, struct nn *nn, struct tensor pixels)
{
    struct tensor x = nn_patches(nn, pixels, v->P);                    // (B, N, 3 P P)
    x = nn_linear(nn, x, &v->patch, NN_NONE);                          // (B, N, D)
    x = nn_concat(nn, v->cls, x);                                      // (B, T, D)
    x = nn_add(nn, x, positions(v, nn, pixels.dim[2], pixels.dim[3])); // (B, T, D)
    return v->pre.weight.data ? nn_layernorm(nn, x, &v->pre, v->eps) : x;
}

static struct tensor attention(const struct vit *v, struct nn *nn, struct tensor x,
                               const struct block *w)
{
    int64_t B = x.dim[0], hd = v->D / v->heads;
    struct nn_heads heads = { .H = (int)v->heads,
                              .hd = hd,
                              .scale = (float)(1 / sqrt((double)hd)) };
    struct tensor a;
    if (w->qkv.weight.data) {
        struct tensor qkv = nn_linear(nn, x, &w->qkv, NN_NONE); // (B, T, 3D)
        a = nn_attention_batch(nn, heads, B, nn_columns(qkv, 0, 3), nn_columns(qkv, 1, 3),
                               nn_columns(qkv, 2, 3)); // (B, T, D)
    } else {
        struct tensor q = nn_linear(nn, x, &w->q, NN_NONE); // (B, T, D)
        struct tensor k = nn_linear(nn, x, &w->k, NN_NONE);
        struct tensor u = nn_linear(nn, x, &w->v, NN_NONE);
        a = nn_attention_batch(nn, heads, B, nn_view(q), nn_view(k), nn_view(u));
    }
    return nn_linear(nn, a, &w->out, NN_NONE); // (B, T, D)
}

/* Pre-norm: x += attention(LN x); x += fc2(act(fc1(LN x))). */
static struct tensor block(const struct vit *v, struct nn *nn, struct tensor x,
                           const struct block *w)
{
    struct tensor h = nn_layernorm(nn, x, &w->norm1, v->eps); // (B, T, D)
    x = nn_add(nn, x, attention(v, nn, h, w));
    h = nn_layernorm(nn, x, &w->norm2, v->eps);
    h = nn_linear(nn, h, &w->fc1, model_act(v->act)); // (B, T, F)
    h = nn_linear(nn, h, &w->fc2, NN_NONE);           // (B, T, D)
    return nn_add(nn, x, h);
}

static int check_pixels(const struct vit *v, struct tensor p, bool interpolate)
{
    char shape[TENSOR_SHAPE_MAX];
    int side = (int)v->image;
    if (p.dtype != DT_F32 || p.ndim != 4 || p.dim[1] != 3 || p.dim[2] < v->P || p.dim[3] < v->P)
        return err_set(ERR_DATA, "pixel_values: %s %s, expected f32 (B, 3, %d, %d)",
                       dtype_name(p.dtype), tensor_shape_str(shape, p), side, side);
    if (!interpolate && (p.dim[2] != v->image || p.dim[3] != v->image))
        return err_set(ERR_DATA,
                       "pixel_values: %s, expected (B, 3, %d, %d) unless positions "
                       "are interpolated",
                       tensor_shape_str(shape, p), side, side);
    return 0;
}

int vit_forward(struct tensor *image_embeds, const struct vit *v, struct nn *nn,
                struct tensor pixel_values, bool interpolate)
{
    if (check_pixels(v, pixel_values, interpolate) < 0)
        return -1;
    struct tensor x = embed(v, nn, pixel_values); // (B, T, D)
    watch(v, 0, x);
    for (int i = 0; i < v->layers; i++) {
        struct arena_mark mark = arena_mark(nn->mem);
        x = nn_replace(nn, x, block(v, nn, x, &v->block[i]), mark);
        watch(v, i + 1, x);
    }
    /* CLIP's last_hidden_state is not normalised: its post_layernorm is for the pooled row. */
    *image_embeds = v->post.weight.data ? nn_layernorm(nn, x, &v->post, v->eps) : x;
    return nn_failed(nn);
}
