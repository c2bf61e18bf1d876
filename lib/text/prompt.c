/* prompt.c - see prompt.h. */
#include "text/prompt.h"

#include "base/err.h"
#include "base/utf8.h"

static int check_text(const char *s, size_t n)
{
    if (n > PROMPT_BYTES)
        return err_set(ERR_DATA, "prompt: %zu bytes, expected at most %zu", n, PROMPT_BYTES);
    return utf8_valid(s, n) ? 0 : err_set(ERR_DATA, "prompt: not UTF-8");
}

static int check_length(const struct prompt_layout *l, size_t text, bool image)
{
    int64_t got = (int64_t)text, rows = image ? l->rows : 0;
    if (got + rows <= l->positions)
        return 0;
    return err_set(ERR_DATA,
                   "prompt: %lld tokens and %lld of the image, expected at most %lld together",
                   (long long)got, (long long)rows, (long long)l->positions);
}

int prompt_encode(struct bpe_ids *out, const struct prompt_layout *l, const struct bpe *t,
                  const char *s, size_t n, bool image)
{
    if (check_text(s, n) < 0)
        return -1;
    for (int64_t i = 0; image && l->image_token >= 0 && i < l->rows; i++)
        if (bpe_ids_push(out, l->image_token) < 0)
            return -1;
    size_t begin = out->n;
    if (bpe_encode(out, t, s, n, BPE_BOS | (l->split_specials ? 0 : BPE_SPECIALS)) < 0)
        return -1;
    return check_length(l, out->n - begin, image);
}
