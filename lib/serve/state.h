/* state.h - what the files of stage-serve share. Private to lib/serve. */
#ifndef SERVE_STATE_H
#define SERVE_STATE_H

#include "port/port.h"
#include "rpc/server.h"
#include "serve/keys.h"
#include "serve/serve.h"
#include "serve/worker.h"

#define SERVE_ID 92

/* A body of lib/rpc/server.h: a message, and where its record's id is. */
struct serve_item {
    struct port_msg *msg;
    struct tag tag;
    char id[SERVE_ID]; /* for people, empty if it is none or long */
};

/* The fields of the last record seen, as "name f32 (32, 768)" and so on. */
struct serve_shape {
    char text[512];
};

struct serve_counts {
    uint64_t malformed, unsent, unclaimed, in_bytes, out_bytes;
};

struct serve {
    const struct serve_config *cfg;
    struct port *port;
    struct rpc_server *core;
    struct worker *worker;
    bool *ready; /* its first mark has come */
    struct rpc_actions acts;
    struct port_keys keys;
    struct serve_list list;
    struct record rec;
    struct buf via; /* the chain of the command's stream: what WELCOME says */
    struct serve_shape in, out;
    struct serve_counts counts;
    char (*user)[PORT_KEY]; /* keys seen, in the order of their numbers from 1 */
    int users;
    int64_t now, started, watched, looked, told; /* told: when refused keys were last named */
    uint64_t denied;                             /* those told of */
    int signals;                                 /* a signalfd */
    bool over;
    int exit_status; /* of the command that never got ready */
};

/* ---- report.c ---- */

/* Text for INFO and METRICS, appended. */
int serve_info(struct buf *b, const struct serve *s);
int serve_metrics(struct buf *b, const struct serve *s);

/* Remembers the tensors of a record. */
void serve_shape_note(struct serve_shape *shape, const struct record *rec);

#endif
