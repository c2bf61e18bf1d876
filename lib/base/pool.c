/* pool.c - persistent threads and an atomic piece counter: see pool.h. */
#include "base/pool.h"

#include "base/err.h"
#include "base/math.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct job {
    pool_fn *fn;
    void *ctx;
    int64_t n, grain;
    _Atomic int64_t next; /* first index nobody has taken */
};

struct pool {
    int threads;
    pthread_t *tid; /* threads - 1 of them */
    pthread_mutex_t lock;
    pthread_cond_t start, done;
    _Atomic uint64_t round; /* one more for every job */
    _Atomic int busy;       /* helpers still in this round */
    bool quit;
    struct job job;
    bool failed; /* the first error of the round, carried to the caller */
    enum err_kind kind;
    char msg[512];
};

struct helper {
    struct pool *pool;
    int worker;
};

static void keep_error(struct pool *p)
{
    pthread_mutex_lock(&p->lock);
    if (!p->failed) {
        p->failed = true;
        p->kind = err_kind();
        strncpy(p->msg, err_msg(), sizeof p->msg - 1);
    }
    pthread_mutex_unlock(&p->lock);
}

/* Takes whole grains: half of what would be a thread's share of what is left, so that pieces
 * are long at first, and at the end no thread waits long for another. */
static bool take(struct pool *p, int64_t *begin, int64_t *end)
{
    struct job *j = &p->job;
    *begin = atomic_load(&j->next);
    do {
        if (*begin >= j->n)
            return false;
        int64_t grains = (j->n - *begin) / j->grain / (2 * p->threads);
        *end = math_min(*begin + math_max(grains, 1) * j->grain, j->n);
    } while (!atomic_compare_exchange_weak(&j->next, begin, *end));
    return true;
}

/* Takes pieces until none is left. After an error the rest is skipped. */
static void work(struct pool *p, int worker)
{
    struct job *j = &p->job;
    int64_t begin, end;
    while (take(p, &begin, &end)) {
        if (j->fn(j->ctx, begin, end, worker) < 0) {
            keep_error(p);
            atomic_store(&j->next, j->n);
        }
    }
}

/* To sleep and be woken takes tens of microseconds, and the jobs of one token follow each other
 * closer than that: so many looks come first, in which others may run. */
enum { LOOKS = 100 };

/* Waits for a round other than the last one seen; false when the pool ends. */
static bool await_round(struct pool *p, uint64_t *seen)
{
    for (int i = 0; i < LOOKS && p->round == *seen; i++)
        sched_yield();
    pthread_mutex_lock(&p->lock);
    while (p->round == *seen && !p->quit)
        pthread_cond_wait(&p->start, &p->lock);
    *seen = p->round;
    bool go = !p->quit;
    pthread_mutex_unlock(&p->lock);
    return go;
}

static void *helper_main(void *arg)
{
    struct helper h = *(struct helper *)arg;
    free(arg);
    uint64_t seen = 0;
    while (await_round(h.pool, &seen)) {
        work(h.pool, h.worker);
        pthread_mutex_lock(&h.pool->lock);
        if (--h.pool->busy == 0)
            pthread_cond_signal(&h.pool->done);
        pthread_mutex_unlock(&h.pool->lock);
    }
    return NULL;
}

/* Helpers take no signals: a ^C is the main thread's business. */
static int start_helper(struct pool *p, int worker)
{
    struct helper *h = malloc(sizeof *h);
    if (!h)
        return err_nomem("thread");
    *h = (struct helper){ p, worker };
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(&p->tid[worker - 1], NULL, helper_main, h);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc) {
        free(h);
        return err_set(ERR_OS, "cannot start thread %d: %s", worker, strerror(rc));
    }
    return 0;
}

struct pool *pool_new(int threads)
{
    struct pool *p = calloc(1, sizeof *p);
    pthread_t *tid = calloc((size_t)threads, sizeof *tid);
    if (!p || !tid) {
        free(p);
        free(tid);
        err_nomem("thread pool");
        return NULL;
    }
    p->tid = tid;
    p->threads = 1;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->start, NULL);
    pthread_cond_init(&p->done, NULL);
    for (int w = 1; w < threads; w++) {
        if (start_helper(p, w) < 0) {
            pool_free(p);
            return NULL;
        }
        p->threads = w + 1;
    }
    return p;
}

void pool_free(struct pool *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->quit = true;
    pthread_cond_broadcast(&p->start);
    pthread_mutex_unlock(&p->lock);
    for (int w = 1; w < p->threads; w++)
        pthread_join(p->tid[w - 1], NULL);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->start);
    pthread_cond_destroy(&p->done);
    free(p->tid);
    free(p);
}

int pool_threads(const struct pool *p)
{
    return p ? p->threads : 1;
}

static void begin_round(struct pool *p, pool_fn *fn, void *ctx, int64_t n, int64_t grain)
{
    pthread_mutex_lock(&p->lock);
    p->job.fn = fn;
    p->job.ctx = ctx;
    p->job.n = n;
    p->job.grain = grain;
    atomic_store(&p->job.next, 0);
    p->failed = false;
    p->busy = p->threads - 1;
    p->round++;
    pthread_cond_broadcast(&p->start);
    pthread_mutex_unlock(&p->lock);
}

static void end_round(struct pool *p)
{
    for (int i = 0; i < LOOKS && p->busy; i++)
        sched_yield();
    pthread_mutex_lock(&p->lock);
    while (p->busy)
        pthread_cond_wait(&p->done, &p->lock);
    pthread_mutex_unlock(&p->lock);
}

int pool_run(struct pool *p, pool_fn *fn, void *ctx, int64_t n, int64_t grain)
{
    if (n <= 0)
        return 0;
    if (!p || p->threads == 1 || n <= grain)
        return fn(ctx, 0, n, 0);
    begin_round(p, fn, ctx, n, grain);
    work(p, 0);
    end_round(p);
    return p->failed ? err_set(p->kind, "%s", p->msg) : 0;
}
