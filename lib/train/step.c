/* step.c - what both stages do with a batch. */
#include "base/err.h"
#include "base/math.h"
#include "train/state.h"

#include <math.h>
#include <string.h>

/* What may lie between the way there and the way back, unless the caller says how many pairs:
 * at most 4 GiB of floats, of which a layer leaves about 24 of its width for each row. */
#define ROOM  (1 << 30)
#define LAYER 24

static int64_t floats_of_pair(const struct train *t, const struct train_batch *b)
{
    int64_t Q = qformer_queries(t->q),
            V = t->opt ? opt_info(t->opt).vocab_size : t->words.out.weight.dim[0];
    int64_t rows = t->opt ? Q : 4 * Q + 5 * b->T; /* three pairs to match, a text twice alone */
    int64_t n = rows * LAYER * qformer_hidden_size(t->q) * qformer_layers(t->q) + b->T * V;
    if (t->opt) {
        struct opt_info lm = opt_info(t->opt);
        n += (Q + b->T) * LAYER * lm.hidden_size * lm.layers;
    }
    return n;
}

int64_t train_micro(const struct train *t, const struct train_batch *b)
{
    int64_t micro = t->o.micro > 0 ? t->o.micro : ROOM / floats_of_pair(t, b);
    return math_min(math_max(micro, 1), b->B);
}

void train_begin(struct train *t, const struct train_batch *b)
{
    t->nn.tape = &t->tape;
    t->tape.dropout = t->o.dropout;
    t->tape.seed = t->o.seed ^ (b->number + 1) * 0x9E3779B97F4A7C15u;
    arena_reset(&t->batch);
}

int train_back(struct train *t)
{
    tape_backward(&t->nn);
    int rc = nn_failed(&t->nn);
    tape_reset(&t->tape);
    arena_reset(&t->mem);
    return rc;
}

struct tensor train_look(struct train *t, struct tensor all, const int64_t *which, int64_t n)
{
    int64_t S = all.dim[1], E = all.dim[2];
    struct tensor x = tensor_3d(all.data, DT_F32, n, S, E);
    if (which) {
        float *to = nn_tensor(&t->nn, 3, x.dim).data;
        for (int64_t i = 0; to && i < n; i++)
            memcpy(to + i * S * E, (const float *)all.data + which[i] * S * E,
                   (size_t)(S * E) * sizeof *to);
        x.data = to;
    }
    return nn_layernorm(&t->nn, x, &t->ln_vision, t->ln_eps); // (n, S, E)
}

static int check_shape(const struct train *t, const struct train_batch *b)
{
    char shape[TENSOR_SHAPE_MAX];
    int64_t E = qformer_encoder_size(t->q);
    const struct tensor *f = &b->features;
    if (f->dtype == DT_F32 && f->ndim == 3 && f->dim[0] == b->B && f->dim[1] > 0 &&
        f->dim[2] == E)
        return 0;
    return err_set(ERR_DATA, "features: %s %s, expected f32 (%lld, S, %lld)",
                   dtype_name(f->dtype), tensor_shape_str(shape, *f), (long long)b->B,
                   (long long)E);
}

/* Ids themselves are checked by the models. */
static int check_batch(const struct train *t, const struct train_batch *b)
{
    if (b->B < 1 || (t->o.stage == 1 && b->B * t->o.comm->size < 2 && t->o.losses != TRAIN_ITG))
        return err_set(ERR_DATA,
                       "batch of %lld pairs, expected at least 2: contrast and "
                       "matching need others",
                       (long long)b->B);
    for (int64_t i = 0; i < b->B; i++)
        if (b->length[i] < 1 || b->length[i] > b->T)
            return err_set(ERR_DATA, "text %lld: %lld ids, expected 1 to %lld", (long long)i,
                           (long long)b->length[i], (long long)b->T);
    return check_shape(t, b);
}

int train_gradients(struct train_losses *out, struct train *t, const struct train_batch *b)
{
    *out = (struct train_losses){ NAN, NAN, NAN, NAN, NAN, 0, NAN, 0 };
    if (check_batch(t, b) < 0)
        return -1;
    train_begin(t, b);
    int rc = t->o.stage == 1 ? train_stage1(out, t, b) : train_stage2(out, t, b);
    if (rc < 0) { /* what was begun is dropped */
        t->nn.failed = 0;
        tape_reset(&t->tape);
        arena_reset(&t->mem);
    }
    t->nn.tape = NULL;
    return rc;
}
