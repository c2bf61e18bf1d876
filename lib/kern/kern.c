/* kern.c - which table this processor can run: see kern.h. */
#include "kern/kern.h"

#include <stdbool.h>
#include <string.h>

#ifdef __x86_64__
#include <cpuid.h>

/* gcc and clang know no common word for F16C, so it is asked for by its bit. */
static bool has_avx2(void)
{
    unsigned a, b, c, d;
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

static bool has_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl");
}

static bool has_avx512vnni(void)
{
    return has_avx512() && __builtin_cpu_supports("avx512vnni");
}

static bool has_avx512bf16(void)
{
    return has_avx512vnni() && __builtin_cpu_supports("avx512bf16");
}

/* By its bit, too: leaf 7.1, EAX bit 4. */
static bool has_avxvnni(void)
{
    unsigned a, b, c, d;
    return has_avx2() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1);
}
#endif

const struct kern *kern_at(int i)
{
    const struct kern *found[6] = { &kern_ref };
    int n = 1;
#ifdef __x86_64__
    if (has_avx2())
        found[n++] = &kern_avx2;
    if (has_avxvnni())
        found[n++] = &kern_avxvnni;
    if (has_avx512())
        found[n++] = &kern_avx512;
    if (has_avx512vnni())
        found[n++] = &kern_avx512vnni;
    if (has_avx512bf16())
        found[n++] = &kern_avx512bf16;
#endif
    return i >= 0 && i < n ? found[i] : NULL;
}

const struct kern *kern_get(const char *name)
{
    const struct kern *best = NULL;
    for (int i = 0; kern_at(i); i++) {
        best = kern_at(i);
        if (name && !strcmp(best->name, name))
            return best;
    }
    return name ? NULL : best;
}
