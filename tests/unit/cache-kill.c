/* cache-kill.c [KILLS] - eight processes read and write one small cache, and one after the
 * other is killed with SIGKILL, wherever it is, and replaced. What any of them ever reads is
 * right or a miss, and none waits for what a dead one held. 100 kills by default; `make
 * torture-cache` has 10000. */
#include "lib/tap.h"
#include "stage/cache.h"
#include "stage/cachedir.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PROCESSES 8
#define KEYS      48
#define PATIENCE  30 /* seconds without a step, on however busy a machine: stuck */
#define LONGEST   20000

/* What the processes tell. */
struct told {
    _Atomic long steps[PROCESSES], hits, misses, wrong;
    _Atomic int stop;
};

static char root[] = "/tmp/cache-kill.XXXXXX";
static struct told *told;

static long content(float *v, int key)
{
    long n = 1 + (long)key * 7919 % LONGEST;
    for (long i = 0; i < n; i++)
        v[i] = (float)(key * 100003 + i % 4099);
    return n;
}

static void quiet(const char *fmt, ...)
{
    (void)fmt;
}

/* Reads it; writes it if it is not there, or anyway: others may have found that it is not. */
static void step(struct cache *c, struct record *rec, int number, bool anyway)
{
    static float v[LONGEST];
    struct cache_key key;
    struct tensor t;
    long n = content(v, number);
    if (cache_key(&key, c, "number", &number, sizeof number) < 0)
        _exit(2);
    record_clear(rec);
    int hit = cache_get(&t, rec, c, &key, "x");
    if (!hit)
        told->misses++;
    else if (tensor_bytes(t) == (size_t)n * sizeof *v && !memcmp(t.data, v, tensor_bytes(t)))
        told->hits++;
    else
        told->wrong++;
    if (!hit || anyway)
        cache_put(c, &key, "x", tensor_1d(v, DT_F32, n));
}

/* Two of them keep it to a third of what all keys need: entries go while others read them. */
static _Noreturn void work(int slot, unsigned seed)
{
    struct record rec;
    struct cache *c = cache_open(&(struct cache_config){ .dir = root,
                                                         .max = slot < 2 ? 600000 : 0,
                                                         .context = "program test\n",
                                                         .program = "test",
                                                         .model = "m",
                                                         .say = quiet });
    record_init(&rec);
    while (c && !told->stop) {
        step(c, &rec, (int)(rand_r(&seed) % KEYS), rand_r(&seed) % 3 == 0);
        told->steps[slot]++;
    }
    record_release(&rec);
    cache_close(c);
    _exit(c ? 0 : 2);
}

static pid_t begin(int slot, unsigned seed)
{
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        work(slot, seed);
    }
    return pid;
}

/* Whether each process takes a step within its time. */
static bool all_step(void)
{
    for (int i = 0; i < PROCESSES; i++) {
        long before = told->steps[i];
        for (int tries = 0; told->steps[i] == before; tries++) {
            if (tries == PATIENCE * 1000)
                return false;
            usleep(1000);
        }
    }
    return true;
}

static int look(void *ctx, const struct cachedir_file *f)
{
    char key[SHA256_HEX];
    long *count = ctx;
    snprintf(key, sizeof key, "%.64s", f->name);
    count[f->is_entry ? cache_verify(f->path, key) == 0 ? 0 : 1 : 2]++;
    return 0;
}

int main(int argc, char **argv)
{
    long kills = argc > 1 ? atol(argv[1]) : 100, count[3] = { 0 };
    unsigned seed = 1;
    pid_t pid[PROCESSES];
    int stuck = 0, status;
    told = mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (told == MAP_FAILED || !mkdtemp(root))
        return 1;
    for (int i = 0; i < PROCESSES; i++)
        pid[i] = begin(i, seed++);
    for (long k = 0; k < kills && !stuck; k++) {
        int i = (int)(rand_r(&seed) % PROCESSES);
        usleep(rand_r(&seed) % 6000);
        kill(pid[i], SIGKILL);
        waitpid(pid[i], &status, 0);
        pid[i] = begin(i, (unsigned)k * 31 + 7);
        if (k % 100 == 99)
            stuck += !all_step();
    }
    stuck += !all_step();
    told->stop = 1;
    for (int i = 0; i < PROCESSES; i++)
        stuck += stuck || waitpid(pid[i], &status, 0) != pid[i] || status != 0;
    ok(told->wrong == 0 && told->hits > kills && told->misses > 0,
       "%ld kills: %ld reads gave what was written, %ld nothing, %ld something else", kills,
       (long)told->hits, (long)told->misses, (long)told->wrong);
    ok(!stuck, "nobody waits for the dead");
    cachedir_each(root, look, count);
    ok(count[1] == 0, "%ld entries are whole, %ld are not; %ld temporaries of the dead",
       count[0], count[1], count[2]);
    struct cachedir_usage u;
    ok(cachedir_remove(&u, root, NULL) == 0 && u.entries == 0, "and all can be removed");
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", root);
    return system(command) || tap_done();
}
