/* layout.c - a question as the model reads it: visual rows and ids, checked. */
#include "answer/session.h"
#include "base/err.h"

#include <string.h>

#define FIELD "language_model_inputs"

static bool is_float(enum dtype t)
{
    return t == DT_F32 || t == DT_F16 || t == DT_BF16 || t == DT_F64;
}

/* A text-only checkpoint says nothing about the number of rows: any will do. */
static int check_visual(const struct opt_info *info, struct tensor t)
{
    char shape[TENSOR_SHAPE_MAX];
    int64_t rows = info->num_query_tokens;
    if (!is_float(t.dtype))
        return err_set(ERR_DATA, FIELD ": dtype %s, expected f32 or f16", dtype_name(t.dtype));
    if (t.ndim != 2 || t.dim[1] != info->embed_size || (rows && t.dim[0] != rows))
        return err_set(ERR_DATA, FIELD ": shape %s, expected (%lld, %d)",
                       tensor_shape_str(shape, t),
                       (long long)(rows || t.ndim < 1 ? rows : t.dim[0]), info->embed_size);
    return tensor_check_finite(t, FIELD);
}

static int take_visual(struct answer_prompt *p, struct answer *a, struct tensor t)
{
    if (!t.data)
        return 0;
    if (check_visual(&a->info, t) < 0)
        return -1;
    float *rows = arena_alloc(&a->mem, (size_t)tensor_count(t) * sizeof *rows);
    if (!rows)
        return -1;
    tensor_to_f32(rows, t);
    p->visual = rows;
    p->rows = t.dim[0];
    return 0;
}

/* The ids whose mask is not 0, or bos if there are none at all; NULL with err set. */
static int64_t *take_ids(int64_t *n, struct answer *a, const struct answer_question *q,
                         int64_t image_tokens)
{
    int64_t *ids = arena_calloc(&a->mem, (size_t)(q->ids ? q->n : image_tokens + 1),
                                sizeof *ids);
    *n = 0;
    for (int64_t i = 0; ids && q->ids && i < q->n; i++)
        if (!q->mask || q->mask[i])
            ids[(*n)++] = q->ids[i];
    if (ids && !q->ids) {
        while (*n < image_tokens)
            ids[(*n)++] = a->info.image_token;
        ids[(*n)++] = a->info.bos;
    }
    return ids;
}

static int check_ids(const struct opt_info *info, const int64_t *ids, int64_t n, int64_t rows)
{
    int64_t images = 0;
    for (int64_t i = 0; i < n; i++) {
        bool image = info->image_token >= 0 && ids[i] == info->image_token;
        images += image;
        if (!image && (ids[i] < 0 || ids[i] >= info->vocab_size))
            return err_set(ERR_DATA, "input_ids: %lld at %lld, expected 0 to %d",
                           (long long)ids[i], (long long)i, info->vocab_size - 1);
    }
    if (images && !rows)
        return err_set(ERR_DATA, "input_ids: %lld image tokens, but no " FIELD,
                       (long long)images);
    if (info->image_token >= 0 && images != rows)
        return err_set(ERR_DATA,
                       "input_ids: %lld image tokens, expected %lld, one a row of " FIELD,
                       (long long)images, (long long)rows);
    return 0;
}

/* Positions: the rows in front where ids have no place for them. */
static int place(struct answer_prompt *p, struct answer *a, const int64_t *ids, int64_t n)
{
    bool placed = a->info.image_token >= 0;
    int64_t front = placed ? 0 : p->rows;
    p->n = front + n;
    if (p->n < 1)
        return err_set(ERR_DATA, "input_ids: empty, expected at least one token");
    if (p->n > a->info.max_positions)
        return err_set(ERR_DATA, "prompt: %lld positions, the model's context has %d",
                       (long long)p->n, a->info.max_positions);
    p->at = arena_calloc(&a->mem, (size_t)p->n, sizeof *p->at);
    if (!p->at)
        return -1;
    for (int64_t i = 0; i < front; i++)
        p->at[i] = ANSWER_VISUAL;
    for (int64_t i = 0; i < n; i++)
        p->at[front + i] = placed && ids[i] == a->info.image_token ? ANSWER_VISUAL : ids[i];
    p->history = ids;
    p->n_history = front ? 0 : n; /* as the reference: it has embeddings only, no ids */
    return 0;
}

int answer_layout(struct answer_prompt *p, struct answer *a, const struct answer_question *q)
{
    memset(p, 0, sizeof *p);
    p->number = q->number;
    if (!q->ids && !q->visual.data)
        return err_set(ERR_DATA, "nothing to read: neither input_ids nor " FIELD);
    if (take_visual(p, a, q->visual) < 0)
        return -1;
    int64_t n, *ids = take_ids(&n, a, q, a->info.image_token >= 0 ? p->rows : 0);
    if (!ids || check_ids(&a->info, ids, n, p->rows) < 0)
        return -1;
    return place(p, a, ids, n);
}
