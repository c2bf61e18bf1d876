/* features.c - see features.h. */
#include "front/features.h"

#include "base/err.h"

#include <string.h>

int features_open(struct features *f, const struct cli_model *m,
                  const struct cached_args *cache, int64_t E)
{
    record_init(&f->rec);
    f->E = E;
    f->encode.a = (struct encode_args){
        .m = *m, .cache = *cache, .no_post_layernorm = true, .own_files = true
    };
    f->encode.a.m.batch = 1;
    return 0;
}

void features_close(struct features *f)
{
    if (f->open)
        encode_close(&f->encode);
    record_release(&f->rec);
    f->open = false;
}

static int compute(struct tensor *t, struct features *f, struct pairs *p,
                   struct pairs_image *im)
{
    const char *fingerprint;
    if (!f->open) {
        f->open = true;
        if (encode_open(&f->encode, &fingerprint) < 0)
            return -1;
    }
    record_clear(&f->rec);
    if (record_put_str(&f->rec, "path", im->path, strlen(im->path)) < 0 ||
        encode_one(t, &f->encode, &f->rec) < 0)
        return -1;
    if (f->encode.cached.cache)
        return 0;
    t->data = arena_memdup(&p->mem, t->data, tensor_bytes(*t));
    im->features = *t;
    return t->data ? 0 : -1;
}

int features_get(struct tensor *t, struct features *f, struct pairs *p, int image)
{
    char shape[TENSOR_SHAPE_MAX];
    struct pairs_image *im = &p->image[image];
    *t = im->features;
    if (!t->data && compute(t, f, p, im) < 0)
        return err_wrap("%s:%d", im->file, im->line);
    if (f->S == 0)
        f->S = t->dim[0];
    if (t->dim[0] == f->S && t->dim[1] == f->E)
        return 0;
    return err_set(ERR_DATA, "%s:%d: image_embeds: shape %s, expected (%lld, %lld)", im->file,
                   im->line, tensor_shape_str(shape, *t), (long long)f->S, (long long)f->E);
}
