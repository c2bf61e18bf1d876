/* zmq.c - the only file that includes libzmq: see port.h. ROUTER binds, DEALER connects. */
#include "port/port.h"

#include "base/err.h"

#include <errno.h>
#include <linux/tcp.h>
#include <malloc.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zmq.h>

#define ZMQ_ZAP_ENFORCE_DOMAIN_ 93 /* in libzmq 4.3.4, in its header only for drafts */
#define DOMAIN                  "vqatools"
#define HANDSHAKE_MS            3000
#define SILENCE                 ((int64_t)10000000) /* microseconds a connection may say nothing at first */
#define CONNECTIONS             1024
#define UNFINISHED              ((size_t)256 << 10) /* less than this of a message is nobody's fault */
#define GREETING                64                  /* bytes: ZMTP 3.1, Greeting */
#define POLLS                   512

struct port_msg {
    zmq_msg_t m;
};

/* One accepted connection, by its descriptor, which libzmq owns: we only ask the kernel about
 * it, and shut it down. libzmq may close it and accept another under the same number at any
 * time, so its word is read (read_monitor) right before a descriptor is taken for a peer's. */
struct conn {
    int fd;
    bool spoke;
    uint32_t peer;
    char user[PORT_KEY];
    int64_t since;     /* when port_watch() saw it first, microseconds; 0: not yet */
    uint64_t complete; /* bytes received when its last message was complete */
};

struct port {
    void *context, *socket, *zap, *monitor;
    bool binds;
    struct port_config cfg;
    struct conn *conn;
    int conns;
    enum port_trouble trouble;
    struct port_stats stats;
    size_t base; /* resident bytes before the first connection */
};

/* ---- messages ---- */

struct port_msg *port_msg_new(size_t n)
{
    struct port_msg *m = malloc(sizeof *m);
    if (!m || zmq_msg_init_size(&m->m, n) != 0) {
        free(m);
        return err_null(ERR_OS, "out of memory for a message of %zu bytes", n);
    }
    return m;
}

void port_msg_free(struct port_msg *m)
{
    if (m)
        zmq_msg_close(&m->m);
    free(m);
}

void *port_msg_data(struct port_msg *m)
{
    return zmq_msg_data(&m->m);
}

size_t port_msg_size(const struct port_msg *m)
{
    return zmq_msg_size((zmq_msg_t *)&m->m);
}

void port_keep_memory(void)
{
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, 256 << 20);
    mallopt(M_ARENA_MAX, 1); /* libzmq's thread takes what ours gave back */
}

/* ---- sockets ---- */

static int set_int(void *socket, int option, int value)
{
    return zmq_setsockopt(socket, option, &value, sizeof value);
}

static int set_text(void *socket, int option, const char *value)
{
    return zmq_setsockopt(socket, option, value, strlen(value));
}

/* The options of every socket; a test reads them back by what they do. */
static int set_bounds(const struct port *p)
{
    void *s = p->socket;
    int64_t frame = (int64_t)p->cfg.frame_max + 1024; /* CURVE adds some bytes to each */
    int rc = zmq_setsockopt(s, ZMQ_MAXMSGSIZE, &frame, sizeof frame);
    rc |= set_int(s, ZMQ_LINGER, 0);
    rc |= set_int(s, ZMQ_SNDHWM, p->binds ? 1000 : 64);
    rc |= set_int(s, ZMQ_RCVHWM, p->binds ? 8 : 1000);
    rc |= set_int(s, ZMQ_IMMEDIATE, 1);
    rc |= set_int(s, ZMQ_BACKLOG, 64);
    rc |= set_int(s, ZMQ_HANDSHAKE_IVL, HANDSHAKE_MS);
    rc |= set_int(s, ZMQ_HEARTBEAT_IVL, 1000);
    rc |= set_int(s, ZMQ_HEARTBEAT_TIMEOUT, 3000);
    rc |= set_int(s, ZMQ_HEARTBEAT_TTL, 4000);
    rc |= set_int(s, ZMQ_RECONNECT_IVL, 50);
    rc |= set_int(s, ZMQ_RECONNECT_IVL_MAX, 1000);
    rc |= set_int(s, ZMQ_CONNECT_TIMEOUT, 5000);
    rc |= set_int(s, ZMQ_IPV6, strchr(p->cfg.endpoint, '[') != NULL);
    if (p->binds)
        rc |= set_int(s, ZMQ_ROUTER_MANDATORY, 1);
    return rc ? err_set(ERR_OS, "%s: %s", p->cfg.endpoint, zmq_strerror(errno)) : 0;
}

static int set_keys(const struct port *p)
{
    const struct port_keys *k = p->cfg.keys;
    void *s = p->socket;
    if (!k)
        return 0;
    int rc = set_text(s, ZMQ_CURVE_SECRETKEY, k->secret);
    if (p->binds) {
        rc |= set_int(s, ZMQ_CURVE_SERVER, 1);
        rc |= set_text(s, ZMQ_ZAP_DOMAIN, DOMAIN);
        rc |= set_int(s, ZMQ_ZAP_ENFORCE_DOMAIN_, 1);
    } else {
        rc |= set_text(s, ZMQ_CURVE_PUBLICKEY, k->public);
        rc |= set_text(s, ZMQ_CURVE_SERVERKEY, k->theirs);
    }
    return rc ? err_set(ERR_CONFIG, "%s: keys: %s", p->cfg.endpoint, zmq_strerror(errno)) : 0;
}

/* Who decides about keys is there before anybody can connect. */
static int open_zap(struct port *p)
{
    if (!p->binds || !p->cfg.keys)
        return 0;
    p->zap = zmq_socket(p->context, ZMQ_REP);
    if (!p->zap || set_int(p->zap, ZMQ_LINGER, 0) ||
        zmq_bind(p->zap, "inproc://zeromq.zap.01") != 0)
        return err_set(ERR_OS, "key check: %s", zmq_strerror(errno));
    return 0;
}

static int open_monitor(struct port *p)
{
    if (zmq_socket_monitor(p->socket, "inproc://monitor", ZMQ_EVENT_ALL) != 0)
        return err_set(ERR_OS, "monitor: %s", zmq_strerror(errno));
    p->monitor = zmq_socket(p->context, ZMQ_PAIR);
    if (!p->monitor || set_int(p->monitor, ZMQ_LINGER, 0) ||
        zmq_connect(p->monitor, "inproc://monitor") != 0)
        return err_set(ERR_OS, "monitor: %s", zmq_strerror(errno));
    return 0;
}

static size_t resident(void)
{
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f && fscanf(f, "%*s %ld", &pages) != 1)
        pages = 0;
    if (f)
        fclose(f);
    return (size_t)pages * (size_t)sysconf(_SC_PAGESIZE);
}

static int attach(const struct port *p)
{
    const char *e = p->cfg.endpoint;
    int rc = p->binds ? zmq_bind(p->socket, e) : zmq_connect(p->socket, e);
    if (rc == 0)
        return 0;
    bool form = errno == EINVAL || errno == EPROTONOSUPPORT || errno == ENODEV;
    return err_set(form ? ERR_USAGE : ERR_UNAVAIL, "%s: %s", e,
                   form ? "not an endpoint (tcp://HOST:PORT or ipc://PATH)"
                        : zmq_strerror(errno));
}

static struct port *open_port(const struct port_config *cfg, bool binds)
{
    struct port *p = calloc(1, sizeof *p);
    if (!p)
        return err_null(ERR_OS, "out of memory for a socket");
    p->cfg = *cfg;
    p->binds = binds;
    p->trouble = PORT_ABSENT;
    p->conn = binds ? calloc(CONNECTIONS, sizeof *p->conn) : NULL;
    p->context = zmq_ctx_new();
    p->socket = p->context ? zmq_socket(p->context, binds ? ZMQ_ROUTER : ZMQ_DEALER) : NULL;
    if (!p->socket || (binds && !p->conn)) {
        err_set(ERR_OS, "%s: cannot open a socket", cfg->endpoint);
    } else if (open_zap(p) == 0 && set_bounds(p) == 0 && set_keys(p) == 0 &&
               open_monitor(p) == 0 && attach(p) == 0) {
        p->base = resident();
        return p;
    }
    port_close(p, 0);
    return NULL;
}

struct port *port_bind(const struct port_config *cfg)
{
    return open_port(cfg, true);
}

struct port *port_connect(const struct port_config *cfg)
{
    return open_port(cfg, false);
}

void port_close(struct port *p, int linger)
{
    if (!p)
        return;
    if (p->socket) {
        set_int(p->socket, ZMQ_LINGER, linger);
        zmq_socket_monitor(p->socket, NULL, 0);
        zmq_close(p->socket);
    }
    if (p->monitor)
        zmq_close(p->monitor);
    if (p->zap)
        zmq_close(p->zap);
    if (p->context)
        zmq_ctx_term(p->context);
    free(p->conn);
    free(p);
}

/* ---- keys ---- */

int port_keypair(char public[PORT_KEY], char secret[PORT_KEY])
{
    return zmq_curve_keypair(public, secret) == 0
               ? 0
               : err_set(ERR_OS, "a libzmq without CURVE: %s", zmq_strerror(errno));
}

int port_public_of(char public[PORT_KEY], const char secret[PORT_KEY])
{
    return zmq_curve_public(public, secret) == 0
               ? 0
               : err_set(ERR_CONFIG, "not a secret key: %s", zmq_strerror(errno));
}

bool port_is_key(const char *s)
{
    unsigned char raw[32];
    return strlen(s) == PORT_KEY - 1 && zmq_z85_decode(raw, s) != NULL;
}

#define ZAP_FRAMES 7

/* version, request id, domain, address, identity, mechanism, key; gives how many came. */
static int zap_request(void *zap, unsigned char frame[ZAP_FRAMES][256], int len[ZAP_FRAMES])
{
    int more = 1, n = 0;
    size_t size = sizeof more;
    while (more) {
        unsigned char waste[256];
        int got = zmq_recv(zap, n < ZAP_FRAMES ? frame[n] : waste, 256, ZMQ_DONTWAIT);
        if (got < 0)
            return 0;
        if (n < ZAP_FRAMES)
            len[n] = got;
        n++;
        if (zmq_getsockopt(zap, ZMQ_RCVMORE, &more, &size) != 0)
            return 0;
    }
    return n;
}

static bool zap_allows(const struct port *p, int n, unsigned char frame[ZAP_FRAMES][256],
                       const int len[ZAP_FRAMES], char key[PORT_KEY])
{
    if (n != ZAP_FRAMES || len[5] != 5 || memcmp(frame[5], "CURVE", 5) != 0 || len[6] != 32)
        return false;
    zmq_z85_encode(key, frame[6], 32);
    return p->cfg.allowed(p->cfg.ctx, key);
}

static void denied(struct port *p, const char *key, const char *from, int n)
{
    p->stats.denied++;
    snprintf(p->stats.denied_key, sizeof p->stats.denied_key, "%s", key);
    snprintf(p->stats.denied_from, sizeof p->stats.denied_from, "%.*s",
             n < 0    ? 0
             : n > 63 ? 63
                      : n,
             from);
}

static void answer_zap(struct port *p)
{
    unsigned char frame[ZAP_FRAMES][256];
    int len[ZAP_FRAMES] = { 0 };
    char key[PORT_KEY] = "";
    int n = zap_request(p->zap, frame, len);
    if (n == 0)
        return;
    bool yes = zap_allows(p, n, frame, len, key);
    if (!yes)
        denied(p, key, (const char *)frame[3], len[3]);
    zmq_send(p->zap, "1.0", 3, ZMQ_SNDMORE);
    zmq_send(p->zap, frame[1], (size_t)(len[1] > 255 ? 0 : len[1]), ZMQ_SNDMORE);
    zmq_send(p->zap, yes ? "200" : "400", 3, ZMQ_SNDMORE);
    zmq_send(p->zap, yes ? "OK" : "no", 2, ZMQ_SNDMORE);
    zmq_send(p->zap, key, yes ? strlen(key) : 0, ZMQ_SNDMORE);
    zmq_send(p->zap, "", 0, 0);
}

/* ---- connections ---- */

static struct conn *conn_of_fd(const struct port *p, int fd)
{
    for (int i = 0; i < p->conns; i++)
        if (p->conn[i].fd == fd)
            return &p->conn[i];
    return NULL;
}

/* Bytes the kernel has received for it; false where it does not count them (ipc). */
static bool received(int fd, uint64_t *bytes)
{
    struct tcp_info info = { 0 };
    socklen_t n = sizeof info;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &n) != 0 ||
        n < offsetof(struct tcp_info, tcpi_bytes_received) + sizeof info.tcpi_bytes_received)
        return false;
    *bytes = info.tcpi_bytes_received;
    return true;
}

static void hang_up(const struct conn *c, uint64_t *counter)
{
    ++*counter;
    shutdown(c->fd, SHUT_RDWR);
}

static void accepted(struct port *p, int fd)
{
    struct conn *c = conn_of_fd(p, fd);
    p->stats.accepted++;
    if (!c && p->conns == CONNECTIONS) {
        hang_up(&(struct conn){ .fd = fd }, &p->stats.cut_crowd);
        return;
    }
    if (!c)
        c = &p->conn[p->conns++];
    *c = (struct conn){ .fd = fd };
}

static void closed(struct port *p, int fd)
{
    struct conn *c = conn_of_fd(p, fd);
    if (c)
        *c = p->conn[--p->conns];
}

static void note(struct port *p, int event, int value)
{
    if (p->binds && event == ZMQ_EVENT_ACCEPTED)
        accepted(p, value);
    else if (p->binds && (event == ZMQ_EVENT_DISCONNECTED || event == ZMQ_EVENT_CLOSED))
        closed(p, value);
    else if (p->binds && (event == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL ||
                          event == ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL))
        p->stats.handshakes++;
    else if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED)
        p->trouble = PORT_OK;
    else if (event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH)
        p->trouble = PORT_DENIED;
    else if (event == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL ||
             event == ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL)
        p->trouble = p->trouble == PORT_DENIED ? PORT_DENIED : PORT_HANDSHAKE;
    else if (event == ZMQ_EVENT_DISCONNECTED && p->trouble == PORT_OK)
        p->trouble = PORT_ABSENT;
    else if (event == ZMQ_EVENT_CLOSED) /* nobody listens, whatever was before */
        p->trouble = PORT_ABSENT;
}

static void read_monitor(struct port *p)
{
    unsigned char frame[6];
    char address[256];
    while (zmq_recv(p->monitor, frame, sizeof frame, ZMQ_DONTWAIT) == (int)sizeof frame) {
        uint16_t event;
        uint32_t value;
        memcpy(&event, frame, 2);
        memcpy(&value, frame + 2, 4);
        zmq_recv(p->monitor, address, sizeof address, ZMQ_DONTWAIT);
        note(p, event, (int)value);
    }
}

enum port_trouble port_trouble(struct port *p)
{
    read_monitor(p);
    return p->trouble;
}

static uint64_t unfinished(const struct conn *c)
{
    uint64_t bytes;
    return received(c->fd, &bytes) && bytes > c->complete ? bytes - c->complete : 0;
}

/* A message longer than two bodies can be is none; and all unfinished ones together, by bytes
 * or by what this process has grown, stay below the limit: the longest goes first. */
static void cut_endless(struct port *p, size_t held)
{
    uint64_t sum = 0, most = 0;
    struct conn *worst = NULL;
    for (int i = 0; i < p->conns; i++) {
        uint64_t n = unfinished(&p->conn[i]);
        if (n > 2 * p->cfg.frame_max + (8u << 20)) {
            hang_up(&p->conn[i], &p->stats.cut_unfinished);
            continue;
        }
        sum += n;
        if (n > most) {
            most = n;
            worst = &p->conn[i];
        }
    }
    size_t now = resident(), own = p->base + held;
    bool grown = now > own && now - own > p->cfg.memory;
    if (worst && most > UNFINISHED && (sum > p->cfg.memory || grown)) {
        hang_up(worst, &p->stats.cut_unfinished);
        malloc_trim(0);
    }
}

void port_watch(struct port *p, size_t held, int64_t now)
{
    read_monitor(p);
    for (int i = 0; i < p->conns; i++) {
        struct conn *c = &p->conn[i];
        if (!c->since)
            c->since = now;
        if (!c->spoke && now - c->since > SILENCE) {
            hang_up(c, &p->stats.cut_idle);
            c->since = now; /* it is gone when libzmq says so */
        }
    }
    if (p->conns)
        cut_endless(p, held);
    p->stats.connections = p->conns;
}

void port_cut(struct port *p, uint32_t peer)
{
    read_monitor(p);
    for (int i = 0; i < p->conns; i++)
        if (p->conn[i].spoke && p->conn[i].peer == peer)
            hang_up(&p->conn[i], &p->stats.cut_slow);
}

void port_recheck(struct port *p)
{
    read_monitor(p);
    for (int i = 0; i < p->conns; i++)
        if (p->conn[i].user[0] && !p->cfg.allowed(p->cfg.ctx, p->conn[i].user))
            hang_up(&p->conn[i], &p->stats.denied);
}

struct port_stats port_stats(const struct port *p)
{
    return p->stats;
}

/* ---- sending and receiving ---- */

/* Notes which connection a message came by, unless it is gone: one that has received fewer
 * bytes than the message has was accepted since then under the same number. */
static void came_from(struct port *p, struct port_in *in, zmq_msg_t *frame)
{
    const char *user = zmq_msg_gets(frame, "User-Id");
    snprintf(in->user, sizeof in->user, "%s", user ? user : "");
    if (!p->binds)
        return;
    read_monitor(p);
    struct conn *c = conn_of_fd(p, zmq_msg_get(frame, ZMQ_SRCFD));
    uint64_t bytes = 0;
    if (!c || (received(c->fd, &bytes) && bytes < GREETING + in->head_n + zmq_msg_size(frame)))
        return;
    c->spoke = true;
    c->peer = in->peer;
    memcpy(c->user, in->user, sizeof c->user);
    c->complete = bytes;
}

/* The routing id that libzmq gives: a zero and four bytes. One that a peer chose is not taken.
 */
static bool read_peer(uint32_t *peer, zmq_msg_t *frame)
{
    const unsigned char *id = zmq_msg_data(frame);
    if (zmq_msg_size(frame) != 5 || id[0] != 0)
        return false;
    memcpy(peer, id + 1, sizeof *peer);
    return *peer != 0;
}

static bool read_head(struct port_in *in, zmq_msg_t *frame)
{
    in->head_n = zmq_msg_size(frame);
    if (in->head_n > sizeof in->head)
        return false;
    memcpy(in->head, zmq_msg_data(frame), in->head_n);
    return true;
}

/* Frames of one message into in; the rest of a message that is too long is thrown away. Gives
 * whether it was as it should be, or -1 if there is none. */
static int read_frames(struct port *p, struct port_in *in)
{
    bool good = true;
    int at = p->binds ? 0 : 1, more = 1;
    for (; more; at++) {
        zmq_msg_t frame;
        zmq_msg_init(&frame);
        if (zmq_msg_recv(&frame, p->socket, ZMQ_DONTWAIT) < 0)
            return zmq_msg_close(&frame), -1;
        more = zmq_msg_more(&frame);
        if (at == 0)
            good &= read_peer(&in->peer, &frame);
        else if (at == 1)
            good &= read_head(in, &frame);
        else if (at == 2) {
            came_from(p, in, &frame);
            in->body = malloc(sizeof *in->body);
            good &= in->body != NULL;
            if (in->body && zmq_msg_init(&in->body->m) == 0)
                zmq_msg_move(&in->body->m, &frame);
        }
        zmq_msg_close(&frame);
    }
    return good && at == 3;
}

int port_recv(struct port *p, struct port_in *in)
{
    for (;;) {
        *in = (struct port_in){ 0 };
        int got = read_frames(p, in);
        if (got == 1)
            return 1;
        port_msg_free(in->body);
        in->body = NULL;
        if (got < 0)
            return errno == EAGAIN || errno == EINTR
                       ? 0
                       : err_set(ERR_OS, "%s: %s", p->cfg.endpoint, zmq_strerror(errno));
        p->stats.malformed++;
    }
}

static int sent(const struct port *p)
{
    if (errno == EAGAIN || errno == EHOSTUNREACH || errno == EINTR)
        return 0;
    return err_set(ERR_OS, "%s: %s", p->cfg.endpoint, zmq_strerror(errno));
}

int port_send(struct port *p, uint32_t peer, const void *head, size_t n, struct port_msg *body)
{
    unsigned char id[5] = { 0 };
    memcpy(id + 1, &peer, sizeof peer);
    if (p->binds && zmq_send(p->socket, id, sizeof id, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0)
        return sent(p);
    if (zmq_send(p->socket, head, n, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0)
        return sent(p);
    zmq_msg_t copy; /* shares the bytes */
    zmq_msg_init(&copy);
    if (body)
        zmq_msg_copy(&copy, &body->m);
    if (zmq_msg_send(&copy, p->socket, ZMQ_DONTWAIT) >= 0)
        return 1;
    zmq_msg_close(&copy);
    return sent(p);
}

static int add_items(zmq_pollitem_t *item, struct port **ports, int n, const struct pollfd *fds,
                     int n_fds)
{
    int k = 0;
    for (int i = 0; i < n; i++) {
        item[k++] = (zmq_pollitem_t){ ports[i]->socket, 0, ZMQ_POLLIN, 0 };
        if (ports[i]->zap)
            item[k++] = (zmq_pollitem_t){ ports[i]->zap, 0, ZMQ_POLLIN, 0 };
    }
    for (int i = 0; i < n_fds; i++)
        item[k++] = (zmq_pollitem_t){ NULL, fds[i].fd,
                                      (short)((fds[i].events & POLLIN ? ZMQ_POLLIN : 0) |
                                              (fds[i].events & POLLOUT ? ZMQ_POLLOUT : 0)),
                                      0 };
    return k;
}

int port_wait(struct port **ports, int n, struct pollfd *fds, int n_fds, int ms)
{
    zmq_pollitem_t item[POLLS];
    BUG_ON(2 * n + n_fds > POLLS);
    int k = add_items(item, ports, n, fds, n_fds);
    if (zmq_poll(item, k, ms) < 0 && errno != EINTR)
        return err_set(ERR_OS, "poll: %s", zmq_strerror(errno));
    for (int i = 0; i < n_fds; i++) {
        short got = item[k - n_fds + i].revents;
        fds[i].revents = (short)((got & ZMQ_POLLIN ? POLLIN : 0) |
                                 (got & ZMQ_POLLOUT ? POLLOUT : 0) |
                                 (got & ZMQ_POLLERR ? POLLHUP : 0));
    }
    for (int i = 0; i < n; i++)
        if (ports[i]->zap)
            answer_zap(ports[i]);
    return 0;
}
