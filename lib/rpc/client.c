/* client.c - see client.h. The window is a ring in the order of the input; its first request's
 * answer is written as it comes, the others' are held until their turn. */
#include "rpc/client.h"

#include "base/err.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum req_state { REQ_WAITS, REQ_SENT, REQ_ANSWERED, REQ_FAILED };

struct request {
    enum req_state state;
    uint64_t counter;
    void *body;
    size_t n;
    int server;       /* REQ_SENT: where */
    uint16_t attempt; /* of the last sending */
    uint64_t ping;    /* the server's ping number when it was sent */
    int64_t first, not_before, arrived;
    int got, written, cap; /* parts of this attempt; parts written, of any attempt */
    void **part;           /* from `written` on, until written */
    int kind;              /* REQ_FAILED */
    char *text;
};

enum server_state { S_HELLO, S_UP, S_LEAVING };

struct server {
    enum server_state state;
    bool met;
    int open; /* requests sent to it and unanswered */
    int credits, workers, others;
    uint32_t instance;  /* which life of it said WELCOME */
    int64_t not_before; /* BUSY: no requests until then */
    int64_t hello_at, hello_wait;
    uint64_t ping, pong;    /* numbers of the last sent and the last answered */
    int64_t ping_at, asked; /* when to send the next; when the oldest unanswered was sent */
};

struct rpc_client {
    struct rpc_client_config cfg;
    struct server s[RPC_SERVERS];
    struct request *ring;
    int first, n; /* of the window */
    size_t bytes;
    uint64_t next_counter;
    bool ended, over; /* over: RPC_FINISH or RPC_GIVE_UP was said */
    int64_t alive_at; /* when a server was last there */
    bool met;         /* some server has said WELCOME, once */
    bool hoped;       /* some server said BUSY to HELLO: it starts */
    uint64_t random;
    struct rpc_client_stats stats;
};

struct rpc_client *rpc_client_new(const struct rpc_client_config *cfg, int64_t now)
{
    struct rpc_client *c = calloc(1, sizeof *c);
    if (!c)
        return err_null(ERR_OS, "out of memory for the client");
    c->cfg = *cfg;
    c->ring = calloc((size_t)cfg->window, sizeof *c->ring);
    if (!c->ring) {
        free(c);
        return err_null(ERR_OS, "out of memory for the client");
    }
    c->next_counter = 1;
    c->alive_at = now;
    c->random = cfg->session | 1;
    for (int i = 0; i < cfg->servers; i++)
        c->s[i] = (struct server){ .hello_at = now };
    return c;
}

static struct request *nth(const struct rpc_client *c, int i)
{
    return &c->ring[(c->first + i) % c->cfg.window];
}

void rpc_client_free(struct rpc_client *c, void (*release)(void *body))
{
    if (!c)
        return;
    for (int i = 0; i < c->n; i++) {
        struct request *r = nth(c, i);
        for (int p = r->written; release && p < r->got; p++)
            release(r->part[p]);
        if (release)
            release(r->body);
        free(r->text);
    }
    for (int i = 0; i < c->cfg.window; i++)
        free(c->ring[i].part);
    free(c->ring);
    free(c);
}

/* Between half of t and t, so that clients of one server do not come back in step. */
static int64_t jitter(struct rpc_client *c, int64_t t)
{
    c->random ^= c->random << 13;
    c->random ^= c->random >> 7;
    c->random ^= c->random << 17;
    return t / 2 + (int64_t)(c->random % (uint64_t)(t / 2 + 1));
}

/* ---- requests ---- */

static struct request *find(struct rpc_client *c, const struct rpc_head *h)
{
    if (h->session != c->cfg.session || c->n == 0)
        return NULL;
    uint64_t i = h->counter - nth(c, 0)->counter;
    return i < (uint64_t)c->n ? nth(c, (int)i) : NULL;
}

static void release_parts(struct request *r, struct rpc_actions *out)
{
    for (int p = r->written; p < r->got; p++)
        rpc_act(out, RPC_FREE)->body = r->part[p];
    r->got = 0;
}

/* Away from its server, to be sent again. */
static void unsend(struct rpc_client *c, struct request *r, int64_t not_before,
                   struct rpc_actions *out)
{
    if (r->state != REQ_SENT)
        return;
    c->s[r->server].open--;
    release_parts(r, out);
    r->state = REQ_WAITS;
    r->not_before = not_before;
}

static void settle(struct rpc_client *c, struct request *r, enum req_state state)
{
    if (r->state == REQ_SENT)
        c->s[r->server].open--;
    r->state = state;
}

static void take_part(struct rpc_client *c, struct request *r,
                      const struct rpc_client_event *ev, struct rpc_actions *out)
{
    bool wanted = ev->head.part == (uint32_t)r->got;
    if (wanted && r->got == r->cap) {
        int cap = r->cap ? 2 * r->cap : 1;
        void **p = realloc(r->part, (size_t)cap * sizeof *p);
        r->part = p ? p : r->part;
        r->cap = p ? cap : r->cap;
        out->failed |= !p;
        wanted = p != NULL;
    }
    if (wanted && r->got++ >= r->written)
        r->part[r->got - 1] = ev->body;
    else
        rpc_act(out, RPC_FREE)->body = ev->body; /* a gap, or had before */
    c->stats.late += !wanted;
}

/* The answer's end: all of it is here, or it is asked for again at once. */
static void take_end(struct rpc_client *c, struct request *r, const struct rpc_head *h,
                     int64_t now, struct rpc_actions *out)
{
    if (h->part == (uint32_t)r->got)
        settle(c, r, REQ_ANSWERED);
    else
        unsend(c, r, now, out);
}

static void take_reply(struct rpc_client *c, const struct rpc_client_event *ev, int64_t now,
                       struct rpc_actions *out)
{
    struct request *r = find(c, &ev->head);
    bool ours = r && r->state == REQ_SENT && r->server == ev->server &&
                r->attempt == ev->head.attempt;
    if (!ours) {
        c->stats.late++;
        if (ev->body)
            rpc_act(out, RPC_FREE)->body = ev->body;
    } else if (ev->head.flags & RPC_MORE) {
        take_part(c, r, ev, out);
    } else {
        if (ev->body)
            rpc_act(out, RPC_FREE)->body = ev->body;
        take_end(c, r, &ev->head, now, out);
    }
}

static struct rpc_action *to_server(const struct rpc_client *c, int i, enum rpc_type type,
                                    struct rpc_actions *out)
{
    struct rpc_action *a = rpc_act(out, RPC_SEND);
    a->peer = (uint32_t)i;
    a->head.type = (uint8_t)type;
    a->head.session = c->cfg.session;
    return a;
}

/* What waits there for us need not be done. */
static void leave(struct rpc_client *c, struct rpc_actions *out)
{
    c->over = true;
    for (int i = 0; i < c->cfg.servers; i++)
        if (c->s[i].state != S_HELLO)
            to_server(c, i, RPC_BYE, out);
}

/* server: whose fault it is, or all of them (-1). */
static void give_up(struct rpc_client *c, int server, int kind, const char *text,
                    struct rpc_actions *out)
{
    if (c->over)
        return;
    leave(c, out);
    struct rpc_action *a = rpc_act(out, RPC_GIVE_UP);
    a->worker = server;
    a->kind = kind;
    snprintf(a->text, sizeof a->text, "%s", text);
}

/* About HELLO: this server will never do. About a request: here and now, or never. */
static void take_error(struct rpc_client *c, const struct rpc_client_event *ev, int64_t now,
                       struct rpc_actions *out)
{
    struct request *r = find(c, &ev->head);
    const char *text = ev->text ? ev->text : "error without a message";
    if (ev->head.session == c->cfg.session && ev->head.counter == 0) {
        give_up(c, ev->server, ev->kind, text, out);
        return;
    }
    if (!r || r->state != REQ_SENT || r->server != ev->server ||
        r->attempt != ev->head.attempt) {
        c->stats.late++;
    } else if (ev->head.flags & RPC_RETRY) {
        unsend(c, r, now + jitter(c, 1000 * RPC_MS), out);
    } else {
        release_parts(r, out);
        settle(c, r, REQ_FAILED);
        r->kind = ev->kind;
        r->text = strdup(text);
    }
}

/* ---- servers ---- */

/* Its requests go elsewhere; a fresh connection is tried, ever more slowly. */
static void lose(struct rpc_client *c, int i, int64_t now, struct rpc_actions *out)
{
    struct server *s = &c->s[i];
    c->stats.lost++;
    for (int k = 0; k < c->n; k++)
        if (nth(c, k)->state == REQ_SENT && nth(c, k)->server == i)
            unsend(c, nth(c, k), now, out);
    *s = (struct server){ .met = s->met, .hello_at = now, .ping = s->ping, .pong = s->ping };
    rpc_act(out, RPC_RESET)->peer = (uint32_t)i;
}

static void hello(struct rpc_client *c, int i, int64_t now, struct rpc_actions *out)
{
    struct server *s = &c->s[i];
    to_server(c, i, RPC_HELLO, out);
    s->hello_wait = s->hello_wait ? 2 * s->hello_wait : 5 * RPC_MS;
    if (s->hello_wait > c->cfg.ping)
        s->hello_wait = c->cfg.ping;
    s->hello_at = now + jitter(c, s->hello_wait);
}

static void ping(struct rpc_client *c, int i, int64_t now, struct rpc_actions *out)
{
    struct server *s = &c->s[i];
    if (s->ping == s->pong)
        s->asked = now;
    struct rpc_action *a = to_server(c, i, RPC_PING, out);
    a->head.attempt = (uint16_t)++s->ping;
    a->head.counter = c->next_counter;
    a->head.part = (uint32_t)c->n;
    s->ping_at = now + c->cfg.ping;
}

static void welcome(struct rpc_client *c, const struct rpc_client_event *ev, int64_t now,
                    struct rpc_actions *out)
{
    struct server *s = &c->s[ev->server];
    if (s->state != S_HELLO)
        return;
    s->state = S_UP;
    s->credits = ev->head.credits ? ev->head.credits : 1;
    s->workers = ev->head.part ? (int)ev->head.part : 1;
    s->instance = ev->head.ms;
    s->pong = s->ping;
    s->ping_at = now + c->cfg.ping;
    s->met = c->met = true;
    struct rpc_action *a = rpc_act(out, RPC_MEET);
    a->peer = (uint32_t)ev->server;
    a->body = ev->body;
}

static bool listed(const struct rpc_client_event *ev, const struct request *r)
{
    for (int i = 0; i < ev->n_ids; i++) {
        uint64_t session, counter;
        rpc_unpack_id(ev->ids + 16 * i, &session, &counter);
        if (session == ev->head.session && counter == r->counter)
            return true;
    }
    return false;
}

/* What was sent before that PING, is not answered and not on the list, was lost: again. */
static void pong(struct rpc_client *c, const struct rpc_client_event *ev, int64_t now,
                 struct rpc_actions *out)
{
    struct server *s = &c->s[ev->server];
    uint64_t number = s->ping - (uint16_t)((uint16_t)s->ping - ev->head.attempt);
    if (s->state == S_HELLO || ev->head.session != c->cfg.session || number > s->ping ||
        number <= s->pong)
        return;
    if (ev->head.ms != s->instance) { /* restarted: perhaps with another model */
        lose(c, ev->server, now, out);
        return;
    }
    s->pong = number;
    s->asked = now;
    s->credits = ev->head.credits ? ev->head.credits : 1;
    s->others = (int)ev->head.part > s->open ? (int)ev->head.part - s->open : 0;
    for (int i = 0; i < c->n; i++) {
        struct request *r = nth(c, i);
        if (r->state == REQ_SENT && r->server == ev->server && r->ping < number &&
            !listed(ev, r))
            unsend(c, r, now, out);
    }
}

static void take_busy(struct rpc_client *c, const struct rpc_client_event *ev, int64_t now,
                      struct rpc_actions *out)
{
    struct server *s = &c->s[ev->server];
    int64_t wait = (ev->head.ms ? ev->head.ms : 50) * RPC_MS;
    struct request *r = find(c, &ev->head);
    if (s->state == S_HELLO) {
        s->hello_at = now + jitter(c, wait);
        c->hoped = true;
    }
    s->not_before = now + jitter(c, wait);
    if (r && r->state == REQ_SENT && r->server == ev->server && r->attempt == ev->head.attempt)
        unsend(c, r, now, out);
}

static void take_message(struct rpc_client *c, const struct rpc_client_event *ev, int64_t now,
                         struct rpc_actions *out)
{
    struct server *s = &c->s[ev->server];
    switch (ev->head.type) {
    case RPC_REP:
        take_reply(c, ev, now, out);
        return;
    case RPC_WELCOME:
        welcome(c, ev, now, out);
        break;
    case RPC_ERR:
        take_error(c, ev, now, out);
        break;
    case RPC_BUSY:
        take_busy(c, ev, now, out);
        break;
    case RPC_PONG:
        pong(c, ev, now, out);
        break;
    case RPC_BYE:
        if (s->state == S_UP)
            s->state = S_LEAVING;
        else if (s->state == S_HELLO)
            s->hello_at = now + jitter(c, c->cfg.ping);
        break;
    default:
        c->stats.late++;
    }
    if (ev->body)
        rpc_act(out, RPC_FREE)->body = ev->body;
}

/* ---- what is due ---- */

/* The one with the least to do for each of its workers, of those that may get more. */
static int least_loaded(const struct rpc_client *c, int64_t now)
{
    int best = -1;
    for (int i = 0; i < c->cfg.servers; i++) {
        const struct server *s = &c->s[i], *b = &c->s[best < 0 ? 0 : best];
        if (s->state != S_UP || s->open >= s->credits || now < s->not_before)
            continue;
        if (best < 0 || (s->open + s->others) * b->workers < (b->open + b->others) * s->workers)
            best = i;
    }
    return best;
}

static void send(struct rpc_client *c, struct request *r, int i, int64_t now,
                 struct rpc_actions *out)
{
    r->state = REQ_SENT;
    r->server = i;
    r->got = 0;
    c->stats.again += r->attempt > 0;
    c->stats.sent++;
    r->attempt++;
    r->ping = c->s[i].ping;
    r->first = r->first ? r->first : now;
    c->s[i].open++;
    struct rpc_action *a = to_server(c, i, RPC_REQ, out);
    a->head.counter = r->counter;
    a->head.attempt = r->attempt;
    a->head.credits = (uint16_t)c->s[i].instance;
    a->head.part = (uint32_t)(r->counter - nth(c, 0)->counter);
    int64_t left = c->cfg.timeout ? r->first + c->cfg.timeout - now : 3600000 * RPC_MS;
    a->head.ms = (uint32_t)(left / RPC_MS) + 1;
    a->body = r->body;
}

static void send_waiting(struct rpc_client *c, int64_t now, struct rpc_actions *out)
{
    for (int i = 0; i < c->n; i++) {
        struct request *r = nth(c, i);
        if (r->state != REQ_WAITS || now < r->not_before)
            continue;
        int server = least_loaded(c, now);
        if (server < 0)
            return;
        send(c, r, server, now, out);
    }
}

static void tend_servers(struct rpc_client *c, int64_t now, struct rpc_actions *out)
{
    for (int i = 0; i < c->cfg.servers; i++) {
        struct server *s = &c->s[i];
        if (s->state == S_HELLO) {
            if (now >= s->hello_at)
                hello(c, i, now, out);
        } else if (s->ping != s->pong && now - s->asked > c->cfg.dead) {
            lose(c, i, now, out);
        } else if (s->state == S_LEAVING && s->open == 0) {
            lose(c, i, now, out);
            s->hello_at = now + c->cfg.ping;
        } else if (now >= s->ping_at) {
            ping(c, i, now, out);
        }
    }
}

static void pop(struct rpc_client *c, struct rpc_actions *out)
{
    struct request *r = nth(c, 0);
    rpc_act(out, RPC_FREE)->body = r->body;
    free(r->text);
    c->bytes -= r->n;
    *r = (struct request){ .part = r->part, .cap = r->cap };
    c->first = (c->first + 1) % c->cfg.window;
    c->n--;
}

static void write_ready(struct rpc_client *c, struct rpc_actions *out)
{
    while (c->n) {
        struct request *r = nth(c, 0);
        for (; r->written < r->got; r->written++)
            rpc_act(out, RPC_OUT)->body = r->part[r->written]; /* the shell's from now on */
        if (r->state != REQ_ANSWERED && r->state != REQ_FAILED)
            return;
        if (r->state == REQ_FAILED) {
            struct rpc_action *a = rpc_act(out, RPC_FAIL);
            a->body = r->body;
            a->kind = r->kind;
            snprintf(a->text, sizeof a->text, "%s", r->text ? r->text : "error");
        }
        pop(c, out);
    }
    if (c->ended && !c->over && c->met) { /* whose header says what an empty answer is of */
        leave(c, out);
        rpc_act(out, RPC_FINISH);
    }
}

static bool anybody(const struct rpc_client *c)
{
    for (int i = 0; i < c->cfg.servers; i++)
        if (c->s[i].state != S_HELLO)
            return true;
    return false;
}

/* Some server must be there: within `connect` at the start (longer if one says that it is
 * starting), and never away for `lost` while there is something to ask. */
static void mind_servers(struct rpc_client *c, int64_t now, struct rpc_actions *out)
{
    if (anybody(c)) {
        c->alive_at = now;
        return;
    }
    int64_t patience = c->met || c->hoped ? c->cfg.lost : c->cfg.connect;
    int64_t since = c->alive_at;
    if (c->met && c->n && nth(c, 0)->arrived > since)
        since = nth(c, 0)->arrived; /* nobody was needed before */
    if (now - since > patience && (!c->met || c->n))
        give_up(c, -1, c->met ? ERR_TEMP : ERR_UNAVAIL,
                c->met ? "all servers are lost" : "no server answers", out);
}

static void mind_deadlines(struct rpc_client *c, int64_t now, struct rpc_actions *out)
{
    mind_servers(c, now, out);
    for (int i = 0; c->cfg.timeout && i < c->n; i++) {
        struct request *r = nth(c, i);
        if (r->first && r->state != REQ_ANSWERED && r->state != REQ_FAILED &&
            now - r->first > c->cfg.timeout)
            give_up(c, -1, ERR_TEMP, "no answer in time", out);
    }
}

static void take_input(struct rpc_client *c, const struct rpc_client_event *ev, int64_t now)
{
    struct request *r = nth(c, c->n++);
    *r = (struct request){ .part = r->part,
                           .cap = r->cap,
                           .counter = c->next_counter++,
                           .body = ev->body,
                           .n = ev->n,
                           .arrived = now };
    c->bytes += ev->n;
    c->stats.inputs++;
}

void rpc_client_step(struct rpc_client *c, const struct rpc_client_event *ev, int64_t now,
                     struct rpc_actions *out)
{
    struct request *r;
    switch (ev->type) {
    case RPC_GOT_MSG:
        take_message(c, ev, now, out);
        break;
    case RPC_GOT_INPUT:
        take_input(c, ev, now);
        break;
    case RPC_GOT_END:
        c->ended = true;
        break;
    case RPC_GOT_UNSENT:
        r = find(c, &ev->head);
        if (r && r->state == REQ_SENT && r->server == ev->server)
            unsend(c, r, now + 20 * RPC_MS, out);
        break;
    case RPC_GOT_TIME:
        break;
    }
    if (!c->over) {
        tend_servers(c, now, out);
        send_waiting(c, now, out);
    }
    write_ready(c, out);
    if (!c->over)
        mind_deadlines(c, now, out);
}

bool rpc_client_wants(const struct rpc_client *c)
{
    return !c->ended && !c->over && c->n < c->cfg.window &&
           (c->n == 0 || c->bytes < c->cfg.window_bytes);
}

int64_t rpc_client_wake(const struct rpc_client *c, int64_t now)
{
    int64_t at = now + 500 * RPC_MS;
    for (int i = 0; i < c->cfg.servers; i++) {
        const struct server *s = &c->s[i];
        int64_t due = s->state == S_HELLO ? s->hello_at : s->ping_at;
        if (c->n && s->state == S_UP && s->not_before > now && s->not_before < due)
            due = s->not_before;
        if (s->state != S_HELLO && s->ping != s->pong && s->asked + c->cfg.dead < due)
            due = s->asked + c->cfg.dead;
        at = due < at ? due : at;
    }
    for (int i = 0; i < c->n; i++)
        if (nth(c, i)->state == REQ_WAITS && nth(c, i)->not_before > now &&
            nth(c, i)->not_before < at)
            at = nth(c, i)->not_before;
    return at > now ? at : now;
}

int rpc_client_unanswered(const struct rpc_client *c, void **body, int max)
{
    for (int i = 0; i < c->n && i < max; i++)
        body[i] = nth(c, i)->body;
    return c->n;
}

uint64_t rpc_client_met(const struct rpc_client *c)
{
    uint64_t met = 0;
    for (int i = 0; i < c->cfg.servers; i++)
        met |= (uint64_t)c->s[i].met << i;
    return met;
}

const struct rpc_client_stats *rpc_client_stats(const struct rpc_client *c)
{
    return &c->stats;
}
