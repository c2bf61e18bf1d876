/* probe.c - what this processor and its memory can do, measured: one JSON line.
 *
 *   probe [THREADS [ROUNDS]]    {"threads": 2, "read_gbs": [one thread, all], "avx2": {...},
 * ...}
 *
 * gflops: multiply-adds of f32 with everything in registers, two operations each. int8_gops:
 * the same of bytes, bf16_gflops of bf16, by the instructions of that set. read_gbs: bytes read
 * once, from far more memory than caches hold. Each is the best of ROUNDS, which take turns, so
 * that a busy neighbour spoils all or none. Figures of kernels are shares of these, from the
 * same minute.
 */
#include "base/pool.h"
#include "kern/kern.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LOOPS      200000
#define READ_BYTES ((size_t)512 << 20)

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Sixteen chains of sums, so that none waits for the one before. */
#define CHAINS(f) f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7) f(8) f(9) f(10) f(11)
#define CLOBBERS                                                                               \
    "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",   \
        "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "cc"
#define LOOP(clear, body)                                                                      \
    do {                                                                                       \
        long n = LOOPS;                                                                        \
        __asm__ volatile(clear "1:\n" body "dec %0\njnz 1b\n" : "+r"(n) : : CLOBBERS);         \
    } while (0)

#define ZERO(i)  "vpxor %%xmm" #i ", %%xmm" #i ", %%xmm" #i "\n"
#define ALL_ZERO CHAINS(ZERO) ZERO(12) ZERO(13) ZERO(14) ZERO(15)
#define FMA_Y(i) "vfmadd231ps %%ymm14, %%ymm15, %%ymm" #i "\n"
#define FMA_Z(i) "vfmadd231ps %%zmm14, %%zmm15, %%zmm" #i "\n"
#define DOT_Y(i) "%{vex%} vpdpbusd %%ymm14, %%ymm15, %%ymm" #i "\n"
#define DOT_Z(i) "vpdpbusd %%zmm14, %%zmm15, %%zmm" #i "\n"
#define DOT_H(i) "vdpbf16ps %%zmm14, %%zmm15, %%zmm" #i "\n"
#define ADD_UBS(r, i)                                                                          \
    "vpmaddubsw %%" r "14, %%" r "15, %%" r "12\n"                                             \
    "vpmaddwd %%" r "12, %%" r "15, %%" r "13\n"                                               \
    "vpaddd %%" r "13, %%" r #i ", %%" r #i "\n"
#define UBS_Y(i) ADD_UBS("ymm", i)
#define UBS_Z(i) ADD_UBS("zmm", i)

static void f32_avx2(void)
{
    LOOP(ALL_ZERO, CHAINS(FMA_Y));
}

static void f32_avx512(void)
{
    LOOP(ALL_ZERO, CHAINS(FMA_Z));
}

static void int8_avx2(void)
{
    LOOP(ALL_ZERO, CHAINS(UBS_Y));
}

static void int8_avx512(void)
{
    LOOP(ALL_ZERO, CHAINS(UBS_Z));
}

static void int8_avxvnni(void)
{
    LOOP(ALL_ZERO, CHAINS(DOT_Y));
}

static void int8_avx512vnni(void)
{
    LOOP(ALL_ZERO, CHAINS(DOT_Z));
}

static void bf16_avx512bf16(void)
{
    LOOP(ALL_ZERO, CHAINS(DOT_H));
}

/* Operations a loop: 12 instructions, lanes, 2 a multiply-add. */
struct probe {
    const char *table, *what;
    void (*run)(void);
    double ops;
};
static const struct probe probes[] = {
    { "avx2", "gflops", f32_avx2, 12 * 8 * 2 },
    { "avx2", "int8_gops", int8_avx2, 12 * 32 * 2 },
    { "avxvnni", "int8_gops", int8_avxvnni, 12 * 32 * 2 },
    { "avx512", "gflops", f32_avx512, 12 * 16 * 2 },
    { "avx512", "int8_gops", int8_avx512, 12 * 64 * 2 },
    { "avx512vnni", "int8_gops", int8_avx512vnni, 12 * 64 * 2 },
    { "avx512bf16", "bf16_gflops", bf16_avx512bf16, 12 * 32 * 2 },
};
enum { PROBES = sizeof probes / sizeof *probes };

static int run_probe(void *ctx, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    for (int64_t i = begin; i < end; i++)
        ((const struct probe *)ctx)->run();
    return 0;
}

typedef uint64_t lane __attribute__((vector_size(16)));

struct reading {
    const char *data;
    int64_t part; /* bytes an index */
    lane sum[64]; /* kept, so that nothing is left out */
};

static int read_parts(void *ctx, int64_t begin, int64_t end, int worker)
{
    struct reading *r = ctx;
    const lane *p = (const void *)(r->data + begin * r->part);
    const lane *stop = (const void *)(r->data + end * r->part);
    lane a = { 0 }, b = a, c = a, d = a;
    for (; p < stop; p += 4) {
        __builtin_prefetch(p + 192, 0, 3);
        a ^= p[0];
        b ^= p[1];
        c ^= p[2];
        d ^= p[3];
    }
    r->sum[worker % 64] ^= a ^ b ^ c ^ d;
    return 0;
}

struct best {
    double read[2], rate[PROBES][2];
};

/* One round of everything, on one thread and on all. */
static void round_of(struct best *b, struct pool *pool, struct reading *r)
{
    for (int all = 0; all < 2; all++) {
        struct pool *p = all ? pool : NULL;
        int64_t n = pool_threads(p);
        double start = now();
        pool_run(p, read_parts, r, (int64_t)READ_BYTES / r->part, 1);
        double rate = (double)READ_BYTES / (now() - start) * 1e-9;
        b->read[all] = rate > b->read[all] ? rate : b->read[all];
        for (int i = 0; i < PROBES; i++) {
            if (!kern_get(probes[i].table))
                continue;
            start = now();
            pool_run(p, run_probe, (void *)(uintptr_t)&probes[i], n, 1);
            rate = probes[i].ops * LOOPS * (double)n / (now() - start) * 1e-9;
            b->rate[i][all] = rate > b->rate[i][all] ? rate : b->rate[i][all];
        }
    }
}

static void print(const struct best *b, int threads)
{
    printf("{\"threads\": %d, \"best\": \"%s\", \"read_gbs\": [%.1f, %.1f]", threads,
           kern_get(NULL)->name, b->read[0], b->read[1]);
    const char *table = "";
    for (int i = 0; i < PROBES; i++) {
        if (b->rate[i][0] == 0)
            continue;
        if (strcmp(table, probes[i].table))
            printf("%s, \"%s\": {", *table ? "}" : "", probes[i].table);
        else
            printf(", ");
        table = probes[i].table;
        printf("\"%s\": [%.0f, %.0f]", probes[i].what, b->rate[i][0], b->rate[i][1]);
    }
    printf("%s}\n", *table ? "}" : "");
}

int main(int argc, char **argv)
{
    int threads = argc > 1 ? atoi(argv[1]) : 1, rounds = argc > 2 ? atoi(argv[2]) : 10;
    char *data = aligned_alloc(64, READ_BYTES);
    struct pool *pool = threads > 0 ? pool_new(threads) : NULL;
    struct reading r = { data, 1 << 20, { { 0 } } };
    struct best b = { { 0 }, { { 0 } } };
    if (!data || !pool)
        return 71;
    memset(data, 1, READ_BYTES);
    for (int i = 0; i < rounds; i++)
        round_of(&b, pool, &r);
    print(&b, threads);
    pool_free(pool);
    free(data);
    return 0;
}
