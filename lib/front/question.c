/* question.c - see question.h. */
#include "front/question.h"

#include "base/err.h"

#include <string.h>

#define VISUAL "language_model_inputs"

/* A (T) tensor of integers as i64, in the record's memory; *ids NULL if there is none. */
static int get_ids(const int64_t **ids, int64_t *n, struct record *rec, const char *key)
{
    struct tensor t;
    char shape[TENSOR_SHAPE_MAX];
    int got = record_get_tensor(&t, rec, key);
    *ids = NULL;
    if (got <= 0)
        return got;
    if (t.ndim != 1 || (t.dtype != DT_I64 && t.dtype != DT_I32))
        return err_set(ERR_DATA, "%s: %s %s, expected i64 (T)", key, dtype_name(t.dtype),
                       tensor_shape_str(shape, t));
    int64_t *copy = arena_calloc(record_mem(rec), (size_t)t.dim[0], sizeof *copy);
    for (int64_t i = 0; copy && i < t.dim[0]; i++)
        copy[i] = t.dtype == DT_I64 ? ((int64_t *)t.data)[i] : ((int32_t *)t.data)[i];
    *n = t.dim[0];
    *ids = copy;
    return copy ? 0 : -1;
}

int question_lay_out(struct answer_prompt *p, struct answer *a, struct record *rec,
                     uint64_t number)
{
    struct answer_question q = { .number = number };
    int64_t masked = 0;
    if (get_ids(&q.ids, &q.n, rec, "input_ids") < 0 ||
        get_ids(&q.mask, &masked, rec, "attention_mask") < 0 ||
        record_get_tensor(&q.visual, rec, VISUAL) < 0)
        return -1;
    if (q.ids && q.mask && masked != q.n)
        return err_set(ERR_DATA, "attention_mask: %lld values, expected %lld, as in input_ids",
                       (long long)masked, (long long)q.n);
    return answer_layout(p, a, &q);
}

static int put_ids(struct record *out, int sequence, const int64_t *ids, int n)
{
    if (sequence >= 0 && record_put_int(out, "sequence", sequence) < 0)
        return -1;
    return record_put_tensor(out, "output_ids", tensor_1d((void *)ids, DT_I64, n));
}

int question_put_answer(struct record *out, const struct record *rec, int sequence,
                        const struct gen_answer *answer, bool keep)
{
    static const char *const consumed[] = { VISUAL, "input_ids", "attention_mask" };
    const char *finish = answer->eos ? "eos" : "length";
    record_view(out, rec);
    for (int i = 0; i < 3 && !keep; i++)
        record_drop(out, consumed[i]);
    if (put_ids(out, sequence, answer->ids, answer->n) < 0 ||
        record_put_float(out, "score", answer->score) < 0)
        return -1;
    return record_put_str(out, "finish", finish, strlen(finish));
}

int question_put_part(struct record *out, const struct record *rec, int sequence,
                      const int64_t *ids, int n)
{
    const struct record_field *id = record_find(rec, "id");
    record_clear(out);
    if (id)
        out->field[out->n++] = *id;
    if (record_put_bool(out, "partial", true) < 0)
        return -1;
    return put_ids(out, sequence, ids, n);
}

/* (N, S): how much of each of the S places reaches each token, rows that sum to 1. */
static int follow(struct tensor *out, struct record *rec, struct tensor looks,
                  struct tensor rollout)
{
    int64_t N = looks.dim[0], Q = looks.dim[1], S = rollout.dim[1];
    const float *a = looks.data, *r = rollout.data;
    float *to = arena_calloc(record_mem(rec), (size_t)(N * S), sizeof *to);
    *out = tensor_2d(to, DT_F32, N, S);
    for (int64_t n = 0; to && n < N; n++, a += Q, to += S) {
        double sum = 0;
        for (int64_t q = 0; q < Q; q++)
            sum += a[q];
        for (int64_t i = 0; i < Q * S && sum > 0; i++)
            to[i % S] += (float)(a[i / S] / sum) * r[i];
    }
    return out->data ? 0 : -1;
}

int question_check_rollout(const struct record *rec, int64_t Q)
{
    struct tensor t;
    char shape[TENSOR_SHAPE_MAX];
    int got = record_get_tensor(&t, rec, "attention_rollout");
    if (got <= 0)
        return got;
    if (t.dtype != DT_F32 || t.ndim != 2 || t.dim[0] != Q || t.dim[1] < 1)
        return err_set(ERR_DATA, "attention_rollout: %s %s, expected f32 (%lld, S)",
                       dtype_name(t.dtype), tensor_shape_str(shape, t), (long long)Q);
    return tensor_check_finite(t, "attention_rollout");
}

int question_put_looks(struct record *out, struct tensor looks)
{
    struct tensor rollout, answer;
    if (record_put_tensor(out, "answer_attention", looks) < 0)
        return -1;
    if (record_get_tensor(&rollout, out, "attention_rollout") <= 0)
        return 0;
    if (follow(&answer, out, looks, rollout) < 0)
        return -1;
    return record_put_tensor(out, "answer_rollout", answer);
}
