/* model.c - see model.h. */
#include "front/model.h"

#include "base/err.h"
#include "base/io.h"
#include "cli/env.h"

#include <stdio.h>

int front_model(char *dir, size_t n, const char *arg)
{
    const char *name = arg ? arg : env_get("VQA_MODEL");
    if (!name) {
        env_data_path(dir, n, "demo-model");
        return io_is_dir(dir) ? 0
                              : err_set(ERR_NOINPUT,
                                        "%s: the shipped model is not there; "
                                        "give -m or set VQA_MODEL",
                                        dir);
    }
    snprintf(dir, n, "%s", name);
    return io_is_dir(dir) ? 0 : err_set(ERR_NOINPUT, "%s: no such model directory", name);
}
