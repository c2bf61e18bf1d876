/* progress.c - see progress.h. */
#include "front/progress.h"

#include "base/clock.h"
#include "cli/die.h"
#include "front/line.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define SHOWN_EVERY 0.2 /* seconds */
#define RATE_OVER   60.0

/* The stages inherit the pipe's end that is written to; ours never waits. */
static void open_tally(struct progress *p)
{
    if (access("/dev/fd/0", F_OK) < 0 || pipe2(p->tally, O_CLOEXEC) < 0)
        return;
    fcntl(p->tally[0], F_SETFL, O_NONBLOCK);
    fcntl(p->tally[1], F_SETFD, 0);
    snprintf(p->path, sizeof p->path, "/dev/fd/%d", p->tally[1]);
}

void progress_begin(struct progress *p, uint64_t total)
{
    *p = (struct progress){
        .total = total, .tty = line_seen(), .begun = clock_seconds(), .tally = { -1, -1 }
    };
    p->since = p->shown = p->begun;
    open_tally(p);
}

static void read_tally(struct progress *p)
{
    char bytes[512];
    ssize_t n;
    while (p->tally[0] >= 0 && (n = read(p->tally[0], bytes, sizeof bytes)) > 0)
        for (ssize_t i = 0; i < n; i++) {
            p->hits += bytes[i] == 'h';
            p->computed += bytes[i] == 'c';
            p->failed += bytes[i] == 'f';
        }
}

static uint64_t done(const struct progress *p)
{
    return p->hits + p->computed + p->failed;
}

/* "3 h 20 min", "45 s" */
static const char *duration(char *text, size_t n, double s)
{
    long t = (long)(s + 0.5);
    if (t >= 3600)
        snprintf(text, n, "%ld h %ld min", t / 3600, t % 3600 / 60);
    else if (t >= 60)
        snprintf(text, n, "%ld min %ld s", t / 60, t % 60);
    else
        snprintf(text, n, "%ld s", t);
    return text;
}

static void show(struct progress *p, double t)
{
    char of[32] = "", left[64] = "", text[32];
    double rate = t > p->since ? (double)(done(p) - p->base) / (t - p->since) : 0;
    if (p->total)
        snprintf(of, sizeof of, " of %llu", (unsigned long long)p->total);
    if (p->total >= done(p) && rate > 0)
        snprintf(left, sizeof left, ", %s left",
                 duration(text, sizeof text, (double)(p->total - done(p)) / rate));
    line_show("%llu%s images, %.1f a second, %llu from the cache, %llu failed%s",
              (unsigned long long)done(p), of, rate, (unsigned long long)p->hits,
              (unsigned long long)p->failed, p->total ? left : "");
    if (t - p->since > RATE_OVER) {
        p->since += (t - p->since) / 2;
        p->base += (done(p) - p->base) / 2;
    }
}

void progress_step(struct progress *p)
{
    double t = clock_seconds();
    read_tally(p);
    if (!p->tty || t - p->shown < SHOWN_EVERY)
        return;
    p->shown = t;
    show(p, t);
}

void progress_drop(struct progress *p)
{
    if (p->tty && p->shown > p->begun)
        line_clear();
    for (int i = 0; i < 2 && p->tally[1] > 0; i++)
        close(p->tally[i]);
    *p = (struct progress){ 0 };
}

void progress_end(struct progress *p, uint64_t results, const char *called, uint64_t failed)
{
    read_tally(p);
    struct progress was = *p;
    double s = clock_seconds() - p->begun;
    progress_drop(p);
    cli_warn("%llu %s, %llu failed; %llu images encoded, %llu from the cache; %.1f s, %.1f a "
             "second",
             (unsigned long long)results, called, (unsigned long long)failed,
             (unsigned long long)was.computed, (unsigned long long)was.hits, s,
             s > 0 ? (double)done(&was) / s : 0);
}
