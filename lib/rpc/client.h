/* client.h - stage-call's mind: which request goes to which server, again if need be, and what
 * of the answers may be written now. No sockets, no clock; tests/unit/rpc-sim.c.
 *
 * Promises:  every input is answered once, in order: with the records of one answer or with one
 *            error; or else RPC_GIVE_UP, and what was written is a prefix of that.
 * Owns:      the bodies it was given, until their RPC_FREE.
 * Errors:    none of its own: what goes wrong is an action. */
#ifndef RPC_CLIENT_H
#define RPC_CLIENT_H

#include "rpc/actions.h"

#define RPC_SERVERS 64

struct rpc_client_config {
    int servers, window; /* window: inputs unanswered at once, at most RPC_WINDOW */
    size_t window_bytes;
    uint64_t session;   /* a random number */
    int64_t connect;    /* until a first server answers */
    int64_t lost;       /* without any server, later; or until one that starts has started */
    int64_t timeout;    /* of one request, all tries together; 0: none */
    int64_t ping, dead; /* how often, and how long a silence is a death */
};

enum rpc_client_event_type {
    RPC_GOT_MSG,    /* server, head, body; ids and n_ids: what a PONG's body says */
    RPC_GOT_INPUT,  /* body, n */
    RPC_GOT_END,    /* no more input */
    RPC_GOT_TIME,   /* nothing, only time */
    RPC_GOT_UNSENT, /* the request head.counter could not be sent to the server */
};

struct rpc_client_event {
    enum rpc_client_event_type type;
    int server;
    struct rpc_head head;
    void *body;
    size_t n;
    const unsigned char *ids; /* 16 bytes each */
    int n_ids;
    const char *text; /* of ERR, after its kind */
    int kind;
};

struct rpc_client_stats {
    uint64_t inputs, sent, again, late, lost;
};

struct rpc_client;

/* NULL with err set (ERR_OS). */
struct rpc_client *rpc_client_new(const struct rpc_client_config *cfg, int64_t now);
void rpc_client_free(struct rpc_client *c, void (*release)(void *body));

void rpc_client_step(struct rpc_client *c, const struct rpc_client_event *ev, int64_t now,
                     struct rpc_actions *out);

/* Whether RPC_GOT_INPUT is welcome: the back-pressure. */
bool rpc_client_wants(const struct rpc_client *c);

int64_t rpc_client_wake(const struct rpc_client *c, int64_t now);

/* The bodies of unanswered inputs, in order, for the message of RPC_GIVE_UP. Gives how many
 * there are; at most max are stored. */
int rpc_client_unanswered(const struct rpc_client *c, void **body, int max);

/* Servers that have answered at all: bit i. */
uint64_t rpc_client_met(const struct rpc_client *c);

const struct rpc_client_stats *rpc_client_stats(const struct rpc_client *c);

#endif
