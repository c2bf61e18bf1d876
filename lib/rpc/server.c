/* server.c - see server.h. A request is QUEUED, RUNNING, then DONE until its client says that
 * it has the answer; a death of its worker takes it back to QUEUED. */
#include "rpc/server.h"

#include "base/err.h"

#include <stdlib.h>
#include <string.h>

#define LATENCIES   1024
#define QUARANTINES 16
#define BATCH_MAX   256

enum req_state { REQ_NONE, REQ_QUEUED, REQ_RUNNING, REQ_DONE };

struct part {
    void *body;
    size_t n;
};

struct request {
    enum req_state state;
    uint32_t peer, user;
    uint64_t session, counter, token;
    uint16_t attempt;
    bool solo; /* was there when a worker died: runs alone from now on */
    int deaths, worker, parts, parts_cap;
    int64_t arrived, deadline, done;
    void *body;
    size_t n;
    struct part *part;
};

enum worker_state { W_DOWN, W_STARTING, W_IDLE, W_BUSY };

struct worker {
    enum worker_state state;
    bool killed, worked; /* worked: it has finished something since it started */
    int fails;           /* starts in a row that came to nothing */
    int64_t until, life; /* W_DOWN: when to start; else the last sign of life */
    int n;
    uint64_t token[BATCH_MAX];
};

struct quarantine {
    uint64_t digest;
    size_t n;
    int64_t until;
};

struct rpc_server {
    struct rpc_server_config cfg;
    struct request *req;
    int high; /* slots beyond were never used */
    struct worker *w;
    uint64_t next_token;
    size_t bytes;
    int queued, running;
    bool ready, draining; /* ready: some worker has been, once */
    int64_t drain_by;
    struct quarantine poison[QUARANTINES];
    int poisons;
    struct rpc_server_stats stats;
    uint32_t latency[LATENCIES]; /* microseconds, a ring */
    uint64_t latencies;
};

struct rpc_server *rpc_server_new(const struct rpc_server_config *cfg)
{
    struct rpc_server *s = calloc(1, sizeof *s);
    if (!s)
        return err_null(ERR_OS, "out of memory for the server");
    s->cfg = *cfg;
    if (s->cfg.batch > BATCH_MAX)
        s->cfg.batch = BATCH_MAX;
    s->req = calloc((size_t)cfg->requests, sizeof *s->req);
    s->w = calloc((size_t)cfg->workers, sizeof *s->w);
    if (!s->req || !s->w) {
        rpc_server_free(s, NULL);
        return err_null(ERR_OS, "out of memory for the server");
    }
    return s;
}

void rpc_server_free(struct rpc_server *s, void (*release)(void *body))
{
    if (!s)
        return;
    for (int i = 0; i < s->high; i++) {
        struct request *r = &s->req[i];
        if (release && r->body)
            release(r->body);
        for (int p = 0; release && p < r->parts; p++)
            release(r->part[p].body);
        free(r->part);
    }
    free(s->req);
    free(s->w);
    free(s);
}

/* ---- requests ---- */

static void free_body(struct rpc_server *s, void *body, size_t n, struct rpc_actions *out)
{
    if (!body)
        return;
    s->bytes -= n;
    rpc_act(out, RPC_FREE)->body = body;
}

static void drop_parts(struct rpc_server *s, struct request *r, struct rpc_actions *out)
{
    for (int i = 0; i < r->parts; i++)
        free_body(s, r->part[i].body, r->part[i].n, out);
    r->parts = 0;
}

static void forget(struct rpc_server *s, struct request *r, struct rpc_actions *out)
{
    free_body(s, r->body, r->n, out);
    drop_parts(s, r, out);
    free(r->part);
    s->queued -= r->state == REQ_QUEUED;
    s->running -= r->state == REQ_RUNNING;
    *r = (struct request){ 0 };
}

static bool owned_by(const struct request *r, uint32_t user, uint64_t session)
{
    return r->state != REQ_NONE && r->user == user && r->session == session;
}

static struct request *find(struct rpc_server *s, uint32_t user, const struct rpc_head *h)
{
    for (int i = 0; i < s->high; i++)
        if (owned_by(&s->req[i], user, h->session) && s->req[i].counter == h->counter)
            return &s->req[i];
    return NULL;
}

static struct request *by_token(struct rpc_server *s, uint64_t token)
{
    struct request *r = &s->req[token % (uint64_t)s->cfg.requests];
    return token && r->state != REQ_NONE && r->token == token ? r : NULL;
}

uint64_t rpc_server_whose(const struct rpc_server *s, int worker, uint64_t token)
{
    const struct worker *w = &s->w[worker];
    for (int i = 0; token && i < w->n; i++)
        if (w->token[i] == token)
            return token;
    return w->n == 1 ? w->token[0] : 0;
}

void *rpc_server_body(const struct rpc_server *s, uint64_t token)
{
    struct request *r = by_token((struct rpc_server *)s, token);
    return r ? r->body : NULL;
}

static struct request *oldest(struct rpc_server *s, enum req_state state)
{
    struct request *best = NULL;
    for (int i = 0; i < s->high; i++) {
        struct request *r = &s->req[i];
        if (r->state == state && (!best || r->arrived < best->arrived ||
                                  (r->arrived == best->arrived && r->token < best->token)))
            best = r;
    }
    return best;
}

/* A free slot; the longest kept answer makes room. The token is the slot, and never the same.
 */
static struct request *new_slot(struct rpc_server *s, struct rpc_actions *out)
{
    int i = 0;
    while (i < s->high && s->req[i].state != REQ_NONE)
        i++;
    if (i == s->cfg.requests) {
        struct request *r = oldest(s, REQ_DONE);
        if (!r)
            return NULL;
        forget(s, r, out);
        i = (int)(r - s->req);
    }
    if (i == s->high)
        s->high++;
    s->req[i].token = ++s->next_token * (uint64_t)s->cfg.requests + (uint64_t)i;
    return &s->req[i];
}

static struct rpc_action *reply(const struct request *r, enum rpc_type type,
                                struct rpc_actions *out)
{
    struct rpc_action *a = rpc_act(out, RPC_SEND);
    a->peer = r->peer;
    a->head = (struct rpc_head){ .type = (uint8_t)type,
                                 .session = r->session,
                                 .counter = r->counter,
                                 .attempt = r->attempt };
    return a;
}

static void send_part(const struct request *r, int i, struct rpc_actions *out)
{
    struct rpc_action *a = reply(r, RPC_REP, out);
    a->head.flags = RPC_MORE;
    a->head.part = (uint32_t)i;
    a->body = r->part[i].body;
}

static void send_end(const struct request *r, struct rpc_actions *out)
{
    reply(r, RPC_REP, out)->head.part = (uint32_t)r->parts;
}

static void send_all(const struct request *r, struct rpc_actions *out)
{
    for (int i = 0; i < r->parts; i++)
        send_part(r, i, out);
    if (r->state == REQ_DONE)
        send_end(r, out);
}

/* No answer: said once, not kept. Asked again, the request is a new one. */
static void fail(struct rpc_server *s, struct request *r, bool retry, int kind,
                 const char *message, struct rpc_actions *out)
{
    struct rpc_action *a = reply(r, RPC_ERR, out);
    a->head.flags = retry ? RPC_RETRY : 0;
    rpc_error_text(a, kind, "%s", message);
    s->stats.errors++;
    forget(s, r, out);
}

/* The client has every answer below `counter - part`. */
static void acknowledge(struct rpc_server *s, uint32_t user, const struct rpc_head *h,
                        struct rpc_actions *out)
{
    for (int i = 0; i < s->high; i++) {
        struct request *r = &s->req[i];
        if (r->state == REQ_DONE && owned_by(r, user, h->session) &&
            r->counter + h->part < h->counter)
            forget(s, r, out);
    }
}

/* ---- quarantine ---- */

static bool poisoned(const struct rpc_server *s, const struct request *r, int64_t now)
{
    for (int i = 0; i < s->poisons; i++)
        if (s->poison[i].n == r->n && s->poison[i].until > now &&
            s->poison[i].digest == s->cfg.digest(r->body))
            return true;
    return false;
}

/* The newest sixteen are remembered. */
static void quarantine(struct rpc_server *s, const struct request *r, int64_t now)
{
    int i = s->poisons < QUARANTINES ? s->poisons++ : (int)(s->stats.poisoned % QUARANTINES);
    s->poison[i] = (struct quarantine){ s->cfg.digest(r->body), r->n, now + s->cfg.keep };
    s->stats.poisoned++;
}

/* ---- workers ---- */

static void start(struct rpc_server *s, int i, int64_t now, struct rpc_actions *out)
{
    s->w[i] = (struct worker){ .state = W_STARTING, .fails = s->w[i].fails, .life = now };
    s->stats.starts++;
    rpc_act(out, RPC_START)->worker = i;
}

static void feed(struct rpc_server *s, int i, struct request *r, int64_t now,
                 struct rpc_actions *out)
{
    struct worker *w = &s->w[i];
    w->state = W_BUSY;
    w->life = now;
    w->token[w->n++] = r->token;
    r->state = REQ_RUNNING;
    r->worker = i;
    s->queued--;
    s->running++;
    struct rpc_action *a = rpc_act(out, RPC_FEED);
    a->worker = i;
    a->token = r->token;
    a->body = r->body;
}

/* The oldest and, up to a batch, those after it; a batch that is not full waits a little. */
static void feed_batch(struct rpc_server *s, int i, int64_t now, struct rpc_actions *out)
{
    struct request *r = oldest(s, REQ_QUEUED);
    bool alone = r->solo;
    if (!alone && s->queued < s->cfg.batch && now < r->arrived + s->cfg.batch_wait)
        return;
    while (r && (s->w[i].n == 0 || (!alone && !r->solo && s->w[i].n < s->cfg.batch))) {
        feed(s, i, r, now, out);
        r = s->queued ? oldest(s, REQ_QUEUED) : NULL;
    }
    rpc_act(out, RPC_MARK)->worker = i;
    s->stats.batches++;
}

static void take_mark(struct rpc_server *s, int i, int64_t now, struct rpc_actions *out)
{
    struct worker *w = &s->w[i];
    for (int k = 0; k < w->n; k++) {
        struct request *r = by_token(s, w->token[k]);
        if (!r || r->state != REQ_RUNNING)
            continue;
        r->state = REQ_DONE;
        r->done = now;
        s->running--;
        s->stats.answers++;
        s->latency[s->latencies++ % LATENCIES] = (uint32_t)(now - r->arrived);
        free_body(s, r->body, r->n, out);
        r->body = NULL;
        r->n = 0;
        if (r->peer)
            send_end(r, out);
        else
            forget(s, r, out); /* its client has left */
    }
    w->n = 0;
    w->fails = 0;
    w->worked = true;
    w->state = W_IDLE;
}

static void take_part(struct rpc_server *s, const struct rpc_server_event *ev,
                      struct rpc_actions *out)
{
    struct request *r = by_token(s, ev->token);
    s->bytes += ev->n;
    if (r && r->state == REQ_RUNNING && r->parts == r->parts_cap) {
        int cap = r->parts_cap ? 2 * r->parts_cap : 1;
        struct part *p = realloc(r->part, (size_t)cap * sizeof *p);
        r->part = p ? p : r->part;
        r->parts_cap = p ? cap : r->parts_cap;
        out->failed |= !p;
    }
    if (!r || r->state != REQ_RUNNING || r->parts == r->parts_cap) {
        s->stats.dropped++;
        free_body(s, ev->body, ev->n, out);
        return;
    }
    r->part[r->parts] = (struct part){ ev->body, ev->n };
    if (r->peer)
        send_part(r, r->parts, out);
    r->parts++;
}

/* After a death: again, alone, before everybody else; unless it has cost too many. */
static void blame(struct rpc_server *s, struct request *r, int64_t now, struct rpc_actions *out)
{
    drop_parts(s, r, out);
    r->deaths++;
    r->solo = true;
    if (r->deaths >= s->cfg.deaths) {
        quarantine(s, r, now);
        fail(s, r, false, ERR_DATA, "the command died each time it was given this record", out);
        return;
    }
    if (!r->peer) {
        forget(s, r, out);
        return;
    }
    r->state = REQ_QUEUED;
    s->running--;
    s->queued++;
}

/* A worker that did some work starts again at once; one that never does, ever more slowly. */
static void take_death(struct rpc_server *s, int i, int64_t now, struct rpc_actions *out)
{
    struct worker *w = &s->w[i];
    bool early = !s->ready && w->state == W_STARTING;
    s->stats.deaths++;
    for (int k = 0; k < w->n; k++) {
        struct request *r = by_token(s, w->token[k]);
        if (r && r->state == REQ_RUNNING && r->worker == i)
            blame(s, r, now, out);
    }
    w->n = 0;
    w->fails = w->worked ? 0 : w->fails + 1;
    int64_t wait = w->fails ? RPC_MS * 100 : 0;
    for (int k = 1; k < w->fails && wait < s->cfg.backoff_max; k++)
        wait *= 2;
    w->state = W_DOWN;
    w->until = now + (wait < s->cfg.backoff_max ? wait : s->cfg.backoff_max);
    if (early)
        rpc_act(out, RPC_EXIT)->kind = ERR_CONFIG;
}

/* A sign of life keeps a busy worker; but work that nobody waits for any more ends, too. */
static bool stuck(struct rpc_server *s, const struct worker *w, int64_t now)
{
    if (w->killed || (w->state != W_BUSY && w->state != W_STARTING))
        return false;
    if (now - w->life > s->cfg.watchdog)
        return true;
    for (int k = 0; k < w->n; k++) {
        struct request *r = by_token(s, w->token[k]);
        if (r && r->deadline + s->cfg.watchdog > now)
            return false;
    }
    return w->state == W_BUSY;
}

/* Whether a worker that is down should start: not for the last moments of a server. */
static bool wanted(const struct rpc_server *s)
{
    return !s->draining || s->queued;
}

static void run_workers(struct rpc_server *s, int64_t now, struct rpc_actions *out)
{
    for (int i = 0; i < s->cfg.workers; i++) {
        struct worker *w = &s->w[i];
        if (w->state == W_DOWN && now >= w->until && wanted(s))
            start(s, i, now, out);
        else if (w->state == W_IDLE && s->queued)
            feed_batch(s, i, now, out);
        else if (stuck(s, w, now)) {
            w->killed = true;
            s->stats.stalls++;
            rpc_act(out, RPC_KILL)->worker = i;
        }
    }
}

/* ---- messages ---- */

static struct rpc_action *answer(const struct rpc_server_event *ev, enum rpc_type type,
                                 struct rpc_actions *out)
{
    struct rpc_action *a = rpc_act(out, RPC_SEND);
    a->peer = ev->peer;
    a->head = ev->head;
    a->head.type = (uint8_t)type;
    a->head.flags = 0;
    a->head.ms = a->head.part = 0;
    return a;
}

static void busy(struct rpc_server *s, const struct rpc_server_event *ev, uint32_t ms,
                 struct rpc_actions *out)
{
    s->stats.busy++;
    answer(ev, RPC_BUSY, out)->head.ms = ms;
}

static void take_hello(struct rpc_server *s, const struct rpc_server_event *ev,
                       struct rpc_actions *out)
{
    if (s->draining) {
        answer(ev, RPC_BYE, out);
    } else if (!s->ready) {
        busy(s, ev, 200, out);
    } else if (ev->refuse) {
        s->stats.refused++;
        rpc_error_text(answer(ev, RPC_ERR, out), ERR_PROTO, "%s", ev->refuse);
    } else {
        struct rpc_action *a = answer(ev, RPC_WELCOME, out);
        a->head.credits = (uint16_t)s->cfg.credits;
        a->head.part = (uint32_t)s->cfg.workers;
        a->head.ms = s->cfg.instance;
    }
}

/* In work beyond its credits, or with more unacknowledged answers than a client can want. */
static bool beyond_credits(const struct rpc_server *s, uint32_t peer)
{
    int open = 0, kept = 0;
    for (int i = 0; i < s->high; i++) {
        bool its = s->req[i].state != REQ_NONE && s->req[i].peer == peer;
        kept += its && s->req[i].state == REQ_DONE;
        open += its && s->req[i].state != REQ_DONE;
    }
    return open >= s->cfg.credits || kept >= RPC_WINDOW;
}

/* Known already: whoever asks last gets the answer, or what there is of it. */
static void join(struct rpc_server *s, struct request *r, const struct rpc_server_event *ev,
                 struct rpc_actions *out)
{
    s->stats.joined += r->state != REQ_DONE;
    s->stats.served_again += r->state == REQ_DONE;
    r->peer = ev->peer;
    r->attempt = ev->head.attempt;
    send_all(r, out);
}

static bool admit(struct rpc_server *s, const struct rpc_server_event *ev,
                  struct rpc_actions *out)
{
    if (s->draining || !s->ready) {
        busy(s, ev, 200, out);
        if (s->draining)
            answer(ev, RPC_BYE, out);
        return false;
    }
    if (ev->refuse) { /* a record that is no record, or a client that was refused */
        s->stats.refused++;
        s->stats.errors++;
        rpc_error_text(answer(ev, RPC_ERR, out), ERR_DATA, "%s", ev->refuse);
        return false;
    }
    if (beyond_credits(s, ev->peer) || s->bytes + ev->n > s->cfg.queue_bytes) {
        busy(s, ev, 50, out);
        return false;
    }
    return true;
}

static void take_request(struct rpc_server *s, const struct rpc_server_event *ev, int64_t now,
                         struct rpc_actions *out)
{
    struct request *r = find(s, ev->user, &ev->head);
    if (ev->head.credits && ev->head.credits != (uint16_t)s->cfg.instance) {
        s->stats.dropped++; /* meant for the server that was here before us */
        rpc_act(out, RPC_FREE)->body = ev->body;
        return;
    }
    acknowledge(s, ev->user, &ev->head, out);
    s->bytes += ev->n;
    if (r) {
        join(s, r, ev, out);
        free_body(s, ev->body, ev->n, out);
        return;
    }
    s->bytes -= ev->n; /* admit() weighs it against what is here */
    r = admit(s, ev, out) ? new_slot(s, out) : NULL;
    s->bytes += ev->n;
    if (!r) {
        free_body(s, ev->body, ev->n, out);
        return;
    }
    int64_t left = ev->head.ms ? (int64_t)ev->head.ms * RPC_MS : 60000 * RPC_MS;
    *r = (struct request){ .state = REQ_QUEUED,
                           .peer = ev->peer,
                           .user = ev->user,
                           .session = ev->head.session,
                           .counter = ev->head.counter,
                           .token = r->token,
                           .attempt = ev->head.attempt,
                           .arrived = now,
                           .deadline = now + left,
                           .body = ev->body,
                           .n = ev->n };
    s->queued++;
    s->stats.requests++;
    if (poisoned(s, r, now))
        fail(s, r, false, ERR_DATA, "in quarantine: this record has killed the command", out);
}

/* Its requests come to this connection from now on: it may be a new one. */
static void take_ping(struct rpc_server *s, const struct rpc_server_event *ev,
                      struct rpc_actions *out)
{
    acknowledge(s, ev->user, &ev->head, out);
    for (int i = 0; i < s->high; i++)
        if (owned_by(&s->req[i], ev->user, ev->head.session))
            s->req[i].peer = ev->peer;
    struct rpc_action *a = answer(ev, RPC_PONG, out);
    a->token = ev->user;
    a->head.credits = (uint16_t)s->cfg.credits;
    a->head.part = (uint32_t)(s->queued + s->running);
    a->head.ms = s->cfg.instance;
    if (s->draining)
        answer(ev, RPC_BYE, out);
}

/* A client leaves: what waits is dropped, what runs is answered to nobody. */
static void take_bye(struct rpc_server *s, const struct rpc_server_event *ev,
                     struct rpc_actions *out)
{
    for (int i = 0; i < s->high; i++) {
        struct request *r = &s->req[i];
        if (!owned_by(r, ev->user, ev->head.session))
            continue;
        if (r->state == REQ_RUNNING)
            r->peer = 0;
        else
            forget(s, r, out);
    }
}

static void take_message(struct rpc_server *s, const struct rpc_server_event *ev, int64_t now,
                         struct rpc_actions *out)
{
    if (ev->head.type == RPC_REQ) {
        take_request(s, ev, now, out);
        return;
    }
    if (ev->head.type == RPC_HELLO)
        take_hello(s, ev, out);
    else if (ev->head.type == RPC_PING)
        take_ping(s, ev, out);
    else if (ev->head.type == RPC_BYE)
        take_bye(s, ev, out);
    else if (ev->head.type == RPC_INFO || ev->head.type == RPC_METRICS)
        answer(ev, ev->head.type, out);
    else
        s->stats.dropped++;
    if (ev->body)
        rpc_act(out, RPC_FREE)->body = ev->body;
}

/* ---- time ---- */

static void expire(struct rpc_server *s, int64_t now, struct rpc_actions *out)
{
    for (int i = 0; i < s->high; i++) {
        struct request *r = &s->req[i];
        if (r->state == REQ_QUEUED && now > r->deadline) {
            s->stats.expired++;
            fail(s, r, true, ERR_TEMP, "its time was over before it could be worked on", out);
        } else if (r->state == REQ_DONE && now > r->done + s->cfg.keep) {
            forget(s, r, out);
        }
    }
    while (s->high && s->req[s->high - 1].state == REQ_NONE)
        s->high--;
    struct request *r;
    while (s->bytes > s->cfg.queue_bytes && (r = oldest(s, REQ_DONE))) {
        rpc_act(out, RPC_CUT)->peer = r->peer; /* it does not read, and what it does not read */
        forget(s, r, out);                     /* is memory in its socket */
    }
}

static void leave_if_done(struct rpc_server *s, int64_t now, struct rpc_actions *out)
{
    if (s->draining && ((s->queued == 0 && s->running == 0) || now > s->drain_by))
        rpc_act(out, RPC_EXIT);
}

static void begin_drain(struct rpc_server *s, int64_t now)
{
    s->drain_by = s->draining ? now - 1 : now + s->cfg.drain; /* asked twice: at once */
    s->draining = true;
}

void rpc_server_step(struct rpc_server *s, const struct rpc_server_event *ev, int64_t now,
                     struct rpc_actions *out)
{
    switch (ev->type) {
    case RPC_EV_MSG:
        take_message(s, ev, now, out);
        break;
    case RPC_EV_READY:
        s->w[ev->worker].state = W_IDLE;
        s->ready = true;
        break;
    case RPC_EV_PART:
        take_part(s, ev, out);
        break;
    case RPC_EV_MARKED:
        take_mark(s, ev->worker, now, out);
        break;
    case RPC_EV_DIED:
        take_death(s, ev->worker, now, out);
        break;
    case RPC_EV_DRAIN:
        begin_drain(s, now);
        break;
    case RPC_EV_TICK:
    case RPC_EV_TIME:
        break;
    }
    if (ev->type == RPC_EV_TICK || ev->type == RPC_EV_PART)
        s->w[ev->worker].life = now;
    expire(s, now, out);
    run_workers(s, now, out);
    leave_if_done(s, now, out);
}

static int64_t sooner(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t rpc_server_wake(const struct rpc_server *s, int64_t now)
{
    int64_t at = now + 500 * RPC_MS;
    bool idle = false;
    for (int i = 0; i < s->cfg.workers; i++) {
        if (s->w[i].state == W_DOWN && wanted(s))
            at = sooner(at, s->w[i].until);
        idle |= s->w[i].state == W_IDLE;
    }
    for (int i = 0; idle && s->queued && i < s->high; i++)
        if (s->req[i].state == REQ_QUEUED)
            at = sooner(at, s->req[i].arrived + s->cfg.batch_wait);
    return at > now ? at : now;
}

int rpc_server_ids(const struct rpc_server *s, uint32_t user, uint64_t session,
                   unsigned char *out, int max)
{
    int n = 0;
    for (int i = 0; i < s->high && n < max; i++) {
        const struct request *r = &s->req[i];
        if (!owned_by(r, user, session) || r->state == REQ_DONE)
            continue;
        rpc_pack_id(out + 16 * n++, r->session, r->counter);
    }
    return n;
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

struct rpc_server_load rpc_server_load(const struct rpc_server *s)
{
    struct rpc_server_load l = { .waiting = s->queued,
                                 .running = s->running,
                                 .workers = s->cfg.workers,
                                 .bytes = s->bytes };
    uint32_t v[LATENCIES];
    size_t n = s->latencies < LATENCIES ? (size_t)s->latencies : LATENCIES;
    for (int i = 0; i < s->cfg.workers; i++)
        l.ready += s->w[i].state == W_IDLE || s->w[i].state == W_BUSY;
    for (int i = 0; i < s->high; i++)
        l.kept += s->req[i].state == REQ_DONE;
    memcpy(v, s->latency, n * sizeof *v);
    qsort(v, n, sizeof *v, by_value);
    if (n) {
        l.p50 = v[n / 2] / 1e3;
        l.p90 = v[n * 9 / 10] / 1e3;
        l.p99 = v[n * 99 / 100] / 1e3;
    }
    return l;
}

const struct rpc_server_stats *rpc_server_stats(const struct rpc_server *s)
{
    return &s->stats;
}
