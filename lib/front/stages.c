/* stages.c - see stages.h. */
#include "front/stages.h"

#include "base/buf.h"
#include "front/cached.h"

#include <stdio.h>

static void with_model(struct pipeline *p, const char *name, const struct stages_common *c)
{
    pipeline_command(p, name);
    pipeline_opt(p, "-m", c->model);
    pipeline_opt(p, "-t", c->threads ? c->threads_arg : NULL);
    pipeline_opt(p, "--weights", c->weights ? quant_words[c->weights] : NULL);
}

static void compute(struct pipeline *p, const char *name, const struct stages_common *c)
{
    with_model(p, name, c);
    pipeline_opt(p, "-b", c->batch ? c->batch_arg : NULL);
}

void stages_prepare(struct stages_common *c)
{
    char usual[4096];
    struct stages_cache *k = &c->cache;
    snprintf(c->threads_arg, sizeof c->threads_arg, "%d", c->threads);
    snprintf(c->batch_arg, sizeof c->batch_arg, "%d", c->batch);
    if (k->off)
        return;
    if (k->dir && *k->dir)
        snprintf(k->arg, sizeof k->arg, "--cache=%s", k->dir);
    else if (k->dir || cached_dir(usual, sizeof usual))
        snprintf(k->arg, sizeof k->arg, "--cache");
}

static void cache(struct pipeline *p, const struct stages_cache *k)
{
    if (k->off)
        return;
    if (*k->arg)
        pipeline_arg(p, k->arg);
    pipeline_opt(p, "--cache-ro", k->ro);
    if (*k->arg)
        pipeline_opt(p, "--cache-max", k->max);
}

void stages_img_encode(struct pipeline *p, const struct stages_common *c)
{
    compute(p, "img-encode", c);
    cache(p, &c->cache);
}

/* Without text for the Q-Former: with it, nothing is kept of what it makes. */
void stages_img_inputs(struct pipeline *p, const struct stages_common *c)
{
    stages_img_encode(p, c);
    if (!c->cache.off && (*c->cache.arg || c->cache.ro))
        pipeline_arg(p, "--inputs");
}

void stages_images(struct pipeline *p, const struct stages_images *im)
{
    pipeline_opt(p, "-j", im->jobs);
    pipeline_opt(p, "--tally", im->tally);
    pipeline_opt(p, "--skip-existing", im->skip);
    pipeline_opt(p, "--tar", im->tar);
    pipeline_opt(p, "-T", im->files_from);
    if (im->null)
        pipeline_arg(p, "-0");
    if (im->recursive)
        pipeline_arg(p, "-r");
    if (im->count)
        pipeline_arg(p, "--");
    for (int i = 0; i < im->count; i++)
        pipeline_arg(p, im->names[i]);
}

void stages_qformer(struct pipeline *p, const struct stages_common *c)
{
    compute(p, "qformer", c);
    cache(p, &c->cache);
}

void stages_match(struct pipeline *p, const struct stages_common *c)
{
    with_model(p, "qformer-match", c);
    pipeline_opt(p, "--head", "itc");
}

void stages_tokenize(struct pipeline *p, const struct stages_common *c)
{
    pipeline_command(p, "tokenize");
    pipeline_opt(p, "-m", c->model);
}

void stages_generate(struct pipeline *p, const struct stages_common *c,
                     const struct stages_gen *g)
{
    compute(p, "opt-generate", c);
    pipeline_opt(p, "--max-new-tokens", g->max_new_tokens);
    pipeline_opt(p, "--min-new-tokens", g->min_new_tokens);
    pipeline_opt(p, "--num-beams", g->num_beams);
    pipeline_opt(p, "--length-penalty", g->length_penalty);
    pipeline_opt(p, "--early-stopping", g->early_stopping);
    pipeline_opt(p, "--repetition-penalty", g->repetition_penalty);
    pipeline_opt(p, "--no-repeat-ngram-size", g->no_repeat_ngram_size);
    if (g->do_sample)
        pipeline_arg(p, "--do-sample");
    pipeline_opt(p, "--temperature", g->temperature);
    pipeline_opt(p, "--top-k", g->top_k);
    pipeline_opt(p, "--top-p", g->top_p);
    pipeline_opt(p, "--num-return-sequences", g->num_return_sequences);
    pipeline_opt(p, "--seed", g->seed);
    if (g->stream)
        pipeline_arg(p, "--stream");
}

void stages_decode(struct pipeline *p, const struct stages_common *c)
{
    stages_tokenize(p, c);
    pipeline_arg(p, "-d");
}

int stages_show(const struct pipeline *p)
{
    struct buf text;
    buf_init(&text);
    int rc = pipeline_text(&text, p);
    if (rc == 0)
        fprintf(stderr, "%s\n", buf_str(&text));
    buf_release(&text);
    return rc;
}
