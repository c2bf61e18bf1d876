/* cache-hit [DIR] - what a hit costs for image_embeds of blip2-opt-2.7b, (257, 1408) f32,
 * beside LMDB and plain cat, in one run, in turn, all of it in the page cache: `make
 * bench-cache`.
 *
 *     key     SHA-256 of the picture's file, 2 MB: what a hit costs before anything is looked
 * up hit     cache_get(): open, read, check count, digest and key, the tensor ready to be used
 *     lmdb    mdb_get() and a copy out of the map, which is not checked in any way
 *     cat     the entry's file read as cat does, 128 KiB at a time, and not checked
 *
 * Prints ms: the median, and the tenth and ninetieth of a hundred. */
#include "base/err.h"
#include "stage/cache.h"

#include <fcntl.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define ENTRIES 100
#define ROUNDS  5
#define TIMES   (ENTRIES * ROUNDS)
#define S       257
#define D       1408
#define PICTURE ((size_t)2 << 20)

static float value[S * D], copy[S * D];
static unsigned char picture[PICTURE];

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static void must(int ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "cache-hit: %s: %s\n", what, err_msg());
    exit(1);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void tell(const char *name, double *ms)
{
    qsort(ms, TIMES, sizeof *ms, compare);
    printf("%-5s %7.3f   (%.3f to %.3f)\n", name, ms[TIMES / 2], ms[TIMES / 10],
           ms[TIMES * 9 / 10]);
}

static size_t cat(const char *path)
{
    static char buf[131072];
    size_t all = 0;
    int fd = open(path, O_RDONLY);
    for (ssize_t n; fd >= 0 && (n = read(fd, buf, sizeof buf)) > 0;)
        all += (size_t)n;
    close(fd);
    return all;
}

struct bench {
    char dir[200], group[300]; /* DIR/emb/v1/GROUP */
    struct cache *cache;
    struct cache_key key[ENTRIES];
    MDB_env *env;
    MDB_dbi db;
    struct record rec;
    double ms[4][TIMES]; /* key, hit, lmdb, cat */
};

/* The same values under the same keys into both. */
static void fill(struct bench *b)
{
    char path[300];
    MDB_txn *txn;
    snprintf(path, sizeof path, "%s/lmdb", b->dir);
    must(mdb_env_create(&b->env) == 0 && mdb_env_set_mapsize(b->env, (size_t)1 << 30) == 0 &&
             mdb_env_open(b->env, path, MDB_NOSUBDIR | MDB_NOSYNC, 0600) == 0 &&
             mdb_txn_begin(b->env, NULL, 0, &txn) == 0 &&
             mdb_dbi_open(txn, NULL, 0, &b->db) == 0,
         "LMDB");
    for (int i = 0; i < ENTRIES; i++) {
        struct cache_key *key = &b->key[i];
        for (int k = 0; k < S * D; k++)
            value[k] = (float)(i + k);
        cache_key(key, b->cache, "file", &i, sizeof i);
        cache_put(b->cache, key, "image_embeds", tensor_2d(value, DT_F32, S, D));
        MDB_val k = { sizeof key->hex, key->hex }, v = { sizeof value, value };
        must(mdb_put(txn, b->db, &k, &v, 0) == 0, "mdb_put");
    }
    must(mdb_txn_commit(txn) == 0, "mdb_txn_commit");
}

static void find_group(struct bench *b)
{
    char command[300];
    snprintf(command, sizeof command, "ls -d %s/emb/v1/*", b->dir);
    FILE *p = popen(command, "r");
    must(p && fgets(b->group, sizeof b->group, p), "the entries' directory");
    pclose(p);
    b->group[strcspn(b->group, "\n")] = '\0';
}

static void get_lmdb(struct bench *b, struct cache_key *key)
{
    MDB_txn *txn;
    MDB_val k = { sizeof key->hex, key->hex }, v;
    must(mdb_txn_begin(b->env, NULL, MDB_RDONLY, &txn) == 0 &&
             mdb_get(txn, b->db, &k, &v) == 0 && v.mv_size == sizeof copy,
         "mdb_get");
    memcpy(copy, v.mv_data, sizeof copy);
    mdb_txn_abort(txn);
}

/* One after the other, so that what else the machine does falls on all of them. */
static void measure(struct bench *b, int n)
{
    struct cache_key of, *key = &b->key[n * 37 % ENTRIES];
    struct tensor t;
    char path[400];
    snprintf(path, sizeof path, "%s/%.2s/%s.msgpack", b->group, key->hex, key->hex);
    double at[5] = { now() };
    cache_key(&of, b->cache, "file", picture, PICTURE);
    at[1] = now();
    must(cache_get(&t, &b->rec, b->cache, key, "image_embeds"), "a miss");
    at[2] = now();
    get_lmdb(b, key);
    at[3] = now();
    must(cat(path) > sizeof value, "cat");
    at[4] = now();
    must(!memcmp(t.data, copy, sizeof copy), "other bytes");
    for (int i = 0; i < 4; i++)
        b->ms[i][n] = at[i + 1] - at[i];
}

int main(int argc, char **argv)
{
    static const char *const names[] = { "key", "hit", "lmdb", "cat" };
    static struct bench b;
    char command[300];
    snprintf(b.dir, sizeof b.dir, "%.100s/cache-hit.XXXXXX", argc > 1 ? argv[1] : "/tmp");
    must(mkdtemp(b.dir) != NULL, "mkdtemp");
    b.cache = cache_open(&(struct cache_config){
        .dir = b.dir, .context = "program bench\n", .program = "bench" });
    must(b.cache != NULL, "the cache");
    record_init(&b.rec);
    fill(&b);
    find_group(&b);
    for (int n = 0; n < TIMES; n++)
        measure(&b, n);
    printf("ms for (257, 1408) f32: median (10 %% to 90 %%) of %d\n", TIMES);
    for (int i = 0; i < 4; i++)
        tell(names[i], b.ms[i]);
    record_release(&b.rec);
    cache_close(b.cache);
    mdb_env_close(b.env);
    snprintf(command, sizeof command, "rm -rf %s", b.dir);
    return system(command) != 0;
}
