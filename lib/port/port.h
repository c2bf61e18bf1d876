/* port.h - messages of two frames (a small head, a body) between processes; zmq.c is the only
 * file that knows by what.
 *
 * Every socket has bounds: on a frame, on what a connection may send without completing a
 * message (libzmq bounds only frames: a message without end would take all memory), on the
 * handshake, on silence. A connection beyond them is cut; others do not notice.
 *
 * Owns:      sockets and what is in them. A port_msg belongs to who has it, until
 * port_msg_free(). Knows nothing of:  what head and body mean. Threads:   one port, one thread;
 * libzmq's own thread carries bytes. Errors:    -1 or NULL with err set: ERR_USAGE an endpoint
 * that is none, ERR_UNAVAIL cannot bind, ERR_OS. */
#ifndef PORT_PORT_H
#define PORT_PORT_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PORT_HEAD 64 /* a longer first frame is no message */
#define PORT_KEY  41 /* 32 bytes as Z85, terminated */

struct port;
struct port_msg;

/* CURVE keys. theirs: of the server one connects to. */
struct port_keys {
    char public[PORT_KEY], secret[PORT_KEY], theirs[PORT_KEY];
};

struct port_config {
    const char *endpoint;
    size_t frame_max;             /* bytes of a body */
    size_t memory;                /* bind: what unfinished messages may hold together */
    const struct port_keys *keys; /* NULL: anybody who can reach it */
    bool (*allowed)(void *ctx, const char key[PORT_KEY]); /* bind, with keys: who may */
    void *ctx;
};

struct port *port_bind(const struct port_config *cfg);
struct port *port_connect(const struct port_config *cfg);

/* What was not sent yet goes on for `linger` ms. */
void port_close(struct port *p, int linger);

/* A message that came. user: the key it came with, "" without keys. */
struct port_in {
    uint32_t peer;
    char user[PORT_KEY];
    unsigned char head[PORT_HEAD];
    size_t head_n;
    struct port_msg *body; /* the receiver's */
};

/* 1 a message, 0 none now, -1. What is not of two frames never gets here. */
int port_recv(struct port *p, struct port_in *in);

/* 1 sent (queued), 0 not: nobody there, or it does not read. body may be NULL; stays the
 * caller's. peer: as received; ignored by a port that connects. */
int port_send(struct port *p, uint32_t peer, const void *head, size_t n, struct port_msg *body);

/* Waits for one of the ports or descriptors (revents set), or `ms` milliseconds. */
int port_wait(struct port **ports, int n, struct pollfd *fds, int n_fds, int ms);

/* Looks after the connections of a bound port; call it often, when port_recv() gave 0. held:
 * bytes of messages the caller has in memory. now: microseconds. */
void port_watch(struct port *p, size_t held, int64_t now);

/* Closes a peer's connection; or, with NULL, that of everybody who is not allowed any more. */
void port_cut(struct port *p, uint32_t peer);
void port_recheck(struct port *p);

struct port_stats {
    uint64_t accepted, denied,
        malformed;       /* connections; refused keys; messages not of two frames */
    uint64_t handshakes; /* that failed: no keys, a wrong server's, no ZMTP at all, too slow */
    uint64_t cut_idle, cut_unfinished, cut_crowd, cut_slow;
    int connections;
    char denied_key[PORT_KEY], denied_from[64]; /* the last one; empty: not known */
};
struct port_stats port_stats(const struct port *p);

/* Why a port that connects has no connection: a phrase, or NULL if it has one. */
enum port_trouble { PORT_OK, PORT_ABSENT, PORT_DENIED, PORT_HANDSHAKE };
enum port_trouble port_trouble(struct port *p);

struct port_msg *port_msg_new(size_t n); /* NULL with err set */
void port_msg_free(struct port_msg *m);  /* NULL is fine */
void *port_msg_data(struct port_msg *m);
size_t port_msg_size(const struct port_msg *m);

/* A fresh pair; and the public half of a secret. */
int port_keypair(char public[PORT_KEY], char secret[PORT_KEY]);
int port_public_of(char public[PORT_KEY], const char secret[PORT_KEY]);

/* Lets the process keep the memory of large messages for the next ones: mapping it anew for
 * each costs more than sending it. Call it once, before anything else. */
void port_keep_memory(void);

/* Whether a string has the form of a key. */
bool port_is_key(const char *s);

#endif
