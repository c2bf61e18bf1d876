/* tag.c - see tag.h. */
#include "wire/tag.h"

#include "base/err.h"

#include <string.h>

static const unsigned char key[3] = { 0xa2, 'i', 'd' };

void tag_find(struct tag *t, const struct record *rec)
{
    const unsigned char *p = rec->bytes.data;
    const struct record_field *f = record_find(rec, "id");
    *t = (struct tag){ .head = p[0] == 0xde   ? 3
                               : p[0] == 0xdf ? 5
                                              : 1,
                       .fields = (size_t)rec->n };
    if (f && f->raw) {
        t->at = (size_t)(f->raw - p);
        t->n = f->raw_len;
    }
}

size_t tag_pack(unsigned char out[TAG_VALUE], const char *text)
{
    size_t n = strlen(text);
    BUG_ON(n > TAG_TEXT);
    out[0] = 0xd9; /* str 8 */
    out[1] = (unsigned char)n;
    memcpy(out + 2, text, n);
    return n + 2;
}

static size_t put_head(unsigned char *out, size_t fields)
{
    out[0] = 0xde; /* map 16 */
    out[1] = (unsigned char)(fields >> 8);
    out[2] = (unsigned char)fields;
    return 3;
}

/* One field more, before all others. */
static void add(struct tag_pieces *out, unsigned char *room, const struct tag *t,
                const unsigned char *p, size_t n, const void *value, size_t value_n)
{
    size_t head = put_head(room, t->fields + 1);
    memcpy(room + head, key, sizeof key);
    memcpy(room + head + sizeof key, value, value_n);
    *out = (struct tag_pieces){ { p, room, p + t->head },
                                { 0, head + sizeof key + value_n, n - t->head } };
}

/* One field less; a key that is written in some longer way stays, with nil. */
static void take_away(struct tag_pieces *out, unsigned char *room, const struct tag *t,
                      const unsigned char *p, size_t n)
{
    size_t after = t->at + t->n, before = t->at - sizeof key;
    if (memcmp(p + before, key, sizeof key) != 0) {
        room[0] = 0xc0;
        *out = (struct tag_pieces){ { p, room, p + after }, { t->at, 1, n - after } };
        return;
    }
    *out = (struct tag_pieces){ { room, p + t->head, p + after },
                                { put_head(room, t->fields - 1), before - t->head,
                                  n - after } };
}

void tag_replace(struct tag_pieces *out, unsigned char room[TAG_VALUE], const struct tag *t,
                 const void *bytes, size_t n, const void *value, size_t value_n)
{
    const unsigned char *p = bytes;
    size_t after = t->n ? t->at + t->n : t->head;
    if (t->n && value_n)
        *out = (struct tag_pieces){ { p, value, p + after }, { t->at, value_n, n - after } };
    else if (value_n)
        add(out, room, t, p, n, value, value_n);
    else if (t->n)
        take_away(out, room, t, p, n);
    else
        *out = (struct tag_pieces){ { p, NULL, NULL }, { n, 0, 0 } };
}
