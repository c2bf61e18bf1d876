/* server.h - stage-serve's mind: requests, workers, who gets what when. No sockets, no clock,
 * no processes; tests/unit/rpc-sim.c runs a million lives of it.
 *
 * Promises:  a request that is accepted is answered (REP or ERR) to whoever asked for it last,
 *            for as long as the server lives; asked for again it is joined, or served again
 *            from what is kept, and not computed twice; memory stays below queue_bytes plus
 *            one answer for each worker.
 * Owns:      the bodies it was given, until its RPC_FREE.
 * Errors:    none of its own: what goes wrong is an action. */
#ifndef RPC_SERVER_H
#define RPC_SERVER_H

#include "rpc/actions.h"

struct rpc_server_config {
    uint32_t instance;   /* a random number: which life of this server it is */
    int workers, batch;  /* how many, and records fed together */
    int credits;         /* requests one client may have unanswered */
    int requests;        /* slots: waiting, running, and answered but not yet acknowledged */
    int deaths;          /* workers that one request may cost before it is quarantined */
    size_t queue_bytes;  /* of all bodies together */
    int64_t batch_wait;  /* for a batch to fill */
    int64_t watchdog;    /* a busy worker without a sign of life */
    int64_t keep;        /* answers kept for a client that does not acknowledge them */
    int64_t drain;       /* time to finish in */
    int64_t backoff_max; /* between starts of a worker that dies at once */
    uint64_t (*digest)(const void *body); /* what a quarantine goes by */
};

enum rpc_server_event_type {
    RPC_EV_MSG,    /* a message: peer, user, head, body, n; refuse: why its HELLO is refused */
    RPC_EV_READY,  /* a worker's first mark came back */
    RPC_EV_PART,   /* a record of the answer to `token`: body, n */
    RPC_EV_MARKED, /* the mark came back: all that was fed is answered */
    RPC_EV_TICK,   /* the worker shows life */
    RPC_EV_DIED,   /* the worker has ended */
    RPC_EV_TIME,   /* nothing, only time */
    RPC_EV_DRAIN,  /* finish what is here and leave */
};

struct rpc_server_event {
    enum rpc_server_event_type type;
    uint32_t peer, user; /* a connection; whom its key belongs to (0: no keys) */
    struct rpc_head head;
    void *body;
    size_t n;
    const char *refuse;
    int worker;
    uint64_t token;
};

struct rpc_server_stats {
    uint64_t requests, answers, joined, served_again, busy, refused, expired, poisoned, dropped;
    uint64_t starts, deaths, stalls, batches;
    uint64_t errors; /* ERR sent */
};

struct rpc_server;

/* NULL with err set (ERR_OS). */
struct rpc_server *rpc_server_new(const struct rpc_server_config *cfg);
void rpc_server_free(struct rpc_server *s, void (*release)(void *body));

void rpc_server_step(struct rpc_server *s, const struct rpc_server_event *ev, int64_t now,
                     struct rpc_actions *out);

/* When RPC_EV_TIME is next worth a step. */
int64_t rpc_server_wake(const struct rpc_server *s, int64_t now);

/* The ids of this client that are waiting or running: the body of its PONG. Gives the count. */
int rpc_server_ids(const struct rpc_server *s, uint32_t user, uint64_t session,
                   unsigned char *out, int max);

/* Which request a record of that worker's answers: the one with that token, else the only one
 * of its batch, else 0. And the body it came with. */
uint64_t rpc_server_whose(const struct rpc_server *s, int worker, uint64_t token);
void *rpc_server_body(const struct rpc_server *s, uint64_t token);

struct rpc_server_load {
    int waiting, running, kept, workers, ready;
    size_t bytes;
    double p50, p90, p99; /* ms from REQ to the last REP, of the last thousand */
};
struct rpc_server_load rpc_server_load(const struct rpc_server *s);
const struct rpc_server_stats *rpc_server_stats(const struct rpc_server *s);

#endif
