/* env.h - the only place that reads the environment. */
#ifndef CLI_ENV_H
#define CLI_ENV_H

#include <stdbool.h>
#include <stddef.h>

/* The variable's value, NULL if unset or empty. */
const char *env_get(const char *name);

/* 1, ON, YES, TRUE in any case. */
bool env_true(const char *name);

/* Threads to compute with: asked if > 0, else $VQA_THREADS, else as many processors as this
 * process may use, at most SLURM_CPUS_PER_TASK (or SLURM_CPUS_ON_NODE) and OMP_NUM_THREADS. */
int env_threads(int asked);

/* The instruction set to use, $VQA_CPU, or NULL for the best there is. */
const char *env_cpu(void);

/* Whether what goes to this descriptor may be coloured: a terminal, no $NO_COLOR, and one that
 * knows colours (TERM is set and not dumb). */
bool env_colour(int fd);

/* Path of a shipped file or directory ("demo-model"): $VQA_DATADIR, else beside the executable
 * (installed or in the build tree), else where it was configured to be installed. */
void env_data_path(char *path, size_t n, const char *name);

#endif
