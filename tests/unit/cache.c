/* cache.c - the cache: what is kept comes back as it was, and nothing else ever does. */
#include "stage/cache.h"
#include "lib/tap.h"
#include "stage/cachedir.h"
#include "store/identity.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define N 24

static char root[] = "/tmp/cache-test.XXXXXX";
static float values[N];
static char said[1024];
static int times_said;

__attribute__((format(printf, 1, 2))) static void say(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(said, sizeof said, fmt, ap);
    va_end(ap);
    times_said++;
}

static struct cache_config config(const char *dir, const char *context)
{
    return (struct cache_config){
        .dir = dir, .context = context, .program = "test", .model = "abc", .say = say
    };
}

static struct cache_key key_of(const struct cache *c, const char *kind, const char *input)
{
    struct cache_key key;
    if (cache_key(&key, c, kind, input, strlen(input)) < 0)
        exit(1);
    return key;
}

/* 1: the values; 0: nothing; -1: something else, which must never be. */
static int get(const struct cache *c, const struct cache_key *key)
{
    struct record rec;
    struct tensor t;
    record_init(&rec);
    int hit = cache_get(&t, &rec, c, key, "x");
    if (hit && (tensor_bytes(t) != sizeof values || memcmp(t.data, values, sizeof values)))
        hit = -1;
    record_release(&rec);
    return hit;
}

static void put(struct cache *c, const struct cache_key *key)
{
    cache_put(c, key, "x", tensor_2d(values, DT_F32, 4, N / 4));
}

static void entry_path(char *path, const char *dir, const struct cache_key *key)
{
    char command[512];
    snprintf(command, sizeof command, "find %s -name '%s.msgpack'", dir, key->hex);
    FILE *f = popen(command, "r");
    if (!f || !fgets(path, 500, f))
        exit(1);
    pclose(f);
    path[strcspn(path, "\n")] = '\0';
}

static size_t slurp(unsigned char *p, size_t max, const char *path)
{
    FILE *f = fopen(path, "rb");
    size_t n = f ? fread(p, 1, max, f) : 0;
    if (f)
        fclose(f);
    return n;
}

static void spit(const char *path, const void *p, size_t n)
{
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(p, 1, n, f) != n || fclose(f))
        exit(1);
}

static void test_damage(const char *dir)
{
    unsigned char good[4096], bad[8192];
    char path[512], other_path[512];
    struct cache_config k = config(dir, "program test\n");
    struct cache *c = cache_open(&k);
    struct cache_key key = key_of(c, "file", "a"), other = key_of(c, "file", "b");
    ok(get(c, &key) == 0, "nothing there: a miss");
    put(c, &key);
    put(c, &other);
    ok(get(c, &key) == 1, "what was put comes back");
    ok(times_said == 0, "nothing said");
    entry_path(path, dir, &key);
    entry_path(other_path, dir, &other);
    size_t n = slurp(good, sizeof good, path);
    int taken = 0;
    for (size_t i = 0; i < n; i++)
        for (int bit = 0; bit < 8; bit++) {
            memcpy(bad, good, n);
            bad[i] ^= (unsigned char)(1 << bit);
            spit(path, bad, n);
            taken += get(c, &key) != 0;
        }
    ok(n > 200 && taken == 0, "every bit of %zu bytes flipped: %d taken", n, taken);
    taken = 0;
    for (size_t i = 0; i < n; i++) {
        spit(path, good, i);
        taken += get(c, &key) != 0;
    }
    ok(taken == 0, "cut at every offset: %d taken", taken);
    memcpy(bad, good, n);
    memcpy(bad + n, good, n);
    spit(path, bad, 2 * n);
    ok(get(c, &key) == 0, "twice the same in one file: a miss");
    spit(path, bad, n + 1);
    ok(get(c, &key) == 0, "a byte too many: a miss");
    n = slurp(bad, sizeof bad, other_path);
    spit(path, bad, n);
    ok(get(c, &key) == 0, "another key's entry: a miss");
    fails(cache_verify(path, key.hex), ERR_DATA, "another key");
    put(c, &key);
    ok(get(c, &key) == 1 && cache_verify(path, key.hex) == 0, "written again: a hit");
    cache_close(c);
}

/* A record without header and end, from a writer that knows the key: not taken either. */
static void test_foreign(const char *dir)
{
    char path[512];
    unsigned char b[256] = "\x82\xa2id\xd9\x40";
    struct cache_config k = config(dir, "program test\n");
    struct cache *c = cache_open(&k);
    struct cache_key key = key_of(c, "file", "a");
    put(c, &key);
    entry_path(path, dir, &key);
    memcpy(b + 6, key.hex, 64);
    memcpy(b + 70, "\xa1x\x01", 3);
    spit(path, b, 73);
    ok(get(c, &key) == 0, "a stream without header: a miss");
    fails(cache_verify(path, key.hex), ERR_DATA, "no header");
    unlink(path);
    if (symlink("/dev/zero", path) == 0)
        ok(get(c, &key) == 0, "a link: a miss");
    unlink(path);
    cache_close(c);
}

static void test_keys(const char *dir)
{
    static const char *const contexts[] = { "program a\n", "program b\n", "program a\n\n", "" };
    static const char *const kinds[] = { "file", "f32 (3, 30, 150)", "f32 (3, 150, 30)" };
    static const char *const inputs[] = { "", "a", "aa", "\n", "a\n" };
    char seen[64][SHA256_HEX];
    int n = 0, same = 0;
    for (int i = 0; i < 4; i++) {
        struct cache_config k = config(dir, contexts[i]);
        struct cache *c = cache_open(&k);
        for (int j = 0; j < 15; j++) {
            struct cache_key key = key_of(c, kinds[j % 3], inputs[j / 3]);
            for (int m = 0; m < n; m++)
                same += !strcmp(seen[m], key.hex);
            memcpy(seen[n++], key.hex, SHA256_HEX);
        }
        cache_close(c);
    }
    ok(n == 60 && same == 0, "%d contexts, kinds and inputs: %d equal keys", n, same);
}

static void age(const char *path, long seconds)
{
    struct timespec t[2] = { { .tv_sec = time(NULL) - seconds },
                             { .tv_sec = time(NULL) - seconds } };
    utimensat(AT_FDCWD, path, t, 0);
}

static void test_prune(const char *dir)
{
    char path[512], name[32], temp[600];
    struct cachedir_usage u;
    struct cache_key key[20];
    struct cache_config k = config(dir, "program test\n");
    struct cache *c = cache_open(&k);
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "input %d", i);
        key[i] = key_of(c, "file", name);
        put(c, &key[i]);
        entry_path(path, dir, &key[i]);
        age(path, 100 * (20 - i));
    }
    ok(cachedir_prune(&u, dir, -1, UINT64_MAX) == 0 && u.entries == 20 && u.removed == 0,
       "20 entries, none removed");
    uint64_t each = u.bytes / 20;
    ok(cachedir_prune(&u, dir, -1, 5 * each) == 0 && u.removed == 15 && u.entries == 5,
       "to a quarter: 15 removed");
    ok(get(c, &key[0]) == 0 && get(c, &key[14]) == 0 && get(c, &key[15]) == 1 &&
           get(c, &key[19]) == 1,
       "the least recently used ones went");
    age(path, 100000);
    ok(get(c, &key[19]) == 1 && cachedir_prune(&u, dir, 3600, UINT64_MAX) == 0 &&
           u.removed == 0 && get(c, &key[19]) == 1,
       "an entry that was used is not old");
    entry_path(path, dir, &key[18]);
    age(path, 7200);
    ok(cachedir_prune(&u, dir, 3600, UINT64_MAX) == 0 && u.removed == 1 &&
           get(c, &key[18]) == 0,
       "older than an hour: removed");
    entry_path(path, dir, &key[19]);
    snprintf(temp, sizeof temp, "%.*s/.tmp.0123456789abcdef", (int)(strrchr(path, '/') - path),
             path);
    spit(temp, "x", 1);
    cachedir_prune(&u, dir, -1, UINT64_MAX);
    ok(access(temp, F_OK) == 0, "a fresh temporary stays");
    age(temp, 7200);
    cachedir_prune(&u, dir, -1, UINT64_MAX);
    ok(access(temp, F_OK) < 0, "one that a writer left two hours ago goes");
    cache_close(c);
    k.max = 8 * each;
    c = cache_open(&k);
    for (int i = 0; i < 20; i++)
        put(c, &key[i]);
    cachedir_prune(&u, dir, -1, UINT64_MAX);
    ok(u.bytes <= k.max && u.entries >= 4, "with a limit it keeps itself: %llu entries of 8",
       (unsigned long long)u.entries);
    ok(get(c, &key[19]) == 1, "the newest is there");
    cache_close(c);
    ok(cachedir_remove(&u, dir, NULL) == 0 && u.removed >= 4, "all removed");
    ok(cachedir_prune(&u, dir, -1, UINT64_MAX) == 0 && u.entries == 0, "nothing left");
}

/* Eight programs that prune to a quarter at the same time. */
static void prune_together(const char *dir, uint64_t max)
{
    int lock;
    struct cachedir_usage u;
    for (int i = 0; i < 8; i++)
        if (fork() == 0) {
            cachedir_lock(&lock, dir, true);
            cachedir_prune(&u, dir, -1, max);
            cachedir_unlock(lock);
            _exit(0);
        }
    while (wait(NULL) > 0)
        ;
}

static void test_turns(const char *dir)
{
    int lock, other;
    char name[32];
    struct cachedir_usage u;
    struct cache_config k = config(dir, "program test\n");
    ok(cachedir_lock(&lock, dir, false) && lock < 0, "nothing there, nothing to lock");
    cachedir_unlock(lock);
    struct cache *c = cache_open(&k);
    for (int i = 0; i < 400; i++) {
        snprintf(name, sizeof name, "input %d", i);
        struct cache_key key = key_of(c, "file", name);
        put(c, &key);
    }
    cache_close(c);
    cachedir_prune(&u, dir, -1, UINT64_MAX);
    uint64_t each = u.bytes / 400;
    prune_together(dir, 100 * each);
    cachedir_prune(&u, dir, -1, UINT64_MAX);
    ok(u.entries == 100, "eight prune together: %llu of 100 are left",
       (unsigned long long)u.entries);
    k.max = 50 * each;
    c = cache_open(&k);
    struct cache_key key = key_of(c, "file", "one more");
    ok(cachedir_lock(&lock, dir, false) && !cachedir_lock(&other, dir, false), "one at a time");
    put(c, &key);
    cachedir_prune(&u, dir, -1, UINT64_MAX);
    ok(u.entries == 101, "who cannot prune now goes on");
    cachedir_unlock(lock);
    put(c, &key);
    cachedir_prune(&u, dir, -1, UINT64_MAX);
    ok(u.bytes <= k.max, "and prunes after the next entry: %llu left",
       (unsigned long long)u.entries);
    cache_close(c);
}

static void test_places(const char *dir)
{
    char shared[300], none[300];
    struct stat st;
    struct cache_config k = config(dir, "program test\n");
    struct cache *c = cache_open(&k);
    struct cache_key key = key_of(c, "file", "a");
    put(c, &key);
    cache_close(c);
    ok(stat(dir, &st) == 0 && (st.st_mode & 0777) == 0700, "for its owner only");
    ok(cachedir_is(dir), "with a tag");
    k = config(NULL, "program test\n");
    k.ro = dir;
    c = cache_open(&k);
    ok(get(c, &key) == 1, "read only: a hit");
    put(c, &key);
    cache_close(c);
    snprintf(shared, sizeof shared, "%s/open", root);
    mkdir(shared, 0777);
    chmod(shared, 0777);
    fails(cachedir_check(shared), ERR_NOPERM, "everybody may write there");
    snprintf(none, sizeof none, "%s/file", root);
    spit(none, "x", 1);
    strcat(none, "/c");
    times_said = 0;
    k = config(none, "program test\n");
    c = cache_open(&k);
    put(c, &key);
    put(c, &key);
    ok(times_said == 1 && strstr(said, "going on without"), "no place to write: said once: %s",
       said);
    ok(get(c, &key) == 0, "and a miss");
    cache_close(c);
}

/* Waits until the wall clock, which may be set meanwhile, is three seconds past a file's time.
 */
static void grow_old(const char *path)
{
    struct stat st;
    for (int i = 0; i < 200 && stat(path, &st) == 0 && time(NULL) - st.st_ctime < 3; i++)
        usleep(100000);
}

/* The whole digest of a checkpoint, and what is remembered of it. */
static void test_identity(void)
{
    char dir[300], memo[300], path[400], a[SHA256_HEX], b[SHA256_HEX];
    snprintf(dir, sizeof dir, "%s/model", root);
    snprintf(memo, sizeof memo, "%s/memo", root);
    struct identity_memo m = { memo, NULL };
    mkdir(dir, 0700);
    fails(identity_digest(a, dir, &m), ERR_NOINPUT, "config.json");
    snprintf(path, sizeof path, "%s/config.json", dir);
    spit(path, "{}", 2);
    fails(identity_digest(a, dir, &m), ERR_NOINPUT, "no weights");
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    spit(path, "weights", 7);
    ok(identity_digest(a, dir, &m) == 0 && access(memo, F_OK) < 0,
       "a file just written is not remembered");
    grow_old(path);
    ok(identity_digest(b, dir, &m) == 0 && !strcmp(a, b) && access(memo, F_OK) == 0,
       "later it is");
    ok(identity_digest(b, dir, &m) == 0 && !strcmp(a, b), "the same from memory");
    struct stat st;
    stat(path, &st);
    spit(path, "Weights", 7);
    struct timespec t[2] = { st.st_atim, st.st_mtim };
    utimensat(AT_FDCWD, path, t, 0);
    ok(identity_digest(b, dir, &m) == 0 && strcmp(a, b),
       "one byte, same size and modification time: another digest");
    spit(path, "weights", 7);
    snprintf(path, sizeof path,
             "for f in %s/*; do printf '%%064d' 0 | dd of=$f conv=notrunc status=none; done",
             memo);
    ok(system(path) == 0 && identity_digest(b, dir, &m) == 0 && !strcmp(a, b),
       "a memory that rotted is none");
}

int main(void)
{
    char dir[5][64];
    if (!mkdtemp(root))
        return 1;
    for (int i = 0; i < N; i++)
        values[i] = (float)i / 7;
    for (int i = 0; i < 5; i++)
        snprintf(dir[i], sizeof dir[i], "%s/c%d", root, i);
    test_damage(dir[0]);
    test_foreign(dir[1]);
    test_keys(dir[1]);
    test_prune(dir[2]);
    test_places(dir[3]);
    test_turns(dir[4]);
    test_identity();
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", root);
    if (system(command))
        return 1;
    return tap_done();
}
