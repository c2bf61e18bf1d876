/* call.c - see call.h. */
#include "serve/call.h"

#include "base/err.h"
#include "base/io.h"
#include "base/outfile.h"
#include "base/signals.h"
#include "port/port.h"
#include "rpc/client.h"
#include "serve/keys.h"
#include "wire/wire.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define PING_MS      1000
#define DEAD_MS      3000
#define LEAVE_MS     200
#define WINDOW_BYTES ((size_t)256 << 20)

struct call {
    const struct call_config *cfg;
    struct port *port[RPC_SERVERS];
    char *name[RPC_SERVERS]; /* the endpoints */
    char *names;             /* what they point into */
    int n;
    struct port_keys keys;
    struct rpc_client *core;
    struct rpc_actions acts;
    int in_fd, out_fd;
    struct outfile file; /* the output, unless it is standard output */
    struct wire_reader *in;
    struct wire_writer *out;
    struct buf via; /* of the first server that said WELCOME: all must serve the same */
    struct record rec;
    int64_t now;
    uint64_t session;
    bool over, ended;
    struct err_saved broken; /* the input's failure, told when all before it is answered */
};

static int64_t clock_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void release(void *body)
{
    port_msg_free(body);
}

/* ---- the servers' addresses ---- */

static int read_keys(struct call *c)
{
    const struct call_config *cfg = c->cfg;
    if (!cfg->key != !cfg->server_key)
        return err_set(ERR_USAGE, "--key and --server-key belong together");
    for (int i = 0; i < c->n; i++) {
        int local = serve_is_local(c->name[i]);
        if (local < 0)
            return -1;
        if (!local && !cfg->key)
            return err_set(ERR_CONFIG,
                           "%s: not on this machine: --key and --server-key are needed "
                           "(vqa-keygen)",
                           c->name[i]);
    }
    return cfg->key ? serve_keys_client(&c->keys, cfg->key, cfg->server_key) : 0;
}

static int read_names(struct call *c)
{
    char *rest = c->names = strdup(c->cfg->endpoints), *one;
    while (rest && (one = strsep(&rest, ","))) {
        if (c->n == RPC_SERVERS)
            return err_set(ERR_USAGE, "more than %d endpoints", RPC_SERVERS);
        c->name[c->n++] = one;
    }
    return c->names ? read_keys(c) : err_nomem("endpoints");
}

static int connect_to(struct call *c, int i)
{
    struct port_config pc = { .endpoint = c->name[i],
                              .frame_max = c->cfg->record_bytes,
                              .keys = c->cfg->key ? &c->keys : NULL };
    port_close(c->port[i], 0);
    c->port[i] = port_connect(&pc);
    return c->port[i] ? 0 : -1;
}

static int open_call(struct call *c)
{
    if (getrandom(&c->session, sizeof c->session, 0) != (ssize_t)sizeof c->session)
        return err_sys(ERR_OS, "random numbers");
    c->session |= 1; /* 0 is nobody */
    if (read_names(c) < 0)
        return -1;
    for (int i = 0; i < c->n; i++)
        if (connect_to(c, i) < 0)
            return -1;
    c->now = clock_now();
    return 0;
}

static void close_call(struct call *c)
{
    struct err_saved e;
    err_save(&e);
    for (int i = 0; i < c->n; i++)
        port_close(c->port[i], LEAVE_MS);
    rpc_client_free(c->core, release);
    rpc_actions_release(&c->acts);
    wire_reader_free(c->in);
    wire_writer_free(c->out);
    signals_remove(NULL);
    outfile_discard(&c->file);
    if (c->in_fd > STDIN_FILENO)
        close(c->in_fd);
    buf_release(&c->via);
    record_release(&c->rec);
    explicit_bzero(&c->keys, sizeof c->keys);
    free(c->names);
    err_restore(&e);
}

/* ---- giving up ---- */

/* "a.jpg b.jpg and 7 more", of what has no answer; "" for nothing. */
static void list_unanswered(struct call *c, char *text, size_t size)
{
    void *body[RPC_WINDOW];
    int n = rpc_client_unanswered(c->core, body, RPC_WINDOW);
    size_t at = 0;
    text[0] = '\0';
    for (int i = 0; i < n; i++) {
        const char *id = "record";
        if (wire_decode(&c->rec, port_msg_data(body[i]), port_msg_size(body[i])) == 0)
            id = record_id(&c->rec);
        if (at + strlen(id) + 24 > size) {
            snprintf(text + at, size - at, " and %d more", n - i);
            return;
        }
        at += (size_t)snprintf(text + at, size - at, "%s%s", i ? " " : "; unanswered: ", id);
    }
}

static const char *trouble_of(struct port *p)
{
    static const char *const words[] = { [PORT_OK] = "connected, but it does not answer",
                                         [PORT_ABSENT] = "cannot connect",
                                         [PORT_DENIED] = "refuses this key",
                                         [PORT_HANDSHAKE] = "handshake failed: wrong keys" };
    return words[port_trouble(p)];
}

/* The kind by what stood in the way of the first server that is in the way by more than
 * absence.
 */
static int give_up(struct call *c, const struct rpc_action *a)
{
    char where[200] = "", ids[220];
    enum err_kind kind = (enum err_kind)a->kind;
    list_unanswered(c, ids, sizeof ids);
    if (a->worker >= 0)
        return err_set(kind, "%s: %s%s", c->name[a->worker], a->text, ids);
    size_t at = 0;
    for (int i = 0; i < c->n && at < sizeof where - 1; i++) {
        enum port_trouble t = port_trouble(c->port[i]);
        at += (size_t)snprintf(where + at, sizeof where - at, "%s%s (%s)", i ? ", " : "",
                               c->name[i], trouble_of(c->port[i]));
        if (kind == ERR_UNAVAIL && (t == PORT_DENIED || t == PORT_HANDSHAKE))
            kind = ERR_NOPERM;
    }
    int s = kind == ERR_TEMP
                ? strcmp(a->text, "no answer in time") ? c->cfg->lost_s : c->cfg->timeout_s
                : c->cfg->connect_s;
    return err_set(kind, "%s: %s, in %d s%s", where, a->text, s, ids);
}

/* ---- actions ---- */

static int send_action(struct call *c, const struct rpc_action *a)
{
    struct port_msg *body = a->body, *via = NULL;
    unsigned char head[RPC_HEAD];
    size_t n = 0;
    const unsigned char *chain = wire_reader_via(c->in, &n);
    if (a->head.type == RPC_HELLO && chain && !(body = via = port_msg_new(n)))
        return -1;
    if (via)
        memcpy(port_msg_data(via), chain, n);
    n = body ? port_msg_size(body) : 0;
    rpc_pack(head, &a->head, body ? port_msg_data(body) : NULL, n);
    int sent = port_send(c->port[a->peer], 0, head, sizeof head, body);
    port_msg_free(via);
    return sent;
}

/* All servers must serve the same; the first says what goes into our header. */
static int meet(struct call *c, const struct rpc_action *a)
{
    const void *via = port_msg_data(a->body);
    size_t n = port_msg_size(a->body);
    struct wire_link first, other;
    for (int i = 0; c->via.len; i++) {
        int x = wire_via_link(&first, c->via.data, c->via.len, i);
        int y = wire_via_link(&other, via, n, i);
        if (y < 0)
            return -1;
        if (x != y || (x == 1 && (strcmp(first.program, other.program) ||
                                  strcmp(first.model, other.model))))
            return err_set(ERR_PROTO,
                           "%s: serves %s with the model %.12s, another server %s with "
                           "%.12s",
                           c->name[a->peer], other.program, other.model, first.program,
                           first.model);
        if (x <= 0)
            return 0;
    }
    c->out = wire_writer_join(c->out_fd, c->in, via, n);
    return c->out ? buf_append(&c->via, via, n) : err_wrap("%s", c->name[a->peer]);
}

struct part {
    struct wire_writer *out;
    int rc;
};

static void write_seen(void *ctx, const struct record *rec)
{
    struct part *part = ctx;
    part->rc = wire_write(part->out, rec);
}

/* A record of an answer, believed only after the same checks as any other. */
static int write_part(struct call *c, struct port_msg *m)
{
    struct part part = { .out = c->out };
    if (wire_look(port_msg_data(m), port_msg_size(m), write_seen, &part) < 0)
        part.rc = err_set(ERR_PROTO, "an answer that is not a record: %s", err_msg());
    port_msg_free(m);
    return part.rc;
}

static int write_error(struct call *c, const struct rpc_action *a)
{
    int rc = wire_decode(&c->rec, port_msg_data(a->body), port_msg_size(a->body));
    if (rc < 0)
        return -1;
    c->cfg->report(record_id(&c->rec), a->text);
    err_set((enum err_kind)a->kind, "%s", a->text);
    return record_put_error(&c->rec, "stage-call") < 0 ? -1 : wire_write(c->out, &c->rec);
}

static int carry_out(struct call *c, const struct rpc_action *a)
{
    switch (a->what) {
    case RPC_SEND:
        return send_action(c, a) < 0 ? -1 : 0;
    case RPC_FREE:
        release(a->body);
        return 0;
    case RPC_MEET:
        return meet(c, a);
    case RPC_OUT:
        return write_part(c, a->body);
    case RPC_FAIL:
        return write_error(c, a);
    case RPC_RESET:
        if (c->cfg->say)
            c->cfg->say("%s: lost", c->name[a->peer]);
        return connect_to(c, (int)a->peer);
    case RPC_GIVE_UP:
        return give_up(c, a);
    case RPC_FINISH:
        c->over = true;
        return 0;
    default:
        return 0;
    }
}

static int step(struct call *c, const struct rpc_client_event *ev)
{
    struct rpc_actions acts = c->acts;
    c->acts = (struct rpc_actions){ 0 };
    rpc_actions_clear(&acts);
    rpc_client_step(c->core, ev, c->now, &acts);
    int rc = acts.failed ? err_nomem("the client") : 0;
    for (int i = 0; i < acts.n; i++) {
        if (rc == 0)
            rc = carry_out(c, &acts.v[i]);
        else if (acts.v[i].what == RPC_OUT || acts.v[i].what == RPC_FREE)
            release(acts.v[i].body);
    }
    c->acts = acts;
    return rc;
}

/* ---- what comes ---- */

static int take_message(struct call *c, int i, struct port_in *in)
{
    struct rpc_client_event ev = { .type = RPC_GOT_MSG, .server = i, .body = in->body };
    size_t n = port_msg_size(in->body);
    char text[RPC_TEXT];
    if (rpc_unpack(&ev.head, in->head, in->head_n, port_msg_data(in->body), n) < 0) {
        port_msg_free(in->body); /* as if lost: it is asked for again */
        return 0;
    }
    if (ev.head.type == RPC_PONG) {
        ev.ids = port_msg_data(in->body);
        ev.n_ids = (int)(n / 16);
    }
    if (ev.head.type == RPC_ERR) { /* "KIND MESSAGE" */
        snprintf(text, sizeof text, "%.*s", (int)(n < sizeof text ? n : sizeof text - 1),
                 (const char *)port_msg_data(in->body));
        char *space = strchr(text, ' ');
        if (space)
            *space = '\0';
        ev.kind = (int)err_kind_named(text);
        ev.text = space ? space + 1 : "error without a message";
    }
    return step(c, &ev);
}

static int take_messages(struct call *c)
{
    for (int i = 0; i < c->n; i++) {
        struct port_in in;
        int got;
        while (!c->over && (got = port_recv(c->port[i], &in)) != 0)
            if (got < 0 || take_message(c, i, &in) < 0)
                return -1;
    }
    return 0;
}

/* An input that breaks off is an end, too; what came before it is answered first. */
static int take_end(struct call *c, int got)
{
    c->ended = true;
    if (got < 0)
        err_save(&c->broken);
    return step(c, &(struct rpc_client_event){ .type = RPC_GOT_END });
}

static int take_input(struct call *c)
{
    int got = 1;
    while (got == 1 && !c->ended && rpc_client_wants(c->core)) {
        got = wire_read_now(c->in, &c->rec);
        if (got == 2)
            return 0;
        if (got <= 0)
            return take_end(c, got);
        struct rpc_client_event ev = { .type = RPC_GOT_INPUT, .n = c->rec.bytes.len };
        struct port_msg *m = port_msg_new(ev.n);
        if (!m)
            return -1;
        memcpy(port_msg_data(m), c->rec.bytes.data, ev.n);
        ev.body = m;
        if (step(c, &ev) < 0)
            return -1;
    }
    return 0;
}

static int loop(struct call *c)
{
    while (!c->over) {
        c->now = clock_now();
        if (take_messages(c) < 0 || take_input(c) < 0 ||
            step(c, &(struct rpc_client_event){ .type = RPC_GOT_TIME }) < 0)
            return -1;
        if (c->over)
            break;
        struct pollfd fd = { c->in_fd, POLLIN, 0 };
        int64_t wait = rpc_client_wake(c->core, c->now) - c->now;
        if (port_wait(c->port, c->n, &fd, !c->ended && rpc_client_wants(c->core),
                      (int)((wait + 999) / 1000)) < 0)
            return -1;
    }
    return 0;
}

static int finish(struct call *c)
{
    if (c->broken.kind) {
        err_restore(&c->broken);
        return -1;
    }
    if (wire_finish(c->out) < 0)
        return -1;
    return c->file.path ? outfile_publish(&c->file) : 0;
}

static bool is_stdio(const char *name)
{
    return !name || !strcmp(name, "-");
}

static int open_streams(struct call *c)
{
    const char *name = c->cfg->input, *out = c->cfg->output;
    c->out_fd = STDOUT_FILENO;
    if (!is_stdio(name) && (c->in_fd = open(name, O_RDONLY | O_CLOEXEC)) < 0)
        return err_sys(ERR_NOINPUT, "%s", name);
    if (!is_stdio(out) && outfile_open(&c->file, out) < 0)
        return -1;
    if (c->file.path)
        c->out_fd = c->file.fd;
    if (c->file.tmp[0])
        signals_remove(c->file.tmp);
    if (isatty(c->in_fd) || isatty(c->out_fd))
        return err_set(ERR_USAGE,
                       "records come and go on pipes or in files, not on a terminal");
    c->in = wire_reader_new(c->in_fd, is_stdio(name) ? "standard input" : name, NULL);
    return c->in ? wire_start(c->in) : -1;
}

int call_run(const struct call_config *cfg)
{
    struct call c = { .cfg = cfg };
    port_keep_memory();
    record_init(&c.rec);
    c.rec.lazy = true; /* we only pass on */
    int rc = open_streams(&c) == 0 && open_call(&c) == 0 ? 0 : -1;
    struct rpc_client_config cc = { .servers = c.n,
                                    .window = cfg->window,
                                    .window_bytes = WINDOW_BYTES,
                                    .session = c.session,
                                    .connect = cfg->connect_s * 1000 * RPC_MS,
                                    .lost = cfg->lost_s * 1000 * RPC_MS,
                                    .timeout = cfg->timeout_s * 1000 * RPC_MS,
                                    .ping = PING_MS * RPC_MS,
                                    .dead = DEAD_MS * RPC_MS };
    c.core = rc < 0 ? NULL : rpc_client_new(&cc, c.now);
    rc = c.core ? loop(&c) : -1;
    if (rc == 0)
        rc = finish(&c);
    if (rc == 0)
        rc = wire_writer_counts(c.out).errors != 0;
    close_call(&c);
    if (rc < 0 && is_stdio(cfg->output) && !isatty(STDOUT_FILENO))
        wire_abort(STDOUT_FILENO, "stage-call");
    return rc;
}

/* ---- questions ---- */

int call_ask(const struct call_config *cfg, int metrics)
{
    struct call c = { .cfg = cfg };
    struct rpc_head h = { .type = metrics ? RPC_METRICS : RPC_INFO }, back;
    struct port_in in;
    unsigned char head[RPC_HEAD];
    int rc = open_call(&c), got = 0;
    int64_t until = c.now + cfg->connect_s * 1000 * RPC_MS, sent = 0;
    while (rc == 0 && got == 0 && (c.now = clock_now()) < until) {
        if (c.now - sent > 500 * RPC_MS) {
            rpc_pack(head, &h, NULL, 0);
            if (port_send(c.port[0], 0, head, sizeof head, NULL) > 0)
                sent = c.now;
        }
        rc = port_wait(c.port, 1, NULL, 0, sent ? 100 : 10);
        got = rc == 0 ? port_recv(c.port[0], &in) : -1;
    }
    if (rc == 0 && got == 0)
        rc = err_set(port_trouble(c.port[0]) <= PORT_ABSENT ? ERR_UNAVAIL : ERR_NOPERM,
                     "%s: %s, in %d s", c.name[0], trouble_of(c.port[0]), cfg->connect_s);
    if (got > 0) {
        size_t n = port_msg_size(in.body);
        rc = rpc_unpack(&back, in.head, in.head_n, port_msg_data(in.body), n);
        if (rc == 0)
            rc = io_write_full(STDOUT_FILENO, port_msg_data(in.body), n);
        port_msg_free(in.body);
    }
    close_call(&c);
    return got < 0 ? -1 : rc;
}
