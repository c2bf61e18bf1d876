/* bert.c - see bert.h. */
#include "text/bert.h"

#include "text/unicode.h"

/* Marks that follow one base are ordered by their class. A word longer than 100 characters is
 * unknown whatever it holds, so a longer run need not be ordered, and time stays linear. */
#define MARKS 128

struct words {
    struct buf *out;
    uint32_t mark[MARKS]; /* combining characters not yet written, in order */
    int marks;
    bool open; /* a word has begun */
};

static int put(struct words *w, uint32_t cp)
{
    char s[4];
    w->open = true;
    return buf_append(w->out, s, unicode_put(s, cp));
}

static int flush(struct words *w)
{
    int rc = 0;
    for (int i = 0; i < w->marks && rc == 0; i++)
        rc = put(w, w->mark[i]);
    w->marks = 0;
    return rc;
}

static int end_word(struct words *w)
{
    if (flush(w) < 0)
        return -1;
    bool open = w->open;
    w->open = false;
    return open ? buf_putc(w->out, '\n') : 0;
}

static int put_mark(struct words *w, uint32_t cp)
{
    if (w->marks == MARKS && flush(w) < 0)
        return -1;
    int i = w->marks++, class = unicode_combining(cp);
    for (; i > 0 && unicode_combining(w->mark[i - 1]) > class; i--)
        w->mark[i] = w->mark[i - 1];
    w->mark[i] = cp;
    return 0;
}

/* A character of the decomposed text, in lower case. */
static int put_one(struct words *w, uint32_t cp)
{
    if (unicode_is_mark(cp))
        return 0;
    if (unicode_combining(cp))
        return put_mark(w, unicode_lower(cp));
    if (flush(w) < 0)
        return -1;
    cp = unicode_lower(cp);
    if (unicode_is_space(cp))
        return end_word(w);
    if (!unicode_is_punct(cp))
        return put(w, cp);
    return end_word(w) < 0 || put(w, cp) < 0 || end_word(w) < 0 ? -1 : 0;
}

static bool dropped(uint32_t cp)
{
    return cp == 0 || cp == UNICODE_BAD ||
           (unicode_is_control(cp) && cp != '\t' && cp != '\n' && cp != '\r');
}

static int put_char(struct words *w, uint32_t cp)
{
    uint32_t part[UNICODE_DECOMPOSED];
    if (dropped(cp))
        return 0;
    if (unicode_is_space(cp))
        return end_word(w);
    bool alone = unicode_is_ideograph(cp);
    if (alone && end_word(w) < 0)
        return -1;
    size_t n = unicode_decompose(part, cp);
    for (size_t i = 0; i < n; i++)
        if (put_one(w, part[i]) < 0)
            return -1;
    return alone ? end_word(w) : 0;
}

int bert_words(struct buf *out, const char *s, size_t n)
{
    struct words w = { .out = out };
    for (size_t i = 0, len; i < n; i += len)
        if (put_char(&w, unicode_get(&len, s + i, n - i)) < 0)
            return -1;
    return end_word(&w);
}
