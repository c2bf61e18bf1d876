/* tables.c - see tables.h. */
#include "text/tables.h"

#include "base/err.h"

#include <string.h>

/* ---- vocabulary ---- */

/* {"token": id, ...} */
static int put_tokens(struct files *f, struct scan *s, struct buf *token)
{
    int64_t id;
    if (!scan_take(s, '{'))
        return scan_fail(s, "an object of tokens and ids");
    for (int more = !scan_take(s, '}'); more;) {
        buf_clear(token);
        if (scan_str(token, s) < 0)
            return -1;
        if (!scan_take(s, ':'))
            return scan_fail(s, "':'");
        if (scan_int(&id, s) < 0 ||
            vocab_add(&f->vocab, (char *)token->data, token->len, id) < 0)
            return -1;
        if ((more = scan_more(s, '}')) < 0)
            return -1;
    }
    return vocab_check_dense(&f->vocab);
}

int tables_vocab(struct files *f, struct scan *s)
{
    struct buf token = { 0 };
    int rc = buf_reserve(&token, 64) < 0 ? -1 : put_tokens(f, s, &token);
    buf_release(&token);
    return rc;
}

/* ---- merges ---- */

static int put_merge(struct files *f, const char *left, size_t n, const char *right, size_t m,
                     size_t rank)
{
    char both[1024];
    if (n + m > sizeof both)
        return err_set(ERR_DATA, "%zu bytes, expected at most %zu", n + m, sizeof both);
    memcpy(both, left, n);
    memcpy(both + n, right, m);
    int64_t a = vocab_find(&f->vocab, left, n), b = vocab_find(&f->vocab, right, m),
            ab = vocab_find(&f->vocab, both, n + m);
    if (a < 0 || b < 0 || ab < 0)
        return err_set(ERR_DATA, "'%.*s' is not in the vocabulary",
                       a < 0   ? (int)n
                       : b < 0 ? (int)m
                               : (int)(n + m),
                       a < 0   ? left
                       : b < 0 ? right
                               : both);
    merges_add(&f->merges, (uint32_t)a, (uint32_t)b, (uint32_t)ab, (uint32_t)rank);
    return 0;
}

/* "left right". */
static int put_merge_words(struct files *f, const char *s, size_t n, size_t rank)
{
    const char *gap = memchr(s, ' ', n);
    size_t left = gap ? (size_t)(gap - s) : 0;
    if (!gap || memchr(gap + 1, ' ', n - left - 1))
        return err_set(ERR_DATA, "'%.*s', expected two tokens", (int)n, s);
    return put_merge(f, s, left, gap + 1, n - left - 1, rank);
}

/* ["left", "right"] as since 2024, or "left right". Scratch: both are empty. */
static int put_rule(struct files *f, struct scan *s, struct buf *left, struct buf *right,
                    size_t rank)
{
    if (scan_sees(s, '"'))
        return scan_str(left, s) < 0 ? -1
                                     : put_merge_words(f, (char *)left->data, left->len, rank);
    if (!scan_take(s, '['))
        return scan_fail(s, "two tokens");
    if (scan_str(left, s) < 0)
        return -1;
    if (!scan_take(s, ','))
        return scan_fail(s, "two tokens");
    if (scan_str(right, s) < 0)
        return -1;
    if (!scan_take(s, ']'))
        return scan_fail(s, "two tokens");
    return put_merge(f, (char *)left->data, left->len, (char *)right->data, right->len, rank);
}

static int put_rules(struct files *f, struct scan *s, struct buf *left, struct buf *right)
{
    size_t rank = 0;
    if (!scan_take(s, '['))
        return scan_fail(s, "an array of merges");
    for (int more = !scan_take(s, ']'); more; rank++) {
        buf_clear(left);
        buf_clear(right);
        if (put_rule(f, s, left, right, rank) < 0)
            return err_wrap("rule %zu", rank);
        if ((more = scan_more(s, ']')) < 0)
            return -1;
    }
    return 0;
}

/* At most as many rules as there are strings in the array. */
static size_t count_strings(const struct scan *s)
{
    size_t quotes = 0;
    for (const char *p = s->p; p < s->end && (p = memchr(p, '"', (size_t)(s->end - p))); p++)
        quotes++;
    return quotes / 2;
}

int tables_merges(struct files *f, struct scan *s)
{
    struct buf left = { 0 }, right = { 0 };
    int rc = merges_init(&f->merges, count_strings(s));
    if (rc == 0 && (buf_reserve(&left, 64) < 0 || buf_reserve(&right, 64) < 0))
        rc = -1;
    if (rc == 0)
        rc = put_rules(f, s, &left, &right);
    buf_release(&left);
    buf_release(&right);
    return rc;
}

static size_t count_lines(const struct buf *b)
{
    size_t lines = 1;
    for (size_t i = 0; i < b->len; i++)
        lines += b->data[i] == '\n';
    return lines;
}

/* The next line of b without its end, 0 when there is none. */
bool tables_next_line(const char **s, size_t *n, const struct buf *b, size_t *at)
{
    if (*at >= b->len)
        return false;
    *s = (const char *)b->data + *at;
    const char *end = memchr(*s, '\n', b->len - *at);
    *n = end ? (size_t)(end - *s) : b->len - *at;
    *at += *n + 1;
    if (*n && (*s)[*n - 1] == '\r')
        --*n;
    return true;
}

/* A first line "#version: 0.2" is no rule; a later one that begins with # is. */
int tables_merges_text(struct files *f, const struct buf *b)
{
    const char *s;
    size_t n, at = 0, rank = 0, line = 0;
    if (merges_init(&f->merges, count_lines(b)) < 0)
        return -1;
    while (tables_next_line(&s, &n, b, &at)) {
        line++;
        if (n == 0 || (line == 1 && n >= 8 && !memcmp(s, "#version", 8)))
            continue;
        if (put_merge_words(f, s, n, rank++) < 0)
            return err_wrap("merges.txt: line %zu", line);
    }
    return 0;
}
