/* env.c - environment variables, processors, own location: see env.h. */
#include "cli/env.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

const char *env_get(const char *name)
{
    const char *v = getenv(name);
    return v && *v ? v : NULL;
}

bool env_true(const char *name)
{
    const char *v = env_get(name);
    return v && (!strcmp(v, "1") || !strcasecmp(v, "on") || !strcasecmp(v, "yes") ||
                 !strcasecmp(v, "true"));
}

/* The variable as a positive count; 0 if it is not one. */
static int count_in(const char *name)
{
    const char *v = env_get(name);
    char *end;
    long n = v ? strtol(v, &end, 10) : 0;
    return v && !*end && n > 0 && n <= 1024 ? (int)n : 0;
}

static int at_most(int n, int bound)
{
    return bound && bound < n ? bound : n;
}

int env_threads(int asked)
{
    if (asked > 0)
        return asked;
    int wish = count_in("VQA_THREADS");
    if (wish)
        return wish;
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    int slurm = count_in("SLURM_CPUS_PER_TASK");
    n = at_most(n, slurm ? slurm : count_in("SLURM_CPUS_ON_NODE"));
    return at_most(n, count_in("OMP_NUM_THREADS"));
}

const char *env_cpu(void)
{
    return env_get("VQA_CPU");
}

bool env_colour(int fd)
{
    const char *term = env_get("TERM");
    return isatty(fd) && !env_get("NO_COLOR") && term && strcmp(term, "dumb");
}

/* "/usr/local/bin" for /usr/local/bin/vqa; false if the kernel does not say. */
static bool own_directory(char *dir, size_t n)
{
    ssize_t len = readlink("/proc/self/exe", dir, n - 1);
    if (len <= 0)
        return false;
    dir[len] = '\0';
    char *slash = strrchr(dir, '/');
    if (slash)
        *slash = '\0';
    return slash != NULL;
}

void env_data_path(char *path, size_t n, const char *name)
{
    const char *set = env_get("VQA_DATADIR");
    if (set) {
        snprintf(path, n, "%s/%s", set, name);
        return;
    }
    static const char *const beside[] = { "../share/vqatools", "../../share" };
    char dir[2048];
    for (int i = 0; i < 2 && own_directory(dir, sizeof dir); i++) {
        snprintf(path, n, "%s/%s/%s", dir, beside[i], name);
        if (access(path, R_OK) == 0)
            return;
    }
    snprintf(path, n, "%s/%s", VQA_DATADIR, name);
}
