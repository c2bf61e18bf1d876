/* tensor-plot - tensors and pictures as plots: heat maps, histograms, lines, attention over a
 * photo. Manual: man/tensor-plot.1. */
#include "cli/die.h"
#include "cli/opt.h"
#include "front/draw.h"
#include "front/screen.h"

#include <stdlib.h>
#include <string.h>

struct args {
    struct draw_args d;
    const char *size, *query;
    int bins;
};

static const struct opt opts[] = {
    OPT_STR(struct args, d.p.field, 0, "field", "NAME", "the tensor's field in a record"),
    OPT_STR(struct args, d.p.slice, 0, "slice", "SLICE", "a part of it, as NumPy: 0,:,10:20"),
    OPT_INT(struct args, d.p.channel, 0, "channel", "N", 0, 1 << 24,
            "heat map of one channel of (C, H, W)"),
    OPT_FLAG(struct args, d.p.matrix, 0, "matrix", "cells with their numbers; 1-D: a row each"),
    OPT_FLAG(struct args, d.p.line, 0, "line", "values over their index"),
    OPT_FLAG(struct args, d.p.hist, 0, "hist", "histogram of the values, by channel"),
    OPT_INT(struct args, bins, 0, "bins", "N", 1, 10000, "--hist: bins of one width (100)"),
    OPT_FLAG(struct args, d.p.bins.stack, 0, "stack", "--hist: channels one on the other"),
    OPT_FLAG(struct args, d.p.bins.density, 0, "density", "--hist: area 1, not counts"),
    OPT_FLAG(struct args, d.p.rgb, 0, "rgb", "a picture again, normalisation undone"),
    OPT_LIST(struct args, d.p.overlay, 0, "overlay", "IMAGE", "attention over this picture"),
    OPT_STR(struct args, query, 0, "query", "N", "--overlay: this query alone, or mean"),
    OPT_MODEL(struct args, d.p),
    OPT_STR(struct args, size, 0, "size", "WxH", "pixels of the PNG"),
    OPT_CHOICE(struct args, d.terminal, 0, "terminal", "WORD", screen_words,
               "auto, kitty, sixel, symbols, ascii, none"),
    OPT_FLAG(struct args, d.data, 0, "data", "the numbers drawn, tab-separated"),
    OPT_STR(struct args, d.out, 'o', "output", "FILE",
            "write to FILE; %d: one for each record"),
    OPT_END
};

/* A whole number from least to most and nothing else; -1 if it is not. */
static int whole(const char **s, int least, int most)
{
    char *end;
    long v = **s >= '0' && **s <= '9' ? strtol(*s, &end, 10) : -1;
    if (v < least || v > most)
        return -1;
    *s = end;
    return (int)v;
}

static void take_size(struct draw_args *d, const char *s)
{
    const char *at = s;
    d->width = whole(&at, 100, 8192);
    bool x = *at == 'x';
    at += x;
    d->height = x ? whole(&at, 100, 8192) : -1;
    if (d->width < 0 || d->height < 0 || *at)
        cli_usage_error("--size %s: expected WxH, each 100 to 8192", s);
}

static void take_query(struct panels_args *p, const char *s)
{
    const char *at = s;
    p->query = !strcmp(s, "mean") ? PANELS_MEAN : whole(&at, 0, 1 << 24);
    if (p->query != PANELS_MEAN && (p->query < 0 || *at))
        cli_usage_error("--query %s: expected a number or mean", s);
}

static void check(const struct args *a)
{
    const struct panels_args *p = &a->d.p;
    if (p->rgb + p->hist + p->line + p->matrix + (p->overlay.n > 0) > 1)
        cli_usage_error("expected one of --matrix, --line, --hist, --rgb and --overlay");
    if (p->slice && p->channel >= 0)
        cli_usage_error("expected one of --slice and --channel");
    if (!p->hist && (a->bins || p->bins.stack || p->bins.density))
        cli_usage_error("--bins, --stack and --density go with --hist");
    if (p->channel >= 0 && (p->rgb || p->overlay.n))
        cli_usage_error("--channel: not with --rgb and --overlay");
    if (a->query && !p->overlay.n)
        cli_usage_error("--query goes with --overlay");
    if (p->model && !p->rgb && !p->overlay.n)
        cli_usage_error("-m goes with --rgb and --overlay");
    if (a->d.data && (a->size || a->d.terminal != SCREEN_AUTO))
        cli_usage_error("--data is text: no --size and no --terminal with it");
    if (a->d.out && a->d.terminal != SCREEN_AUTO && a->d.terminal != SCREEN_NONE)
        cli_usage_error("--output is for PNG; --terminal writes to standard output");
}

int main(int argc, char **argv)
{
    struct args a = { .d.p = { .channel = -1, .query = PANELS_EACH } };
    int i = cli_start(&(struct cli){ .name = "tensor-plot",
                                     .usage = "[OPTION...] [FILE...]",
                                     .about = "Draw the tensors of streams, .npy and "
                                              ".safetensors files, and pictures.",
                                     .opts = opts },
                      argc, argv, &a);
    check(&a);
    a.d.p.bins.bins = a.bins ? a.bins : 100;
    if (a.size)
        take_size(&a.d, a.size);
    if (a.query)
        take_query(&a.d.p, a.query);
    int rc = draw_run(&a.d, argv + i, argc - i);
    free(a.d.p.overlay.v);
    return cli_finish(rc);
}
