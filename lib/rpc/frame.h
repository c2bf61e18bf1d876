/* frame.h - the 48 bytes before every body: the protocol between stage-call and stage-serve,
 * byte by byte in man/stage-protocol.7.
 *
 * Knows nothing of:  sockets, what a body holds.
 * Errors:            -1 with err set (ERR_PROTO). */
#ifndef RPC_FRAME_H
#define RPC_FRAME_H

#include <stddef.h>
#include <stdint.h>

#define RPC_HEAD  48
#define RPC_MAJOR 1
#define RPC_MINOR 0

#define RPC_WINDOW 128 /* answers a client may have before it acknowledges them */

enum rpc_type {
    RPC_HELLO = 1, /* client: who made my stream */
    RPC_WELCOME,   /* server: who I am, how much you may send */
    RPC_REQ,       /* client: one record */
    RPC_REP,       /* server: one record of the answer, or its end */
    RPC_ERR,       /* server: no answer to this request, or to HELLO */
    RPC_BUSY,      /* server: not now */
    RPC_PING,      /* client: are you there, and what have you of mine */
    RPC_PONG,      /* server: the requests of yours that I have */
    RPC_BYE,       /* either: I am leaving */
    RPC_INFO,      /* client asks, server answers: text for people */
    RPC_METRICS,   /* client asks, server answers: text for Prometheus */
    RPC_TYPES
};

enum rpc_flag {
    RPC_MORE = 1,  /* REP: this request has more to come */
    RPC_CRC = 2,   /* the last field holds a CRC-32C */
    RPC_RETRY = 4, /* ERR: may succeed elsewhere or later */
};

/* What the header says, whoever sends it. */
struct rpc_head {
    uint8_t type, flags;
    uint64_t session,
        counter;      /* the request's id: a random number of the client, and a count */
    uint16_t attempt; /* REQ: which sending of it; echoed. PING: its number; echoed */
    uint16_t credits; /* WELCOME, PONG: requests the client may have unanswered; REQ: low
                         half of the server's number, or 0: whoever is there */
    uint32_t ms;      /* REQ: time left; BUSY: when to ask again; WELCOME, PONG: the
                         server's number, another after each restart */
    uint32_t part;    /* REP: index; REQ, PING: ids before counter - part are answered; WELCOME:
                         workers; PONG: requests waiting or running here, of anybody */
};

/* h as bytes, with length and CRC of the body. */
void rpc_pack(unsigned char out[RPC_HEAD], const struct rpc_head *h, const void *body,
              size_t n);

/* The 16 bytes of an id, in a header and in the body of PONG. */
void rpc_pack_id(unsigned char out[16], uint64_t session, uint64_t counter);
void rpc_unpack_id(const unsigned char in[16], uint64_t *session, uint64_t *counter);

/* Reads and believes nothing: magic, version, type, length and CRC must be right. */
int rpc_unpack(struct rpc_head *h, const void *head, size_t head_n, const void *body, size_t n);

#endif
