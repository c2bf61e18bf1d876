/* model.c - see model.h. */
#include "front/model.h"

#include "base/err.h"
#include "base/io.h"
#include "cli/env.h"
#include "store/hub.h"

#include <stdio.h>

/* The first of the places huggingface_hub looks at; false if the process has no home. */
bool front_hub_cache(char *dir, size_t n)
{
    const char *v;
    int len = -1;
    if ((v = env_get("HF_HUB_CACHE")) || (v = env_get("HUGGINGFACE_HUB_CACHE")))
        len = snprintf(dir, n, "%s", v);
    else if ((v = env_get("HF_HOME")))
        len = snprintf(dir, n, "%s/hub", v);
    else if ((v = env_get("XDG_CACHE_HOME")))
        len = snprintf(dir, n, "%s/huggingface/hub", v);
    else if ((v = env_get("HOME")))
        len = snprintf(dir, n, "%s/.cache/huggingface/hub", v);
    return len >= 0 && (size_t)len < n;
}

static int shipped(char *dir, size_t n)
{
    env_data_path(dir, n, "demo-model");
    return io_is_dir(dir) ? 0
                          : err_set(ERR_NOINPUT,
                                    "%s: the shipped model is not there; give -m or set "
                                    "VQA_MODEL",
                                    dir);
}

/* A directory wins over a name of the same spelling, as in transformers. */
int front_model(char *dir, size_t n, const char *arg)
{
    char cache[4096];
    const char *name = arg ? arg : env_get("VQA_MODEL");
    if (!name)
        return shipped(dir, n);
    int len = snprintf(dir, n, "%s", name);
    if (len < 0 || (size_t)len >= n)
        return err_set(ERR_NOINPUT, "%.80s...: name too long", name);
    if (io_is_dir(dir))
        return 0;
    if (!hub_is_name(name))
        return err_set(ERR_NOINPUT,
                       "%s: no such model directory, and not a name as ORG/NAME[@REV]", name);
    if (!front_hub_cache(cache, sizeof cache))
        return err_set(
            ERR_NOINPUT,
            "%s: no such directory, and no cache to look in: set HF_HUB_CACHE or HOME", name);
    return hub_find(dir, n, cache, name);
}
