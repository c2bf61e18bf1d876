/* weights.c - see weights.h. */
#include "store/weights.h"

#include "base/err.h"
#include "base/io.h"
#include "base/math.h"
#include "store/json.h"

#include <glob.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INDEX      "model.safetensors.index.json"
#define INDEX_MAX  ((size_t)64 << 20)
#define SHARDS_MAX 1024

struct weights {
    const char *dir;
    struct arena mem; /* names, entries */
    struct safetensors *file;
    int files;
    const struct safetensors_entry **entry; /* all files', sorted by name */
    size_t count;
};

static char *join(struct arena *mem, const char *dir, const char *name)
{
    size_t n = strlen(dir) + strlen(name) + 2;
    char *path = arena_alloc(mem, n);
    if (path)
        snprintf(path, n, "%s/%s", dir, name);
    return path;
}

/* ---- which files ---- */

static int open_file(struct weights *w, const char *path)
{
    if (safetensors_open(&w->file[w->files], path, &w->mem) < 0)
        return -1;
    w->files++;
    return 0;
}

/* A file name and nothing else: an index cannot lead out of its directory. */
static bool is_plain_name(const char *name)
{
    return name && *name && *name != '.' && !strchr(name, '/');
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The different values of weight_map, sorted. */
static int shard_names(const char ***names, int *n, struct weights *w, const json_t *map)
{
    const char *key;
    json_t *value;
    size_t all = 0, unique = 0;
    const char **v = arena_calloc(&w->mem, json_object_size(map) + 1, sizeof *v);
    if (!v)
        return -1;
    json_object_foreach((json_t *)map, key, value)
    {
        v[all] = json_string_value(value);
        if (!is_plain_name(v[all++]))
            return err_set(ERR_DATA, "weight_map: %s: expected a file name", key);
    }
    qsort(v, all, sizeof *v, compare_names);
    for (size_t i = 0; i < all; i++)
        if (i == 0 || strcmp(v[i], v[unique - 1]))
            v[unique++] = v[i];
    if (unique == 0 || unique > SHARDS_MAX)
        return err_set(ERR_DATA, "weight_map: %zu files, expected 1 to %d", unique, SHARDS_MAX);
    *names = v;
    *n = (int)unique;
    return 0;
}

static int open_shards(struct weights *w, const char **names, int n, const char *index)
{
    w->file = arena_calloc(&w->mem, (size_t)n, sizeof *w->file);
    if (!w->file)
        return -1;
    for (int i = 0; i < n; i++) {
        char *path = join(&w->mem, w->dir, names[i]);
        if (!path)
            return -1;
        if (!io_is_file(path))
            return err_set(ERR_NOINPUT, "%s: missing shard, one of %d that %s names", path, n,
                           index);
        if (open_file(w, path) < 0)
            return -1;
    }
    return 0;
}

/* ---- all tensors by name ---- */

static int compare_entries(const void *a, const void *b)
{
    const struct safetensors_entry *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static int collect(struct weights *w)
{
    size_t n = 0;
    for (int i = 0; i < w->files; i++)
        n += w->file[i].count;
    w->entry = arena_calloc(&w->mem, n + 1, sizeof *w->entry);
    if (!w->entry)
        return -1;
    for (int i = 0; i < w->files; i++)
        for (size_t k = 0; k < w->file[i].count; k++)
            w->entry[w->count++] = &w->file[i].entries[k];
    qsort(w->entry, n, sizeof *w->entry, compare_entries);
    for (size_t i = 1; i < n; i++)
        if (!strcmp(w->entry[i - 1]->name, w->entry[i]->name))
            return err_set(ERR_DATA, "%s: tensor %s is in two files", w->dir,
                           w->entry[i]->name);
    return 0;
}

const struct safetensors_entry *weights_find(const struct weights *w, const char *name)
{
    const struct safetensors_entry want = { .name = name }, *key = &want;
    const struct safetensors_entry **found = bsearch(&key, w->entry, w->count, sizeof *w->entry,
                                                     compare_entries);
    return found ? *found : NULL;
}

/* Every tensor of the index is in the file the index says. */
static int check_index(const struct weights *w, const json_t *map)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)map, name, value)
    {
        const char *shard = json_string_value(value);
        const struct safetensors_entry *e = weights_find(w, name);
        int at = 0;
        while (e && (e < w->file[at].entries || e >= w->file[at].entries + w->file[at].count))
            at++;
        if (!e || strcmp(strrchr(w->file[at].path, '/') + 1, shard))
            return err_set(ERR_DATA, "tensor %s: not in %s", name, shard);
    }
    return 0;
}

/* ---- opening ---- */

static int open_index(struct weights *w, const char *index)
{
    json_t *j = store_json_read(index, INDEX_MAX, 8);
    if (!j)
        return -1;
    const json_t *map = json_object_get(j, "weight_map");
    const char **names = NULL;
    int n = 0, rc = shard_names(&names, &n, w, map);
    if (rc < 0)
        err_wrap("%s", index);
    if (rc == 0 && (rc = open_shards(w, names, n, INDEX)) == 0 && (rc = collect(w)) == 0 &&
        (rc = check_index(w, map)) < 0)
        err_wrap("%s", index);
    json_decref(j);
    return rc;
}

/* Nothing we read is there: what is, if it helps. */
static int no_weights(const char *dir, struct arena *mem)
{
    glob_t g;
    char *pattern = join(mem, dir, "*.bin");
    if (!pattern)
        return -1;
    bool pickle = glob(pattern, GLOB_NOSORT, NULL, &g) == 0;
    globfree(&g);
    return pickle ? err_set(ERR_NOINPUT,
                            "%s: no model.safetensors, only .bin files, which are "
                            "pickles and never read; in Python, "
                            "save_pretrained(DIR, safe_serialization=True) "
                            "converts them",
                            dir)
                  : err_set(ERR_NOINPUT, "%s: no model.safetensors and no " INDEX, dir);
}

static int open_all(struct weights *w)
{
    char *single = join(&w->mem, w->dir, "model.safetensors");
    char *index = join(&w->mem, w->dir, INDEX);
    if (!single || !index)
        return -1;
    if (io_is_file(single)) {
        w->file = arena_calloc(&w->mem, 1, sizeof *w->file);
        return w->file && open_file(w, single) == 0 ? collect(w) : -1;
    }
    return io_is_file(index) ? open_index(w, index) : no_weights(w->dir, &w->mem);
}

struct weights *weights_open(const char *dir)
{
    struct weights *w = calloc(1, sizeof *w);
    if (!w)
        return err_null(ERR_OS, "out of memory opening %s", dir);
    arena_init(&w->mem);
    w->dir = dir;
    if (open_all(w) == 0)
        return w;
    weights_close(w);
    return NULL;
}

void weights_close(struct weights *w)
{
    if (!w)
        return;
    for (int i = 0; i < w->files; i++)
        safetensors_close(&w->file[i]);
    arena_release(&w->mem);
    free(w);
}

void weights_forget(const struct weights *w)
{
    for (int i = 0; i < w->files; i++)
        io_map_forget(&w->file[i].map);
}

/* ---- fingerprint ---- */

#define SAMPLES 64
#define SAMPLE  4096

static void digest_file(struct sha256 *h, const struct safetensors *f)
{
    const unsigned char *p = f->map.data + f->data;
    size_t n = f->map.len - f->data;
    sha256_update(h, f->map.data, f->data);
    if (n <= (size_t)SAMPLES * SAMPLE) {
        sha256_update(h, p, n);
        return;
    }
    size_t span = n - SAMPLE; /* the last sample is the last bytes of the file */
    for (size_t i = 0; i < SAMPLES; i++) {
        sha256_update(
            h, p + span / (SAMPLES - 1) * i + span % (SAMPLES - 1) * i / (SAMPLES - 1), SAMPLE);
        io_map_forget(&f->map); /* a look at 4096 bytes may map 2 MiB */
    }
}

static const struct safetensors *file_of(const struct weights *w,
                                         const struct safetensors_entry *e)
{
    int at = 0;
    while (e < w->file[at].entries || e >= w->file[at].entries + w->file[at].count)
        at++;
    return &w->file[at];
}

static void digest_entry(struct sha256 *h, const struct safetensors *f,
                         const struct safetensors_entry *e)
{
    char line[1024], shape[TENSOR_SHAPE_MAX];
    int n = snprintf(line, sizeof line, "%.700s %s %s %zu\n", e->name, e->dtype,
                     tensor_shape_str(shape, e->tensor), e->end - e->begin);
    sha256_update(h, line, (size_t)n);
    sha256_update(h, f->map.data + f->data + e->begin, e->end - e->begin);
    io_map_forget(&f->map); /* whoever only wants to know needs no memory for it */
}

size_t weights_digest_part(struct sha256 *h, const struct weights *w, const char *prefix)
{
    size_t n = 0;
    for (size_t i = 0; i < w->count; i++)
        if (!strncmp(w->entry[i]->name, prefix, strlen(prefix))) {
            digest_entry(h, file_of(w, w->entry[i]), w->entry[i]);
            n++;
        }
    return n;
}

const struct safetensors_entry *weights_at(const struct weights *w, size_t i)
{
    return i < w->count ? w->entry[i] : NULL;
}

void weights_digest(struct sha256 *h, const struct weights *w)
{
    for (int i = 0; i < w->files; i++) {
        const char *name = strrchr(w->file[i].path, '/') + 1;
        char line[512];
        int n = snprintf(line, sizeof line, "%s %zu\n", name, w->file[i].map.len);
        sha256_update(h, line, math_min(n, (int)sizeof line - 1));
        digest_file(h, &w->file[i]);
    }
}
