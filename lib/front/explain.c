/* explain.c - see explain.h. The page itself is explain_page.c's. */
#include "front/explain.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/signals.h"
#include "cli/env.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* The stage at work, and the signal that came meanwhile: it ends the stage, and then us, when
 * the directory is gone. */
static struct {
    volatile pid_t pid;
    volatile sig_atomic_t signal;
} at_work;

static void on_signal(int sig)
{
    at_work.signal = sig;
    if (at_work.pid > 0)
        kill(at_work.pid, SIGTERM);
}

void explain_path(char *path, size_t n, const struct explain *e, int stage)
{
    static const char *const names[] = { "pixels.s", "rows.s",  "prompts.s",
                                         "ids.s",    "texts.s", "steps.jsonl" };
    snprintf(path, n, "%s/%s", e->dir, names[stage]);
}

static void command(struct pipeline *p, struct explain *e, int stage)
{
    struct stages_common c = *e->common;
    char steps[96];
    c.cache = (struct stages_cache){ .off = true };
    switch (stage) {
    case EXPLAIN_ENCODE:
        stages_img_encode(p, &c);
        pipeline_arg(p, "--attention");
        pipeline_arg(p, "--keep");
        break;
    case EXPLAIN_QUERIES:
        stages_qformer(p, &c);
        pipeline_arg(p, "--attention");
        pipeline_arg(p, "--keep");
        break;
    case EXPLAIN_TOKENS:
        stages_tokenize(p, &c);
        for (int i = 0; i < e->prompts->n; i++)
            pipeline_opt(p, "-p", e->prompts->v[i]);
        break;
    case EXPLAIN_ANSWER:
        stages_generate(p, &c, e->gen);
        explain_path(steps, sizeof steps, e, EXPLAIN_STAGES);
        snprintf(e->steps, sizeof e->steps, "--explain=%s", steps);
        pipeline_arg(p, "--attention");
        pipeline_arg(p, e->steps);
        break;
    default:
        stages_decode(p, &c);
        pipeline_opt(p, "-f", "msgpack");
        pipeline_arg(p, "--keep");
    }
}

/* One stage from file to file; its status. */
static int run_stage(struct explain *e, int stage)
{
    char from[96], to[96];
    struct pipeline p;
    double began = clock_seconds();
    pipeline_init(&p);
    command(&p, e, stage);
    explain_path(to, sizeof to, e, stage);
    pipeline_opt(&p, "-o", to);
    if (stage == EXPLAIN_ENCODE)
        stages_images(&p, e->images);
    else {
        explain_path(from, sizeof from, e, stage - 1);
        pipeline_arg(&p, from);
    }
    int rc = e->verbose ? stages_show(&p) : 0;
    if (rc == 0)
        rc = pipeline_start(&p, false);
    if (rc == 0) {
        at_work.pid = p.pid[0];
        if (at_work.signal)
            on_signal(at_work.signal);
        rc = pipeline_wait(&p);
        at_work.pid = 0;
    }
    if (at_work.signal)
        rc = 128 + at_work.signal;
    pipeline_release(&p);
    e->seconds[stage] = clock_seconds() - began;
    return rc;
}

int explain_run(struct explain *e)
{
    const char *tmp = env_get("TMPDIR");
    int n = snprintf(e->dir, sizeof e->dir, "%s/vqa-XXXXXX", tmp ? tmp : "/tmp");
    if ((size_t)n >= sizeof e->dir || !mkdtemp(e->dir)) {
        e->dir[0] = '\0';
        return err_sys(ERR_OS, "%s", tmp ? tmp : "/tmp");
    }
    int worst = 0;
    signals_catch(on_signal);
    for (int stage = 0; stage < EXPLAIN_STAGES; stage++) {
        int rc = run_stage(e, stage);
        if (rc < 0 || rc > 1)
            return rc;
        worst |= rc;
    }
    return worst;
}

/* A stage that was ended may have left a part of its file, under a name of its own. */
void explain_close(struct explain *e)
{
    DIR *d = e->dir[0] ? opendir(e->dir) : NULL;
    struct dirent *entry;
    while (d && (entry = readdir(d)))
        unlinkat(dirfd(d), entry->d_name, 0); /* . and .. are none that it takes */
    if (d)
        closedir(d);
    if (e->dir[0])
        rmdir(e->dir);
    e->dir[0] = '\0';
    signals_catch(SIG_DFL);
}
