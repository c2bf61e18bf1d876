/* img-encode - images to embeddings by the frozen image encoder; the first stage. Manual:
 * man/img-encode.1. */
#include "cli/die.h"
#include "cli/opt.h"
#include "front/encode.h"
#include "front/source.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define BATCH 4 /* images computed together unless -b says otherwise */

struct args {
    struct cli_common c;
    struct encode_args e;
    struct source_args s;
    const char *tally;
    const char *attention; /* NULL, "" or "full" */
};

static const char *const resize_words[] = { "pillow", "torchvision", NULL };
static const char *const alpha_words[] = { "drop", "white", "black", NULL };
static const char *const dtype_words[] = { "f32", "f16", NULL };

static const struct opt opts[] = {
    OPT_MODEL(struct args, e.m),
    OPT_COMPUTE(struct args, e.m),
    OPT_INT(struct args, e.jobs, 'j', "jobs", "N", 1, 256, "threads that read and decode"),
    COMPUTE_WEIGHTS(struct args, e.m),
    OPT_STR(struct args, s.list, 'T', "files-from", "FILE", "images, one name a line"),
    OPT_FLAG(struct args, s.null, '0', "null", "names in FILE end in NUL"),
    OPT_FLAG(struct args, s.recursive, 'r', "recursive", "take the images in directories"),
    OPT_STR(struct args, s.tar, 0, "tar", "FILE", "the images of a tar archive"),
    OPT_STR(struct args, s.skip, 0, "skip-existing", "WORD",
            "leave out images that have a sidecar: txt, xmp, xmp:stem"),
    OPT_STR(struct args, tally, 0, "tally", "FILE", "a letter there for each image done"),
    OPT_FLAG(struct args, e.pixels, 0, "pixels", "stop after preprocessing"),
    OPT_CHOICE(struct args, e.resize, 0, "resize", "WORD", resize_words,
               "pillow (default) or torchvision"),
    OPT_CHOICE(struct args, e.alpha, 0, "alpha", "WORD", alpha_words,
               "drop (default), or on white, black"),
    OPT_FLAG(struct args, e.no_exif, 0, "no-exif", "leave EXIF orientation alone"),
    OPT_INT(struct args, e.max_pixels, 0, "max-pixels", "N", 1, INT32_MAX,
            "refuse larger images (178956970)"),
    OPT_FLAG(struct args, e.interpolate, 0, "interpolate", "positions for other image sizes"),
    OPT_STR(struct args, e.image_size, 0, "image-size", "SIZE", "N or HxW, not the model's"),
    OPT_FLAG(struct args, e.no_post_layernorm, 0, "no-post-layernorm", "for qformer-train"),
    OPT_CHOICE(struct args, e.dtype, 0, "dtype", "WORD", dtype_words, "f32 (default) or f16"),
    OPT_FLAG(struct args, e.hidden, 0, "hidden-states", "add the state after each layer"),
    OPT_MAYBE(struct args, attention, "attention", "full", "add where patches look"),
    CACHED_OPTS(struct args, e.cache),
    OPT_FLAG(struct args, e.inputs, 0, "inputs", "language_model_inputs, where they are kept"),
    OPT_COMMON(struct args, c),
    OPT_END
};

struct img_encode {
    struct encode encode;
    struct source *source;
    uint64_t records; /* seen so far */
};

static const char *version(void)
{
    static char text[512];
    char libraries[128];
    snprintf(text, sizeof text, "%s\n%s", compute_version(),
             image_libraries(libraries, sizeof libraries));
    return text;
}

static int open_model(void *ctx, struct stage_io *io, const char **model)
{
    struct img_encode *g = ctx;
    (void)io;
    return encode_open(&g->encode, model);
}

static int next(void *ctx, struct record *rec)
{
    return source_next(((struct img_encode *)ctx)->source, rec);
}

static void prepare(void *ctx, struct record *rec, int slot)
{
    encode_prepare(&((struct img_encode *)ctx)->encode, rec, slot);
}

static bool ready(void *ctx)
{
    return source_ready(((struct img_encode *)ctx)->source);
}

static int step(void *ctx, struct stage_io *io, struct record **in, int n)
{
    struct img_encode *g = ctx;
    g->records += (uint64_t)n;
    return encode_step(&g->encode, io, in, n);
}

/* What is no stream from its first byte on may well be a picture. */
static void hint(void)
{
    struct err_saved why;
    err_save(&why);
    if (why.kind == ERR_DATA && !why.said)
        err_set(ERR_DATA, "%s (an image on standard input is asked for by -)", why.msg);
}

static int run(struct args *a)
{
    struct img_encode g = { .encode.a = a->e };
    struct stage s = { .program = "img-encode",
                       .output = a->c.out,
                       .batch = a->e.m.batch,
                       .fail_fast = a->c.fail_fast,
                       .ctx = &g,
                       .open = open_model,
                       .prepare = prepare,
                       .helpers = encode_jobs(&a->e),
                       .ahead = encode_ahead(&a->e),
                       .step = step,
                       .report = cli_report,
                       .say = a->c.verbose ? cli_warn : NULL };
    if (a->e.own_files) {
        if (!(g.source = source_new(&a->s)))
            return stage_refuse(&s);
        s.next = next;
        s.ready = ready;
    }
    int rc = stage_run(&s);
    if (rc == 0 && g.source && g.records == 0)
        cli_warn("no images found");
    if (rc < 0 && !g.source && g.records == 0)
        hint();
    if (a->c.verbose)
        encode_report(&g.encode);
    source_free(g.source);
    encode_close(&g.encode);
    return rc;
}

static int attention_of(const char *word)
{
    if (word && *word && strcmp(word, "full"))
        cli_usage_error("--attention: '%s', expected full or nothing", word);
    return !word ? ENCODE_NO_ATTENTION : *word ? ENCODE_FULL : ENCODE_ROLLOUT;
}

static int open_tally(const char *path)
{
    int fd = path ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666) : 0;
    if (fd < 0)
        cli_die_with(err_sys(ERR_IO, "%s", path));
    return fd;
}

static void check(const struct args *a)
{
    bool cache = cached_asked(&a->e.cache);
    if (a->s.null && !a->s.list)
        cli_usage_error("-0 says how names in a list end; expected -T FILE with it");
    const char *adds = a->e.attention ? "attention" : a->e.hidden ? "hidden-states" : NULL;
    if ((a->e.pixels || adds) && cache)
        cli_usage_error("--%s: only image_embeds are kept in a cache", adds ? adds : "pixels");
    if (a->e.pixels && a->e.m.weights)
        cli_usage_error("--pixels: no weights are read");
    if (a->e.pixels && adds)
        cli_usage_error("--%s: expected no --pixels, which stops before the encoder", adds);
    if (a->e.inputs && !cached_asked(&a->e.cache))
        cli_usage_error("--inputs: expected --cache with it");
    if (a->s.skip && !a->e.own_files)
        cli_usage_error("--skip-existing: expected FILE or -T");
    if (a->s.recursive && !a->e.own_files)
        cli_usage_error("-r takes the images in directories; expected FILE or -T");
}

int main(int argc, char **argv)
{
    struct args a = { .e.m.batch = BATCH };
    int first = cli_start(&(struct cli){ .name = "img-encode",
                                         .usage = "[OPTION...] [FILE...]",
                                         .about = "Encode images; without FILE or -T, the "
                                                  "images of a stream of records.",
                                         .opts = opts,
                                         .on_usage_error = stage_abort,
                                         .version = version },
                          argc, argv, &a);
    a.s.names = argv + first;
    a.s.count = argc - first;
    a.e.keep = a.c.keep;
    a.e.own_files = a.s.count || a.s.list || a.s.tar;
    a.e.attention = attention_of(a.attention);
    check(&a);
    a.e.tally = open_tally(a.tally);
    return cli_finish(run(&a));
}
