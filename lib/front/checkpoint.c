/* checkpoint.c - see checkpoint.h. */
#include "front/checkpoint.h"

#include "base/err.h"
#include "base/io.h"
#include "store/safetensors_out.h"
#include "store/weights.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_BYTES 4096
#define DIR_BYTES  (PATH_BYTES - 64)  /* a directory, with room for the names in it */
#define SMALL_FILE ((size_t)64 << 20) /* config, tokenizer: as large as they get */
#define FROZEN     "model-00001-of-00002.safetensors"
#define TRAINED    "model-00002-of-00002.safetensors"
#define MOMENTS    "training_state.safetensors"
#define STATE      "training_state.json"

/* ---- directories ---- */

static void join(char path[PATH_BYTES], const char *dir, const char *name)
{
    snprintf(path, PATH_BYTES, "%s/%s", dir, name);
}

/* Calls fn for each name in dir, but . and .. */
static int each(const char *dir, int (*fn)(void *ctx, const char *dir, const char *name),
                void *ctx)
{
    DIR *d = opendir(dir);
    int rc = 0;
    if (!d)
        return err_sys(ERR_IO, "%s", dir);
    for (struct dirent *e; rc == 0 && (e = readdir(d));)
        if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
            rc = fn(ctx, dir, e->d_name);
    closedir(d);
    return rc;
}

static int remove_file(void *ctx, const char *dir, const char *name)
{
    char path[PATH_BYTES];
    (void)ctx;
    join(path, dir, name);
    return unlink(path) < 0 ? err_sys(ERR_IO, "%s", path) : 0;
}

static int remove_dir(const char *dir)
{
    if (each(dir, remove_file, NULL) < 0)
        return -1;
    return rmdir(dir) < 0 ? err_sys(ERR_IO, "%s", dir) : 0;
}

static int sync_path(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC), rc = fd < 0 ? -1 : fsync(fd);
    int bad = rc < 0 ? err_sys(ERR_IO, "%s", path) : 0;
    if (fd >= 0)
        close(fd);
    return bad;
}

static int sync_file(void *ctx, const char *dir, const char *name)
{
    char path[PATH_BYTES];
    (void)ctx;
    join(path, dir, name);
    return sync_path(path);
}

/* The number in checkpoint-NUMBER, -1 for another name. */
static int64_t number_of(const char *name)
{
    long long n;
    char rest;
    return sscanf(name, "checkpoint-%lld%c", &n, &rest) == 1 && n >= 0 ? n : -1;
}

/* ---- which are there ---- */

struct found {
    int64_t *v;
    int n, cap;
};

static int note(void *ctx, const char *dir, const char *name)
{
    struct found *f = ctx;
    char path[PATH_BYTES];
    int64_t n = number_of(name);
    join(path, dir, name);
    if (!strncmp(name, ".checkpoint-", 12))
        return remove_dir(path);
    if (n < 0)
        return 0;
    if (f->n == f->cap) {
        int64_t *more = realloc(f->v, (size_t)(f->cap = 2 * f->cap + 8) * sizeof *more);
        if (!more)
            return err_nomem("a list");
        f->v = more;
    }
    f->v[f->n++] = n;
    return 0;
}

static int by_number(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int list(struct found *f, const char *out)
{
    *f = (struct found){ 0 };
    if (each(out, note, f) < 0)
        return -1;
    if (f->n)
        qsort(f->v, (size_t)f->n, sizeof *f->v, by_number);
    return 0;
}

int64_t checkpoint_newest(const struct checkpoint *c)
{
    struct found f;
    int64_t newest = list(&f, c->out) < 0 ? -2 : f.n ? f.v[f.n - 1] : -1;
    free(f.v);
    return newest;
}

/* All but the newest few; what cannot be removed stays. */
static void remove_old(const struct checkpoint *c)
{
    struct found f;
    char path[PATH_BYTES], gone[PATH_BYTES];
    if (list(&f, c->out) == 0)
        for (int i = 0; i < f.n - c->keep; i++) {
            snprintf(path, sizeof path, "%s/checkpoint-%06lld", c->out, (long long)f.v[i]);
            snprintf(gone, sizeof gone, "%s/.checkpoint-%06lld.old", c->out, (long long)f.v[i]);
            if (rename(path, gone) == 0)
                remove_dir(gone);
        }
    err_clear();
    free(f.v);
}

/* ---- writing ---- */

/* What Hugging Face's class has no name for goes into the training state. */
static bool is_ours(const char *name)
{
    return !strcmp(name, "temp") || !strncmp(name, "cls.", 4);
}

static bool is_trained(struct train *t, const char *name)
{
    size_t n;
    struct train_param *p = train_params(t, &n);
    for (size_t i = 0; i < n; i++)
        if (!strcmp(p[i].name, name))
            return true;
    return false;
}

static int frozen_path(char path[PATH_BYTES], const struct checkpoint *c)
{
    const char *print = store_fingerprint(c->store);
    if (print)
        snprintf(path, PATH_BYTES, "%s/.frozen-%.16s.safetensors", c->out, print);
    return print ? 0 : -1;
}

static int add_frozen(struct safetensors_out *o, const struct checkpoint *c,
                      const struct weights *w)
{
    const struct safetensors_entry *e;
    struct tensor t;
    for (size_t i = 0; (e = weights_at(w, i)); i++)
        if (!is_trained(c->train, e->name) &&
            (safetensors_tensor(&t, e) < 0 || safetensors_out_add(o, e->name, t) < 0))
            return -1;
    return 0;
}

/* What is not trained, in one file that all checkpoints share. */
static int make_frozen(const char *path, const struct checkpoint *c)
{
    struct safetensors_out o;
    if (io_is_file(path))
        return 0;
    struct weights *w = weights_open(c->model);
    if (!w)
        return -1;
    int rc = safetensors_out_open(&o, path);
    if (rc == 0 && (add_frozen(&o, c, w) < 0 || safetensors_out_finish(&o) < 0))
        rc = -1;
    safetensors_out_close(&o);
    weights_close(w);
    return rc;
}

static int put_frozen(const char *dir, const struct checkpoint *c)
{
    char frozen[PATH_BYTES], path[PATH_BYTES];
    join(path, dir, FROZEN);
    if (frozen_path(frozen, c) < 0 || make_frozen(frozen, c) < 0)
        return -1;
    return link(frozen, path) < 0 ? err_sys(ERR_IO, "%s", path) : 0;
}

static int add_moment(struct safetensors_out *o, const char *kind, const struct train_param *p,
                      void *v)
{
    char name[256];
    struct tensor t = p->value;
    t.data = v;
    snprintf(name, sizeof name, "%s.%s", kind, p->name);
    return safetensors_out_add(o, name, t);
}

static int add_param(struct safetensors_out *values, struct safetensors_out *state,
                     const struct train_param *p)
{
    if (safetensors_out_add(is_ours(p->name) ? state : values, p->name, p->value) < 0)
        return -1;
    return add_moment(state, "exp_avg", p, p->exp_avg) < 0 ||
                   add_moment(state, "exp_avg_sq", p, p->exp_avg_sq) < 0
               ? -1
               : 0;
}

static int put_trained(const char *dir, const struct checkpoint *c)
{
    char value_path[PATH_BYTES], state_path[PATH_BYTES];
    struct safetensors_out values, state;
    size_t n;
    struct train_param *p = train_params(c->train, &n);
    join(value_path, dir, TRAINED);
    join(state_path, dir, MOMENTS);
    if (safetensors_out_open(&values, value_path) < 0)
        return -1;
    int rc = safetensors_out_open(&state, state_path);
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = add_param(&values, &state, &p[i]);
    if (rc == 0 && (safetensors_out_finish(&values) < 0 || safetensors_out_finish(&state) < 0))
        rc = -1;
    safetensors_out_close(&values);
    safetensors_out_close(&state);
    return rc;
}

static int put_json(const char *dir, const char *name, json_t *j)
{
    char path[PATH_BYTES];
    char *text = j ? json_dumps(j, JSON_INDENT(1) | JSON_SORT_KEYS) : NULL;
    join(path, dir, name);
    if (!text)
        return err_nomem("JSON");
    int rc = io_write_file(path, text, strlen(text));
    free(text);
    return rc;
}

/* Which file holds which tensor. */
static int put_index(const char *dir, const struct checkpoint *c)
{
    const struct safetensors_entry *e;
    struct weights *w = weights_open(c->model);
    json_t *map = w ? json_object() : NULL;
    size_t n;
    struct train_param *p = train_params(c->train, &n);
    for (size_t i = 0; map && (e = weights_at(w, i)); i++)
        if (!is_trained(c->train, e->name))
            json_object_set_new(map, e->name, json_string(FROZEN));
    for (size_t i = 0; map && i < n; i++)
        if (!is_ours(p[i].name))
            json_object_set_new(map, p[i].name, json_string(TRAINED));
    weights_close(w);
    if (!map)
        return -1;
    json_t *index = json_pack("{s:{}, s:o}", "metadata", "weight_map", map);
    int rc = put_json(dir, "model.safetensors.index.json", index);
    json_decref(index);
    return rc;
}

/* config.json, the tokenizer, the preprocessing: all that is not weights. */
static int copy_small(void *ctx, const char *dir, const char *name)
{
    const char *to = ctx, *dot = strrchr(name, '.');
    char from[PATH_BYTES], path[PATH_BYTES];
    struct buf b = { 0 };
    bool wanted = dot && (!strcmp(dot, ".json") || !strcmp(dot, ".txt"));
    join(from, dir, name);
    join(path, to, name);
    if (!wanted || strstr(name, ".index.json") || !strcmp(name, STATE) || !io_is_file(from))
        return 0;
    int rc = io_read_file(&b, from, SMALL_FILE) < 0 || io_write_file(path, b.data, b.len) < 0
                 ? -1
                 : 0;
    buf_release(&b);
    return rc;
}

static int put_steps(json_t *state, struct train *t)
{
    size_t n;
    struct train_param *p = train_params(t, &n);
    json_t *steps = json_object();
    for (size_t i = 0; i < n; i++)
        json_object_set_new(steps, p[i].name, json_integer(p[i].steps));
    return json_object_set_new(state, "steps", steps) < 0 ? err_nomem("JSON") : 0;
}

static int fill(const char *dir, const struct checkpoint *c, json_t *state)
{
    if (each(c->model, copy_small, (void *)dir) < 0 || put_frozen(dir, c) < 0 ||
        put_trained(dir, c) < 0 || put_index(dir, c) < 0 || put_steps(state, c->train) < 0 ||
        put_json(dir, STATE, state) < 0)
        return -1;
    return each(dir, sync_file, NULL) < 0 ? -1 : sync_path(dir);
}

int checkpoint_write(const struct checkpoint *c, int64_t step, json_t *state)
{
    char path[DIR_BYTES], tmp[PATH_BYTES - 64];
    struct err_saved why;
    snprintf(path, sizeof path, "%s/checkpoint-%06lld", c->out, (long long)step);
    snprintf(tmp, sizeof tmp, "%s/.checkpoint-%06lld.tmp", c->out, (long long)step);
    if (io_is_dir(path))
        return 0; /* the run has been here before, with the same result */
    if (io_is_dir(tmp) && remove_dir(tmp) < 0)
        return -1;
    if (mkdir(tmp, 0777) < 0)
        return err_sys(ERR_IO, "%s", tmp);
    int rc = fill(tmp, c, state);
    if (rc == 0 && rename(tmp, path) < 0)
        rc = err_sys(ERR_IO, "%s", path);
    if (rc < 0) {
        err_save(&why);
        remove_dir(tmp);
        err_restore(&why);
        return -1;
    }
    if (sync_path(c->out) < 0)
        return -1;
    remove_old(c);
    return 0;
}

/* ---- reading ---- */

static int copy_tensor(float *to, const struct safetensors *f, const char *name,
                       struct tensor like)
{
    struct tensor t;
    for (size_t i = 0; i < f->count; i++)
        if (!strcmp(f->entries[i].name, name)) {
            if (safetensors_tensor(&t, &f->entries[i]) < 0)
                return -1;
            if (t.dtype != DT_F32 || !tensor_same_shape(t, like))
                return err_set(ERR_DATA, "%s: %s: another type or shape", f->path, name);
            memcpy(to, t.data, tensor_bytes(t));
            return 0;
        }
    return err_set(ERR_DATA, "%s: no %s in it", f->path, name);
}

static int take_param(struct train_param *p, const struct safetensors *values,
                      const struct safetensors *state)
{
    char avg[256], sq[256];
    snprintf(avg, sizeof avg, "exp_avg.%s", p->name);
    snprintf(sq, sizeof sq, "exp_avg_sq.%s", p->name);
    if (copy_tensor(p->value.data, is_ours(p->name) ? state : values, p->name, p->value) < 0 ||
        copy_tensor(p->exp_avg, state, avg, p->value) < 0 ||
        copy_tensor(p->exp_avg_sq, state, sq, p->value) < 0)
        return -1;
    return 0;
}

static int take_params(const char *dir, struct train *t)
{
    char value_path[PATH_BYTES], state_path[PATH_BYTES];
    struct safetensors values = { 0 }, state = { 0 };
    struct arena mem = { 0 };
    size_t n;
    struct train_param *p = train_params(t, &n);
    join(value_path, dir, TRAINED);
    join(state_path, dir, MOMENTS);
    int rc = safetensors_open(&values, value_path, &mem);
    if (rc == 0) {
        rc = safetensors_open(&state, state_path, &mem);
        for (size_t i = 0; rc == 0 && i < n; i++)
            rc = take_param(&p[i], &values, &state);
        safetensors_close(&state);
    }
    safetensors_close(&values);
    arena_release(&mem);
    return rc;
}

static int take_steps(struct train *t, const json_t *state, const char *path)
{
    size_t n;
    struct train_param *p = train_params(t, &n);
    const json_t *steps = json_object_get(state, "steps");
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_object_get(steps, p[i].name);
        if (!json_is_integer(v))
            return err_set(ERR_DATA, "%s: no steps of %s", path, p[i].name);
        p[i].steps = json_integer_value(v);
    }
    return 0;
}

int checkpoint_read(const struct checkpoint *c, int64_t step, json_t **state)
{
    char dir[DIR_BYTES], path[PATH_BYTES];
    json_error_t why;
    snprintf(dir, sizeof dir, "%s/checkpoint-%06lld", c->out, (long long)step);
    join(path, dir, STATE);
    *state = json_load_file(path, 0, &why);
    if (!*state)
        return err_set(ERR_DATA, "%s: %s", path, why.text);
    return take_params(dir, c->train) < 0 ? -1 : take_steps(c->train, *state, path);
}
