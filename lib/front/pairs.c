/* pairs.c - see pairs.h. */
#include "front/pairs.h"

#include "base/err.h"
#include "base/io.h"
#include "wire/wire.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *grow(void *v, int n, size_t size)
{
    if (n & (n - 1)) /* sizes double */
        return v;
    void *more = realloc(v, (size_t)(n ? 2 * n : 1) * size);
    if (!more)
        err_nomem("pairs");
    return more;
}

/* ---- pictures and pairs ---- */

/* The index of the picture of that key, a new one if need be; negative: err is set. */
static int find_image(struct pairs *p, const char *key, size_t n, const char *file, int line)
{
    char *name = arena_strndup(&p->mem, key, n);
    json_t *known = name ? json_object_get(p->seen, name) : NULL;
    if (known)
        return (int)json_integer_value(known);
    void *more = name ? grow(p->image, p->images, sizeof *p->image) : NULL;
    if (!more)
        return -1;
    p->image = more;
    p->image[p->images] = (struct pairs_image){ .path = name, .file = file, .line = line };
    if (json_object_set_new_nocheck(p->seen, name, json_integer(p->images)) < 0)
        return err_nomem("pairs");
    return p->images++;
}

/* -1 (ERR_DATA) if the picture has that caption already. */
static int check_new(struct pairs *p, int image, const char *caption, int line)
{
    size_t n = strlen(caption) + 32;
    char *key = malloc(n);
    if (!key)
        return err_nomem("pairs");
    snprintf(key, n, "%d %d\n%s", p->sets, image, caption);
    json_t *known = json_object_get(p->seen, key);
    int rc = 0;
    if (known)
        rc = err_set(ERR_DATA, "the image has this caption already in line %d",
                     (int)json_integer_value(known));
    else if (json_object_set_new_nocheck(p->seen, key, json_integer(line)) < 0)
        rc = err_nomem("pairs");
    free(key);
    return rc;
}

static int check_caption(const char *s, size_t n)
{
    if (memchr(s, '\0', n))
        return err_set(ERR_DATA, "caption: holds a NUL");
    for (size_t i = 0; i < n; i++)
        if (!strchr(" \t\r\n", s[i]))
            return 0;
    return err_set(ERR_DATA, "caption: empty, expected some words");
}

static int add_pair(struct pairs *p, int image, const char *s, size_t n, const char *file,
                    int line)
{
    char *caption = arena_strndup(&p->mem, s, n);
    void *more = caption ? grow(p->pair, p->pairs, sizeof *p->pair) : NULL;
    if (!more)
        return -1;
    p->pair = more;
    if (check_new(p, image, caption, line) < 0)
        return -1;
    p->pair[p->pairs++] =
        (struct pairs_pair){ .image = image, .file = file, .line = line, .caption = caption };
    return 0;
}

/* A pair that failed: the end of it all, or one line and on. */
static int bad(struct pairs *p, const char *file, int line)
{
    err_wrap("%s:%d", file, line);
    if (!p->skip_bad || (err_kind() != ERR_DATA && err_kind() != ERR_NOINPUT))
        return -1;
    p->say("%s; left out", err_msg());
    p->skipped++;
    err_clear();
    return 0;
}

/* ---- JSON lines ---- */

/* A relative path is from the file's directory on. */
static const char *resolve(struct pairs *p, const char *file, const char *path)
{
    const char *slash = strrchr(file, '/');
    if (*path == '/' || !slash)
        return path;
    size_t dir = (size_t)(slash - file) + 1, n = dir + strlen(path) + 1;
    char *s = arena_alloc(&p->mem, n);
    if (s)
        snprintf(s, n, "%.*s%s", (int)dir, file, path);
    return s;
}

static const char *get_str(const json_t *j, const char *key)
{
    const json_t *v = json_object_get(j, key);
    if (!v)
        return err_null(ERR_DATA, "no \"%s\", expected {\"image\": PATH, \"caption\": TEXT}",
                        key);
    if (!json_is_string(v) || strlen(json_string_value(v)) != json_string_length(v))
        return err_null(ERR_DATA, "\"%s\": expected a string", key);
    return json_string_value(v);
}

static int take_object(struct pairs *p, const json_t *j, const char *file, int line)
{
    if (!json_is_object(j))
        return err_set(ERR_DATA,
                       "not an object, expected {\"image\": PATH, \"caption\": TEXT}");
    const char *image = get_str(j, "image"), *caption = image ? get_str(j, "caption") : NULL;
    if (!caption || check_caption(caption, strlen(caption)) < 0)
        return -1;
    const char *path = resolve(p, file, image);
    if (!path)
        return -1;
    if (!io_is_file(path))
        return err_set(ERR_NOINPUT, "%s: no such file", path);
    int at = find_image(p, path, strlen(path), file, line);
    return at < 0 ? -1 : add_pair(p, at, caption, strlen(caption), file, line);
}

static int take_line(struct pairs *p, const char *s, size_t n, const char *file, int line)
{
    json_error_t why;
    if (strspn(s, " \t\r\n") == n)
        return 0;
    json_t *j = json_loadb(s, n, JSON_REJECT_DUPLICATES, &why);
    int rc = j ? take_object(p, j, file, line)
               : err_set(ERR_DATA, "not JSON at byte %d: %s", why.position, why.text);
    json_decref(j);
    return rc < 0 ? bad(p, file, line) : 0;
}

static int read_lines(struct pairs *p, const char *file)
{
    char *s = NULL;
    size_t cap = 0;
    ssize_t n;
    int rc = 0;
    FILE *f = fopen(file, "re");
    if (!f)
        return err_sys(ERR_NOINPUT, "%s", file);
    for (int line = 1; rc == 0 && (n = getline(&s, &cap, f)) >= 0; line++)
        rc = take_line(p, s, (size_t)n, file, line);
    if (rc == 0 && ferror(f))
        rc = err_sys(ERR_IO, "%s", file);
    free(s);
    fclose(f);
    return rc;
}

/* ---- streams ---- */

static int take_features(struct pairs *p, int image, const struct record *rec)
{
    char shape[TENSOR_SHAPE_MAX];
    struct tensor t;
    struct pairs_image *im = &p->image[image];
    int got = record_get_tensor(&t, rec, "image_embeds");
    if (got <= 0)
        return got < 0 ? -1 : err_set(ERR_DATA, "no image_embeds in the record");
    if (t.ndim != 2 || t.dim[0] < 1)
        return err_set(ERR_DATA, "image_embeds: shape %s, expected (S, E)",
                       tensor_shape_str(shape, t));
    if (tensor_check_finite(t, "image_embeds") < 0)
        return -1;
    float *f = arena_alloc(&p->mem, (size_t)tensor_count(t) * sizeof *f);
    if (!f)
        return -1;
    tensor_to_f32(f, t);
    im->features = tensor_2d(f, DT_F32, t.dim[0], t.dim[1]);
    im->path = NULL;
    return 0;
}

static int take_record(struct pairs *p, const struct record *rec, const char *file, int line)
{
    char own[32];
    const char *s, *id;
    size_t n, id_n;
    struct record_error e;
    if (record_get_error(&e, rec))
        return err_set(ERR_DATA, "%s: %s", e.stage, e.message);
    int got = record_get_str(&s, &n, rec, "text");
    if (got == 0)
        got = record_get_str(&s, &n, rec, "prompt");
    if (got <= 0)
        return got < 0 ? -1 : err_set(ERR_DATA, "no text or prompt in the record");
    if (check_caption(s, n) < 0)
        return -1;
    if (record_get_str(&id, &id_n, rec, "id") <= 0) {
        id_n = (size_t)snprintf(own, sizeof own, "record %d", line);
        id = own;
    }
    int images = p->images, at = find_image(p, id, id_n, file, line);
    if (at < 0)
        return -1;
    if (p->images > images && take_features(p, at, rec) < 0) {
        json_object_del(p->seen, p->image[--p->images].path);
        return -1;
    }
    return add_pair(p, at, s, n, file, line);
}

static int read_stream(struct pairs *p, const char *file)
{
    struct record rec;
    int fd = open(file, O_RDONLY | O_CLOEXEC), got = 1;
    struct wire_reader *in = fd < 0 ? NULL : wire_reader_new(fd, file, NULL);
    if (!in && fd < 0)
        return err_sys(ERR_NOINPUT, "%s", file);
    record_init(&rec);
    for (int line = 1; in && got > 0 && (got = wire_read(in, &rec)) > 0; line++)
        if (take_record(p, &rec, file, line) < 0 && bad(p, file, line) < 0)
            got = -1;
    record_release(&rec);
    wire_reader_free(in);
    close(fd);
    return in && got == 0 ? 0 : -1;
}

/* A stream's first byte is that of a map in msgpack; of JSON text, it is a brace or a blank. */
static int is_stream(const char *file)
{
    FILE *f = fopen(file, "re");
    if (!f)
        return err_sys(ERR_NOINPUT, "%s", file);
    int c = getc(f);
    fclose(f);
    return c != EOF && c >= 0x80;
}

int pairs_read(struct pairs *p, const char *name, double weight)
{
    if (!p->seen && !(p->seen = json_object()))
        return err_nomem("pairs");
    void *more = grow(p->set, p->sets, sizeof *p->set);
    const char *file = more ? arena_strndup(&p->mem, name, strlen(name)) : NULL;
    if (!file)
        return -1;
    p->set = more;
    p->set[p->sets] = (struct pairs_set){ weight, p->pairs, 0 };
    int stream = is_stream(file);
    if (stream < 0 || (stream ? read_stream(p, file) : read_lines(p, file)) < 0)
        return -1;
    struct pairs_set *s = &p->set[p->sets++];
    s->count = p->pairs - s->first;
    return s->count ? 0 : err_set(ERR_DATA, "%s: no pairs in it", file);
}

void pairs_release(struct pairs *p)
{
    arena_release(&p->mem);
    free(p->image);
    free(p->pair);
    free(p->set);
    json_decref(p->seen);
    *p = (struct pairs){ 0 };
}
