/* ahead.c - a queue of slots, and threads that take from it: see ahead.h. */
#include "base/ahead.h"

#include "base/err.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct ahead {
    ahead_fn *fn;
    void *ctx;
    int slots, threads;
    pthread_t *tid;
    pthread_mutex_t lock;
    pthread_cond_t queued, done;
    int *queue, first, n; /* slots nobody has taken up, as a ring */
    bool *open;           /* begun and not done, by slot */
    bool quit;
};

/* The next slot to work on, or -1 at the end. */
static int take(struct ahead *a)
{
    pthread_mutex_lock(&a->lock);
    while (a->n == 0 && !a->quit)
        pthread_cond_wait(&a->queued, &a->lock);
    int slot = a->quit ? -1 : a->queue[a->first];
    if (!a->quit) {
        a->first = (a->first + 1) % a->slots;
        a->n--;
    }
    pthread_mutex_unlock(&a->lock);
    return slot;
}

static void *helper_main(void *arg)
{
    struct ahead *a = arg;
    for (int slot; (slot = take(a)) >= 0;) {
        a->fn(a->ctx, slot);
        pthread_mutex_lock(&a->lock);
        a->open[slot] = false;
        pthread_cond_signal(&a->done);
        pthread_mutex_unlock(&a->lock);
    }
    return NULL;
}

/* Helpers take no signals: a ^C is the main thread's business. */
static int start(struct ahead *a, int threads)
{
    sigset_t all, old;
    int rc = 0;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    while (a->threads < threads &&
           (rc = pthread_create(&a->tid[a->threads], NULL, helper_main, a)) == 0)
        a->threads++;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return rc ? err_set(ERR_OS, "cannot start thread %d: %s", a->threads + 1, strerror(rc)) : 0;
}

struct ahead *ahead_new(int threads, int slots, ahead_fn *fn, void *ctx)
{
    struct ahead *a = calloc(1, sizeof *a);
    if (!a)
        return err_null(ERR_OS, "out of memory for threads");
    a->fn = fn;
    a->ctx = ctx;
    a->slots = slots;
    a->tid = calloc((size_t)threads, sizeof *a->tid);
    a->queue = calloc((size_t)slots, sizeof *a->queue);
    a->open = calloc((size_t)slots, sizeof *a->open);
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->queued, NULL);
    pthread_cond_init(&a->done, NULL);
    bool memory = a->tid && a->queue && a->open;
    if (memory && start(a, threads) == 0)
        return a;
    if (!memory)
        err_nomem("threads");
    ahead_free(a);
    return NULL;
}

void ahead_free(struct ahead *a)
{
    if (!a)
        return;
    pthread_mutex_lock(&a->lock);
    a->quit = true;
    pthread_cond_broadcast(&a->queued);
    pthread_mutex_unlock(&a->lock);
    for (int i = 0; i < a->threads; i++)
        pthread_join(a->tid[i], NULL);
    pthread_mutex_destroy(&a->lock);
    pthread_cond_destroy(&a->queued);
    pthread_cond_destroy(&a->done);
    free(a->tid);
    free(a->queue);
    free(a->open);
    free(a);
}

void ahead_begin(struct ahead *a, int slot)
{
    pthread_mutex_lock(&a->lock);
    BUG_ON(a->n == a->slots || a->open[slot]);
    a->open[slot] = true;
    a->queue[(a->first + a->n++) % a->slots] = slot;
    pthread_cond_signal(&a->queued);
    pthread_mutex_unlock(&a->lock);
}

void ahead_wait(struct ahead *a, int slot)
{
    pthread_mutex_lock(&a->lock);
    while (a->open[slot])
        pthread_cond_wait(&a->done, &a->lock);
    pthread_mutex_unlock(&a->lock);
}
