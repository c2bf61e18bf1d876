/* tokens.c - see tokens.h. */
#include "front/tokens.h"

#include "base/err.h"
#include "front/model.h"
#include "store/store.h"
#include "text/decode.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct config {
    int64_t image_token, rows, positions;
};

static const struct store_config top[] = {
    STORE_CONFIG_INT(struct config, image_token, "image_token_index|image_token_id", -1, 0,
                     1 << 20),
    STORE_CONFIG_INT(struct config, rows, "num_query_tokens", 32, 1, 4096), STORE_CONFIG_END
};

static const struct store_config language[] = {
    STORE_CONFIG_INT(struct config, positions, "max_position_embeddings", 2048, 1, 1 << 20),
    STORE_CONFIG_END
};

/* A checkpoint of OPT alone has the language model's keys at the top level. */
static int read_layout(struct prompt_layout *l, const char *dir)
{
    struct config c = { 0 };
    struct store *st = store_open(dir);
    if (!st)
        return -1;
    bool alone = !strcmp(store_config_str(st, "", "model_type"), "opt");
    int rc = store_config(&c, st, "", top);
    if (rc == 0)
        rc = store_config(&c, st, alone ? "" : "text_config", language);
    store_close(st);
    l->image_token = c.image_token;
    l->rows = c.rows;
    l->positions = c.positions;
    return rc;
}

int tokens_open(struct tokens *t, const char *model)
{
    char dir[4096];
    if (front_model(dir, sizeof dir, model) < 0 || read_layout(&t->layout, dir) < 0)
        return -1;
    t->bpe = bpe_open(dir);
    if (!t->bpe)
        return -1;
    int64_t image = t->layout.image_token;
    bpe_reserve(t->bpe, image >= 0 ? image : bpe_id(t->bpe, "<image>"));
    return 0;
}

void tokens_close(struct tokens *t)
{
    bpe_close(t->bpe);
    bpe_ids_release(&t->ids);
    buf_release(&t->text);
}

/* ---- records ---- */

static int put_ids(struct record *rec, const char *key, const int64_t *ids, size_t n)
{
    int64_t *v = arena_alloc(record_mem(rec), n * sizeof *v);
    if (!v)
        return -1;
    for (size_t i = 0; i < n; i++)
        v[i] = ids ? ids[i] : 1;
    return record_put_tensor(rec, key, tensor_1d(v, DT_I64, (int64_t)n));
}

int tokens_encode(struct record *rec, struct tokens *t, const char *prompt)
{
    const char *s = prompt ? prompt : "";
    size_t n = strlen(s);
    if (!prompt && record_get_str(&s, &n, rec, "prompt") < 0)
        return -1;
    if (prompt && record_put_str(rec, "prompt", s, n) < 0)
        return -1;
    t->ids.n = 0;
    if (prompt_encode(&t->ids, &t->layout, t->bpe, s, n,
                      record_has(rec, "language_model_inputs")) < 0)
        return -1;
    if (put_ids(rec, "input_ids", t->ids.v, t->ids.n) < 0)
        return -1;
    return put_ids(rec, "attention_mask", NULL, t->ids.n);
}

static int get_ids(struct bpe_ids *ids, const struct record *rec)
{
    struct tensor v;
    char shape[TENSOR_SHAPE_MAX];
    int got = record_get_tensor(&v, rec, "output_ids");
    if (got <= 0)
        return got < 0 ? -1 : err_set(ERR_DATA, "no output_ids, expected them of opt-generate");
    if (v.ndim != 1 || (v.dtype != DT_I64 && v.dtype != DT_I32))
        return err_set(ERR_DATA, "output_ids: %s %s, expected i64 (N)", dtype_name(v.dtype),
                       tensor_shape_str(shape, v));
    ids->n = 0;
    for (int64_t i = 0; i < v.dim[0]; i++)
        if (bpe_ids_push(ids, (int64_t)tensor_at(v, i)) < 0)
            return -1;
    return 0;
}

int tokens_decode(struct record *rec, struct tokens *t, bool keep)
{
    if (get_ids(&t->ids, rec) < 0)
        return -1;
    buf_clear(&t->text);
    if (bpe_decode(&t->text, t->bpe, t->ids.v, t->ids.n, true) < 0 || !buf_str(&t->text))
        return -1;
    const char *s = (const char *)t->text.data;
    size_t n = t->text.len;
    decode_strip(&s, &n);
    s = arena_strndup(record_mem(rec), s, n);
    if (!s)
        return -1;
    if (!keep)
        record_drop(rec, "output_ids");
    return record_put_str(rec, "text", s, n);
}

/* ---- lines ---- */

int tokens_print_ids(FILE *f, struct tokens *t, const char *s, size_t n)
{
    t->ids.n = 0;
    int flags = BPE_BOS | (t->layout.split_specials ? 0 : BPE_SPECIALS);
    if (bpe_encode(&t->ids, t->bpe, s, n, flags) < 0)
        return -1;
    for (size_t i = 0; i < t->ids.n; i++)
        fprintf(f, "%s%lld", i ? " " : "", (long long)t->ids.v[i]);
    putc('\n', f);
    return 0;
}

static int parse_ids(struct bpe_ids *ids, const char *s)
{
    ids->n = 0;
    for (;;) {
        s += strspn(s, " \t\r,");
        if (!*s)
            return 0;
        char *end;
        errno = 0;
        long long id = strtoll(s, &end, 10);
        if (end == s || errno || !strchr(" \t\r,", *end))
            return err_set(ERR_DATA, "'%.*s', expected ids", (int)strcspn(s, " \t\r,"), s);
        if (bpe_ids_push(ids, id) < 0)
            return -1;
        s = end;
    }
}

int tokens_print_text(FILE *f, struct tokens *t, const char *ids, size_t n)
{
    if (strlen(ids) != n)
        return err_set(ERR_DATA, "a NUL byte, expected ids");
    buf_clear(&t->text);
    if (parse_ids(&t->ids, ids) < 0 ||
        bpe_decode(&t->text, t->bpe, t->ids.v, t->ids.n, true) < 0)
        return -1;
    fwrite(t->text.data, 1, t->text.len, f);
    putc('\n', f);
    return 0;
}

int tokens_each_line(char **operands, int n, int (*fn)(void *ctx, const char *s, size_t n),
                     void *ctx)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t len;
    int rc = 0;
    for (int i = 0; i < n && rc == 0; i++)
        rc = fn(ctx, operands[i], strlen(operands[i]));
    for (int i = 1; n == 0 && rc == 0 && (len = getline(&line, &cap, stdin)) >= 0; i++) {
        if (len && line[len - 1] == '\n')
            line[--len] = '\0';
        if (fn(ctx, line, (size_t)len) < 0)
            rc = err_wrap("line %d", i);
    }
    free(line);
    return rc;
}
