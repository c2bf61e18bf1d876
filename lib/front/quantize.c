/* quantize.c - the tensors: see quantize.h. What is written besides is in quantize_files.c. */
#include "front/quantize.h"

#include "base/err.h"
#include "base/io.h"
#include "base/signals.h"
#include "cli/die.h"
#include "cli/env.h"
#include "front/line.h"
#include "front/model.h"
#include "store/safetensors_out.h"

#include <dirent.h>
#include <fnmatch.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SHARD ((size_t)2 << 30) /* bytes of a file, about */

/* Where the writing is: which shard, how much is in it. */
struct place {
    int shard;
    size_t bytes;
};

struct job {
    const struct quantize *a;
    struct store *store;
    struct pool *pool;
    struct quantize_text text;
    char tmp[4096]; /* the directory while it is made; "" before */

    /* counted before anything is written */
    int shards, layers, tensors;
    struct buf ignored;

    /* while it is written */
    struct place at;
    struct safetensors_out out;
    char out_path[4160];
    struct buf index; /* name NUL shard NUL ... */
    int done;
    time_t told;
    struct arena mem; /* of the tensor at hand */
};

/* ---- which tensors ---- */

static bool ends_in(const char *name, const char *end)
{
    size_t n = strlen(name), m = strlen(end);
    return n >= m && !strcmp(name + n - m, end);
}

/* A matrix that is multiplied with, and no table: the small heads of retrieval are left alone.
 */
static bool is_linear(const char *name, struct tensor t)
{
    static const char *const others[] = { "embed", "head", "text_projection",
                                          "vision_projection", "visual_projection" };
    if (t.ndim != 2 || !ends_in(name, ".weight"))
        return false;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strstr(name, others[i]))
            return false;
    return true;
}

static bool is_ignored(const struct quantize *a, const char *name)
{
    char layer[512];
    snprintf(layer, sizeof layer, "%.*s", (int)(strlen(name) - strlen(".weight")), name);
    for (int i = 0; i < a->ignore.n; i++)
        if (fnmatch(a->ignore.v[i], layer, 0) == 0)
            return true;
    return false;
}

/* One that a ReLU stands before. */
static bool is_turned(const struct quantize *a, const struct quantize_text *text,
                      const char *name, struct tensor t)
{
    struct tensor codes, scale;
    if (!text->relu || !strstr(name, "decoder.layers.") || !ends_in(name, ".fc2.weight"))
        return false;
    quant_shapes(&codes, &scale, &a->q, t);
    return quant_turns(codes);
}

enum quantize_kind quantize_kind(const struct quantize *a, const struct quantize_text *text,
                                 const char *name, struct tensor t)
{
    const struct quant int8 = { .scheme = QUANT_INT8 };
    const char *head = text->tied ? "decoder.embed_tokens.weight" : "lm_head.weight";
    if (ends_in(name, head) && quant_fits(&int8, t) && a->q.scheme != QUANT_BF16)
        return QUANTIZE_HEAD;
    if (!is_linear(name, t))
        return t.ndim == 2 && ends_in(name, ".weight") && !strstr(name, "embed")
                   ? QUANTIZE_SKIP
                   : QUANTIZE_COPY;
    if (!quant_fits(&a->q, t) || is_ignored(a, name))
        return QUANTIZE_SKIP;
    return is_turned(a, text, name, t) ? QUANTIZE_TURNED : QUANTIZE_LINEAR;
}

/* Bytes that the tensor takes in the new checkpoint. */
static size_t bytes_of(const struct quantize *a, enum quantize_kind kind, struct tensor t)
{
    const struct quant int8 = { .scheme = QUANT_INT8 };
    struct tensor codes, scale;
    if (kind == QUANTIZE_COPY || kind == QUANTIZE_SKIP)
        return tensor_bytes(t);
    quant_shapes(&codes, &scale, kind == QUANTIZE_HEAD ? &int8 : &a->q, t);
    return tensor_bytes(codes) + tensor_bytes(scale) +
           (kind == QUANTIZE_HEAD     ? tensor_bytes(t) + tensor_bytes(scale)
            : kind == QUANTIZE_TURNED ? tensor_bytes(codes)
                                      : 0);
}

/* Moves to where n more bytes go; true if that is another file. */
static bool advance(struct place *p, size_t n, uint64_t shard)
{
    bool turn = p->bytes && p->bytes + n > (shard ? shard : SHARD);
    p->shard += turn;
    p->bytes = (turn ? 0 : p->bytes) + n;
    return turn;
}

static int count_one(void *ctx, const char *name, struct tensor t)
{
    struct job *j = ctx;
    enum quantize_kind kind = quantize_kind(j->a, &j->text, name, t);
    advance(&j->at, bytes_of(j->a, kind, t), j->a->shard);
    j->tensors++;
    j->layers += kind == QUANTIZE_LINEAR || kind == QUANTIZE_TURNED;
    if (kind != QUANTIZE_SKIP)
        return 0;
    return buf_append(&j->ignored, name, strlen(name) - strlen(".weight")) < 0 ||
                   buf_putc(&j->ignored, '\0') < 0
               ? -1
               : 0;
}

static int none_fits(const struct job *j)
{
    char rows[64] = "";
    if (j->a->q.scheme == QUANT_INT4)
        snprintf(rows, sizeof rows, ", which takes rows of whole groups of %lld",
                 (long long)j->a->q.group);
    return err_set(ERR_CONFIG, "%s: no linear layer that can be %s%s", store_dir(j->store),
                   quant_words[j->a->q.scheme], rows);
}

static int plan(struct job *j)
{
    if (store_each(j->store, count_one, j) < 0)
        return -1;
    j->shards = j->at.shard + 1;
    j->at = (struct place){ 0 };
    return j->layers ? 0 : none_fits(j);
}

/* ---- writing tensors ---- */

static void file_name(char name[64], const struct job *j, int shard)
{
    if (j->shards == 1)
        snprintf(name, 64, "model.safetensors");
    else
        snprintf(name, 64, "model-%05d-of-%05d.safetensors", shard + 1, j->shards);
}

static int open_file(struct job *j)
{
    char name[64];
    file_name(name, j, j->at.shard);
    snprintf(j->out_path, sizeof j->out_path, "%s/%s", j->tmp, name);
    return safetensors_out_open(&j->out, j->out_path);
}

static int close_file(struct job *j)
{
    int rc = safetensors_out_finish(&j->out);
    safetensors_out_close(&j->out);
    j->out = (struct safetensors_out){ .data_fd = -1 };
    return rc;
}

static int put(struct job *j, const char *name, const char *suffix, struct tensor t)
{
    char full[600], file[64];
    snprintf(full, sizeof full, "%s%s", name, suffix);
    file_name(file, j, j->at.shard);
    if (safetensors_out_add(&j->out, full, t) < 0)
        return err_wrap("%s", j->out_path);
    return buf_append(&j->index, full, strlen(full) + 1) < 0
               ? -1
               : buf_append(&j->index, file, strlen(file) + 1);
}

static int quantize(struct tensor *codes, struct tensor *scale, struct job *j,
                    const struct quant *q, const char *name, struct tensor t)
{
    quant_shapes(codes, scale, q, t);
    codes->data = arena_alloc(&j->mem, tensor_bytes(*codes));
    scale->data = arena_alloc(&j->mem, tensor_bytes(*scale));
    if (!codes->data || !scale->data)
        return -1;
    return quant_fill(*codes, *scale, t, j->pool) < 0 ? err_wrap("%s", name) : 0;
}

static int put_head(struct job *j, const char *name, struct tensor t)
{
    const struct quant int8 = { .scheme = QUANT_INT8 };
    struct tensor codes, scale, size = tensor_2d(NULL, DT_F32, t.dim[0], 1);
    size.data = arena_alloc(&j->mem, tensor_bytes(size));
    if (!size.data || quant_sizes(size.data, t, j->pool) < 0 ||
        quantize(&codes, &scale, j, &int8, name, t) < 0)
        return -1;
    if (put(j, name, "", t) < 0 || put(j, name, "_int8", codes) < 0 ||
        put(j, name, "_int8_scale", scale) < 0)
        return -1;
    return put(j, name, "_int8_size", size);
}

static int put_linear(struct job *j, const char *name, struct tensor t)
{
    struct tensor codes, scale;
    if (quantize(&codes, &scale, j, &j->a->q, name, t) < 0)
        return -1;
    if (codes.dtype == DT_BF16)
        return put(j, name, "", codes);
    if (codes.dtype == DT_I8)
        return put(j, name, "", codes) < 0 ? -1 : put(j, name, "_scale", scale);
    struct tensor packed = tensor_2d(codes.data, DT_I32, codes.dim[0], codes.dim[1] / 8);
    return put(j, name, "_packed", packed) < 0 || put(j, name, "_scale", scale) < 0
               ? -1
               : put(j, name, "_shape", tensor_1d(codes.dim, DT_I64, 2));
}

static int put_turned(struct job *j, const char *name, struct tensor t)
{
    struct tensor codes, scale, turned = tensor_2d(NULL, DT_I8, t.dim[1], t.dim[0]);
    if (quantize(&codes, &scale, j, &j->a->q, name, t) < 0)
        return -1;
    turned.data = arena_alloc(&j->mem, tensor_bytes(turned));
    if (!turned.data)
        return -1;
    quant_turn(turned.data, codes, j->pool);
    if (put(j, name, "", codes) < 0 || put(j, name, "_by_input", turned) < 0)
        return -1;
    return put(j, name, "_scale", scale);
}

/* The signal that ends it after the next tensor, so that the directory can be taken away. */
static volatile sig_atomic_t stopped;

static void on_signal(int sig)
{
    stopped = sig;
}

/* The end that it would have been, if nothing had had to be taken away first. */
static void end_by_signal(void)
{
    signal(stopped, SIG_DFL);
    raise(stopped);
}

static void tell(struct job *j, bool last)
{
    time_t now = time(NULL);
    if (!line_seen() || (now == j->told && !last))
        return;
    j->told = now;
    if (last)
        line_clear();
    else
        line_show("%d of %d tensors", j->done, j->tensors);
}

static int put_one(void *ctx, const char *name, struct tensor t)
{
    struct job *j = ctx;
    if (stopped)
        return err_set(ERR_TEMP, "stopped by a signal");
    enum quantize_kind kind = quantize_kind(j->a, &j->text, name, t);
    bool turn = advance(&j->at, bytes_of(j->a, kind, t), j->a->shard);
    if (turn && (close_file(j) < 0 || open_file(j) < 0))
        return -1;
    j->done++;
    tell(j, false);
    arena_reset(&j->mem);
    if (store_even(&t, j->store, name, &j->mem) < 0)
        return -1;
    return kind == QUANTIZE_LINEAR   ? put_linear(j, name, t)
           : kind == QUANTIZE_TURNED ? put_turned(j, name, t)
           : kind == QUANTIZE_HEAD   ? put_head(j, name, t)
                                     : put(j, name, "", t);
}

static int write_weights(struct job *j)
{
    int rc = open_file(j) < 0 || store_each(j->store, put_one, j) < 0 || close_file(j) < 0;
    tell(j, true);
    if (rc)
        return -1;
    return j->shards > 1 ? quantize_write_index(j->tmp, &j->index) : 0;
}

/* ---- the directory ---- */

static int write_config(const struct job *j)
{
    char path[4160];
    struct buf text = { 0 };
    snprintf(path, sizeof path, "%s/config.json", j->tmp);
    int rc = quantize_config(&text, store_dir(j->store), &j->a->q, &j->ignored);
    if (rc == 0)
        rc = io_write_file(path, text.data, text.len);
    buf_release(&text);
    return rc;
}

/* Beside its place, so that the name appears when all of it is there. */
static int make_directory(struct job *j)
{
    char host[65] = "";
    struct stat st;
    size_t len = strlen(j->a->dir);
    while (len > 1 && j->a->dir[len - 1] == '/')
        len--;
    gethostname(host, sizeof host - 1);
    if (lstat(j->a->dir, &st) == 0)
        return err_set(ERR_IO, "%s: exists, expected a new name", j->a->dir);
    int n = snprintf(j->tmp, sizeof j->tmp, "%.*s.tmp.%s.%ld", (int)len, j->a->dir, host,
                     (long)getpid());
    if (n < 0 || (size_t)n >= sizeof j->tmp || mkdir(j->tmp, 0777) < 0) {
        j->tmp[0] = '\0';
        return err_sys(ERR_IO, "%s", j->a->dir);
    }
    return 0;
}

static void remove_directory(const char *dir)
{
    DIR *d = opendir(dir);
    for (const struct dirent *e; d && (e = readdir(d));)
        if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
            unlinkat(dirfd(d), e->d_name, 0);
    if (d)
        closedir(d);
    rmdir(dir);
}

static int write_all(struct job *j)
{
    if (make_directory(j) < 0 || write_weights(j) < 0 || write_config(j) < 0 ||
        quantize_copy_files(store_dir(j->store), j->tmp) < 0)
        return -1;
    if (rename(j->tmp, j->a->dir) < 0)
        return err_sys(ERR_IO, "%s", j->a->dir);
    j->tmp[0] = '\0';
    return 0;
}

/* ---- all of it ---- */

static int open_model(struct job *j)
{
    static const struct store_config tied[] = {
        STORE_CONFIG_BOOL(struct quantize_text, tied, "tie_word_embeddings", true),
        STORE_CONFIG_END,
    };
    char dir[4096];
    if (front_model(dir, sizeof dir, j->a->model) < 0 || !(j->store = store_open(dir)))
        return -1;
    if (store_config_has(j->store, "", "quantization_config"))
        return err_set(ERR_CONFIG, "%s: quantised already", dir);
    const char *text = store_config_has(j->store, "text_config", "vocab_size") ? "text_config"
                                                                               : "";
    if (store_config(&j->text, j->store, text, tied) < 0)
        return -1;
    const char *act = store_config_str(j->store, text, "activation_function");
    j->text.relu = !*act || !strcmp(act, "relu");
    j->pool = pool_new(env_threads(j->a->threads));
    if (j->pool)
        store_quantize(j->store, j->a->q, j->pool, NULL, NULL);
    return j->pool ? 0 : -1;
}

static int check_ignore(const struct job *j)
{
    return j->a->ignore.n && !j->ignored.len
               ? err_set(ERR_USAGE, "--ignore %s: no layer of that name", j->a->ignore.v[0])
               : 0;
}

int quantize_run(const struct quantize *a)
{
    struct job j = { .a = a, .out.data_fd = -1 };
    signals_catch(on_signal);
    int rc = open_model(&j);
    if (rc == 0 && (rc = plan(&j)) == 0 && (rc = check_ignore(&j)) == 0)
        rc = write_all(&j);
    if (rc == 0 && a->verbose)
        cli_warn("%d of %d tensors are %s now, in %d file%s", j.layers, j.tensors,
                 quant_words[a->q.scheme], j.shards, j.shards == 1 ? "" : "s");
    safetensors_out_close(&j.out);
    if (j.tmp[0])
        remove_directory(j.tmp);
    buf_release(&j.ignored);
    buf_release(&j.index);
    arena_release(&j.mem);
    pool_free(j.pool);
    store_close(j.store);
    if (rc < 0 && stopped)
        end_by_signal();
    return rc;
}
