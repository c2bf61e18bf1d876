/* actions.h - what the two state machines ask of their shells: step(state, event, now) ->
 * actions.
 *
 * Bodies are handles of the shell's own making: a machine keeps them, hands them back in
 * actions, and asks for their release; it never looks inside. The shell carries actions out in
 * order.
 *
 * Errors:  a list that could not grow for lack of memory is `failed`: the shell ends. */
#ifndef RPC_ACTIONS_H
#define RPC_ACTIONS_H

#include "rpc/frame.h"

#include <stdbool.h>

#define RPC_TEXT 240
#define RPC_MS   ((int64_t)1000) /* times are microseconds of a clock that never jumps */

enum rpc_act {
    RPC_SEND, /* head and body (or text, for ERR) to a peer */
    RPC_FREE, /* body is needed no more */
    /* of the server */
    RPC_START, /* run the worker */
    RPC_FEED,  /* give it the body as the request `token` */
    RPC_MARK,  /* give it the mark that ends a batch */
    RPC_KILL,  /* the worker is stuck */
    RPC_CUT,   /* the peer does not read: close its connection */
    RPC_EXIT,  /* drained, or (text) cannot serve */
    /* of the client */
    RPC_MEET,    /* a server's WELCOME: its body says what it serves */
    RPC_OUT,     /* body is the next record of the output, and the shell's to release */
    RPC_FAIL,    /* the request that has this body becomes an error record: text */
    RPC_RESET,   /* a fresh connection to the server */
    RPC_FINISH,  /* every input is answered */
    RPC_GIVE_UP, /* text says why; kind says how */
};

struct rpc_action {
    enum rpc_act what;
    uint32_t peer;  /* RPC_SEND: the server's peer, or the client's server */
    int worker;     /* server; RPC_GIVE_UP: the server at fault, or -1 */
    uint64_t token; /* server: the request; RPC_SEND of a PONG: whose ids it lists */
    struct rpc_head head;
    void *body;
    int kind; /* enum err_kind, of RPC_ERR and RPC_GIVE_UP */
    char text[RPC_TEXT];
};

struct rpc_actions {
    struct rpc_action *v;
    int n, cap;
    bool failed;
};

/* One more, zeroed but for `what`. Never NULL: without memory it is a scratch entry. */
struct rpc_action *rpc_act(struct rpc_actions *a, enum rpc_act what);
void rpc_actions_clear(struct rpc_actions *a);
void rpc_actions_release(struct rpc_actions *a);

/* The text of an ERR as its body: "KIND MESSAGE". */
void rpc_error_text(struct rpc_action *a, int kind, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
