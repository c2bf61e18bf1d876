/* embed.c - see embed.h. */
#include "front/embed.h"

#include "base/buf.h"
#include "base/err.h"
#include "cli/die.h"
#include "front/batch.h"
#include "front/format.h"
#include "front/model.h"
#include "front/progress.h"
#include "front/stages.h"
#include "store/npy.h"
#include "store/store.h"
#include "wire/wire.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum pooling { POOL_CLS, POOL_MEAN, POOL_ITC };
static const char *const pool_words[] = { "cls", "mean", "itc", NULL };

struct embed {
    struct stages_common common;
    struct batch_args batch;
    struct stages_images images;
    bool verbose;
    int pool;
    struct progress progress;

    FILE *npy;
    int64_t Q, D; /* a row is (D), with itc (Q, D) */
    int64_t rows;
    float *row; /* (D) */
};

static const struct opt opts[] = {
    STAGES_COMMON_OPTS(struct embed, common),
    STAGES_IMAGES_OPTS(struct embed, images),
    OPT_CHOICE(struct embed, pool, 0, "pool", "WORD", pool_words,
               "cls (default), mean (of the patches) or itc (to search)"),
    BATCH_OPTS(struct embed, batch),
    OPT_FLAG(struct embed, verbose, 'v', "verbose", "show the pipeline, and counts"),
    OPT_END
};

/* ---- vectors ---- */

/* Of image_embeds (S, D): the class token is row 0, the patches are the others. */
static int pool(struct embed *e, struct tensor t)
{
    char shape[TENSOR_SHAPE_MAX];
    if (t.dtype != DT_F32 || t.ndim != 2 || t.dim[0] < 2 || t.dim[1] != e->D)
        return err_set(ERR_DATA, "image_embeds: shape %s, expected (S, %lld) of f32",
                       tensor_shape_str(shape, t), (long long)e->D);
    const float *f = t.data;
    for (int64_t d = 0; d < e->D; d++) {
        double sum = 0;
        for (int64_t s = 1; e->pool == POOL_MEAN && s < t.dim[0]; s++)
            sum += (double)f[s * e->D + d];
        e->row[d] = e->pool == POOL_MEAN ? (float)(sum / (double)(t.dim[0] - 1)) : f[d];
    }
    return 0;
}

/* Of image_embeds_proj (Q, D): all of it. */
static int check_proj(const struct embed *e, struct tensor t)
{
    char shape[TENSOR_SHAPE_MAX];
    if (t.dtype == DT_F32 && t.ndim == 2 && t.dim[0] == e->Q && t.dim[1] == e->D)
        return 0;
    return err_set(ERR_DATA, "image_embeds_proj: shape %s, expected (%lld, %lld) of f32",
                   tensor_shape_str(shape, t), (long long)e->Q, (long long)e->D);
}

/* A row of the matrix; the record keeps its number. */
static int put_row(struct embed *e, struct record *rec)
{
    const char *field = e->pool == POOL_ITC ? "image_embeds_proj" : "image_embeds";
    struct tensor t;
    int got = record_get_tensor(&t, rec, field);
    if (got <= 0)
        return got < 0 ? -1 : err_set(ERR_DATA, "no %s in the record", field);
    if ((e->pool == POOL_ITC ? check_proj(e, t) : pool(e, t)) < 0)
        return -1;
    const void *row = e->pool == POOL_ITC ? t.data : e->row;
    size_t n = (size_t)(e->Q * e->D);
    if (fwrite(row, sizeof *e->row, n, e->npy) != n)
        return err_sys(ERR_IO, ".npy");
    return record_put_int(rec, "row", e->rows++);
}

/* The header says how many rows there are, so it is written again at the end. */
static int put_header(struct embed *e)
{
    unsigned char header[NPY_HEADER];
    npy_header(header,
               e->pool == POOL_ITC ? tensor_2d(NULL, DT_F32, e->Q, e->D)
                                   : tensor_1d(NULL, DT_F32, e->D),
               e->rows);
    rewind(e->npy);
    if (fwrite(header, 1, sizeof header, e->npy) != sizeof header || fflush(e->npy))
        return err_sys(ERR_IO, ".npy");
    return 0;
}

/* ---- a part ---- */

static int read_rows(struct embed *e, struct format *o, int fd)
{
    struct wire_reader *in = wire_reader_new(fd, "the pipeline", NULL);
    struct record rec;
    record_init(&rec);
    int rc = in ? 1 : -1;
    while (rc > 0 && (rc = wire_read(in, &rec)) > 0) {
        if ((!record_is_error(&rec) && put_row(e, &rec) < 0) ||
            format_record(o, &rec, NULL) < 0)
            rc = -1;
        progress_step(&e->progress);
    }
    record_release(&rec);
    wire_reader_free(in);
    return rc;
}

static void make_pipeline(struct pipeline *p, const struct embed *e)
{
    pipeline_init(p);
    stages_img_encode(p, &e->common);
    pipeline_opt(p, "--resize", e->images.resize);
    stages_images(p, &e->images);
    if (e->pool != POOL_ITC)
        return;
    stages_match(p, &e->common);
    pipeline_arg(p, "--features");
}

static void show(const struct embed *e)
{
    struct pipeline p;
    make_pipeline(&p, e);
    if (stages_show(&p) < 0)
        cli_die();
    pipeline_release(&p);
}

static int fill_part(struct embed *e, struct format *o, uint64_t images)
{
    struct pipeline p;
    if (e->verbose)
        show(e);
    progress_begin(&e->progress, images);
    e->images.tally = *e->progress.path ? e->progress.path : NULL;
    make_pipeline(&p, e);
    if (pipeline_start(&p, false) < 0)
        cli_die();
    batch_stop_on_signal(&p);
    return batch_wait(&p, read_rows(e, o, p.out));
}

/* The width of a row, also where there is none. */
static int find_width(struct embed *e)
{
    static const struct store_config keys[] = {
        STORE_CONFIG_INT(struct embed, D, "hidden_size", 1408, 1, 65536), STORE_CONFIG_END
    };
    static const struct store_config itc_keys[] = {
        STORE_CONFIG_INT(struct embed, Q, "num_query_tokens", 32, 1, 4096),
        STORE_CONFIG_INT(struct embed, D, "image_text_hidden_size", 256, 1, 16384),
        STORE_CONFIG_END
    };
    char dir[4096];
    if (front_model(dir, sizeof dir, e->common.model) < 0)
        return -1;
    struct store *s = store_open(dir);
    if (!s)
        return -1;
    bool whole = !store_config_has(s, "", "vision_config") &&
                 store_config_has(s, "", "hidden_size");
    e->Q = 1;
    int rc = e->pool == POOL_ITC ? store_config(e, s, "", itc_keys)
                                 : store_config(e, s, whole ? "" : "vision_config", keys);
    store_close(s);
    e->row = rc == 0 ? malloc((size_t)e->D * sizeof *e->row) : NULL;
    return rc < 0 ? -1 : e->row ? 0 : err_nomem("a row");
}

static int do_part(struct embed *e, struct batch *b)
{
    struct format o = { .kind = FORMAT_JSONL, .keys = { "image", "prompt", "text" } };
    o.f = batch_create(b, ".jsonl");
    e->npy = o.f ? batch_create(b, ".npy") : NULL;
    batch_images(b, &e->images);
    if (!e->npy || find_width(e) < 0 || put_header(e) < 0)
        return -1;
    format_begin(&o);
    if ((b->images && fill_part(e, &o, b->images) < 0) || format_end(&o) < 0 ||
        put_header(e) < 0 || batch_publish(b, o.records, o.errors) < 0)
        return -1;
    if (b->images)
        progress_end(&e->progress, (uint64_t)e->rows, "vectors", o.errors);
    return o.errors != 0;
}

static int asked_text(struct buf *out, const struct embed *e)
{
    struct embed bare = *e;
    struct pipeline p;
    bare.common = (struct stages_common){ .weights = e->common.weights, .cache.off = true };
    bare.images = (struct stages_images){ .resize = e->images.resize };
    make_pipeline(&p, &bare);
    int rc = pipeline_text(out, &p);
    pipeline_release(&p);
    if (rc < 0 || buf_printf(out, " | pool %s", pool_words[e->pool]) < 0 || !buf_str(out))
        return -1;
    return 0;
}

static int run(struct embed *e)
{
    struct batch b = { 0 };
    struct buf asked = { 0 };
    stages_prepare(&e->common);
    int rc = asked_text(&asked, e);
    if (rc == 0)
        rc = batch_open(&b, &e->batch, &e->images, (const char *)asked.data, e->common.model);
    if (rc == 0 && e->verbose)
        cli_warn("%s: done before", b.base);
    rc = rc > 0 ? do_part(e, &b) : rc == 0 ? b.errors != 0 : rc;
    progress_drop(&e->progress);
    batch_close(&b);
    buf_release(&asked);
    free(e->row);
    return cli_finish(rc);
}

int front_embed(int argc, char **argv)
{
    struct embed e = { 0 };
    int i = cli_start(&(struct cli){ .name = "vqa embed",
                                     .usage = "-o DIR [OPTION...] [IMAGE...]",
                                     .about = "Write a vector for each picture, as .npy and "
                                              "JSON lines.",
                                     .opts = opts },
                      argc, argv, &e);
    e.images.names = argv + i;
    e.images.count = argc - i;
    if (!e.batch.out)
        cli_usage_error("no place for the vectors; expected -o DIR");
    if (!e.images.count && !e.images.files_from && !e.images.tar)
        cli_usage_error("no image; expected IMAGE..., -T FILE or --tar FILE");
    return run(&e);
}
