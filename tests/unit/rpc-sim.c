/* rpc-sim.c - lives of stage-call and stage-serve in a made-up world, without sockets or
 * clocks.
 *
 * A schedule is a seed: a client with some inputs, one to three servers with workers, a network
 * that drops, doubles, delays and reorders, workers that crash, hang or are poisoned by a
 * record, servers that crash, restart, drain or stand still; all of it until a random moment,
 * after which the world is kind. Then every input must have been answered once, in order, with
 * its own answer. In a third of the lives the servers stay away for good: then the client must
 * say so in time.
 *
 *     rpc-sim [SCHEDULES [FIRST-SEED]]      default 2000 from seed 1; `make torture` runs 10^6
 */
#include "lib/tap.h"
#include "rpc/client.h"
#include "rpc/server.h"

#define SERVERS  3
#define WORKERS  2
#define FLIGHT   4096
#define PATIENCE (45 * S) /* the last server is back 12 s after its crash */
#define S        (1000 * RPC_MS)

struct body {
    int v;
};

enum what {
    MSG_TO_SERVER,
    MSG_TO_CLIENT,
    W_READY,
    W_PART,
    W_MARK,
    W_DIES,
    S_CRASH,
    S_UP,
    S_DRAIN
};

struct event {
    int64_t at;
    uint64_t order;
    enum what what;
    int server, worker, life; /* life: of the worker or the server it was meant for */
    uint32_t peer;
    struct rpc_head head;
    bool has_body;
    int v;
    uint64_t token;
    unsigned char ids[16 * 16];
    int n_ids;
    char text[RPC_TEXT];
};

struct worker {
    int life;
    bool running, stuck;
    int n;
    uint64_t token[8];
    int v[8];
};

struct server {
    struct rpc_server *s;
    int life;
    bool up;
    int64_t frozen_until;
    struct worker w[WORKERS];
    uint32_t peer; /* the client's connection number here: another after each reset */
};

struct world {
    uint64_t seed, rng, order;
    int64_t now, heal;
    int drop, twice, late, crash; /* per thousand */
    bool forsaken;                /* servers never come back */
    int servers, inputs, fed, poison, batch;
    struct server server[SERVERS];
    struct rpc_client *c;
    struct event *q; /* a heap */
    int nq, live;
    int next_out, next_part; /* which input, which part of its answer the output is at */
    bool finished, gave_up, wrong;
    uint64_t events;
    struct rpc_actions acts;
};

static uint64_t rnd(struct world *w)
{
    w->rng ^= w->rng << 13;
    w->rng ^= w->rng >> 7;
    w->rng ^= w->rng << 17;
    return w->rng * 0x2545f4914f6cdd1dull >> 16;
}

static bool chance(struct world *w, int per_thousand)
{
    return (int)(rnd(w) % 1000) < per_thousand;
}

static int64_t between(struct world *w, int64_t lo, int64_t hi)
{
    return lo + (int64_t)(rnd(w) % (uint64_t)(hi - lo + 1));
}

static int parts_of(int v)
{
    return v % 4 == 0 ? 0 : v % 4 == 1 ? 3 : 1;
}

static bool is_poison(const struct world *w, int v)
{
    return w->poison && v % w->poison == 0;
}

static void broken(struct world *w, const char *what)
{
    if (!w->wrong)
        printf("# seed %llu at %.3f s: %s\n", (unsigned long long)w->seed, (double)w->now / S,
               what);
    w->wrong = true;
}

static struct body *new_body(struct world *w, int v)
{
    struct body *b = malloc(sizeof *b);
    b->v = v;
    w->live++;
    return b;
}

static struct world *the_world; /* for release() below, which the machines call without one */

static void release(void *body)
{
    the_world->live -= body != NULL;
    free(body);
}

/* ---- the queue: a binary heap by time ---- */

static bool before(const struct event *a, const struct event *b)
{
    return a->at < b->at || (a->at == b->at && a->order < b->order);
}

static void push(struct world *w, const struct event *e)
{
    if (w->nq == FLIGHT) {
        broken(w, "too many events in flight");
        return;
    }
    int i = w->nq++;
    struct event x = *e;
    x.order = w->order++;
    for (; i && before(&x, &w->q[(i - 1) / 2]); i = (i - 1) / 2)
        w->q[i] = w->q[(i - 1) / 2];
    w->q[i] = x;
}

static struct event pop(struct world *w)
{
    struct event top = w->q[0], x = w->q[--w->nq];
    int i = 0, k;
    while ((k = 2 * i + 1) < w->nq) {
        k += k + 1 < w->nq && before(&w->q[k + 1], &w->q[k]);
        if (!before(&w->q[k], &x))
            break;
        w->q[i] = w->q[k];
        i = k;
    }
    w->q[i] = x;
    return top;
}

/* ---- the network ---- */

static bool kind_world(const struct world *w)
{
    return w->now >= w->heal;
}

static void carry(struct world *w, struct event *e)
{
    int copies = kind_world(w) ? 1 : chance(w, w->drop) ? 0 : chance(w, w->twice) ? 2 : 1;
    while (copies--) {
        e->at = w->now + between(w, 50, 500);
        if (!kind_world(w) && chance(w, w->late))
            e->at += between(w, 0, 6 * S);
        push(w, e);
    }
}

/* ---- servers and their workers ---- */

static void server_step(struct world *w, int i, struct rpc_server_event *ev);

static void start_worker(struct world *w, int i, int k)
{
    struct worker *wk = &w->server[i].w[k];
    wk->life++;
    wk->running = true;
    wk->stuck = false;
    wk->n = 0;
    struct event e = { .at = w->now + between(w, S / 100, S / 4),
                       .server = i,
                       .worker = k,
                       .life = wk->life,
                       .what = W_READY };
    push(w, &e);
}

static void kill_worker(struct world *w, int i, int k, int64_t at)
{
    struct event e = {
        .at = at, .server = i, .worker = k, .life = w->server[i].w[k].life, .what = W_DIES
    };
    push(w, &e);
}

/* The batch is worked on: parts and the mark at their times, or a death before. */
static void work(struct world *w, int i, int k)
{
    struct worker *wk = &w->server[i].w[k];
    int64_t at = w->now;
    for (int r = 0; r < wk->n; r++) {
        if (is_poison(w, wk->v[r])) {
            kill_worker(w, i, k, at + between(w, 0, S / 50));
            return;
        }
        for (int p = 0; p < parts_of(wk->v[r]); p++) {
            at += between(w, 100, S / 20);
            struct event e = { .at = at,
                               .server = i,
                               .worker = k,
                               .life = wk->life,
                               .what = W_PART,
                               .token = wk->token[r],
                               .v = 10 * wk->v[r] + p };
            push(w, &e);
        }
    }
    if (!kind_world(w) && chance(w, w->crash)) {
        if (chance(w, 300))
            wk->stuck = true; /* no sign of life: the watchdog's business */
        else
            kill_worker(w, i, k, w->now + between(w, 0, at - w->now + 1));
    }
    struct event e = { .at = at + between(w, 100, S / 50),
                       .server = i,
                       .worker = k,
                       .life = wk->life,
                       .what = W_MARK };
    push(w, &e);
}

static void server_sends(struct world *w, int i, const struct rpc_action *a)
{
    struct event e = { .what = MSG_TO_CLIENT, .server = i, .peer = a->peer, .head = a->head };
    if (a->body) {
        e.has_body = true;
        e.v = ((struct body *)a->body)->v;
    }
    if (a->head.type == RPC_PONG)
        e.n_ids = rpc_server_ids(w->server[i].s, 0, a->head.session, e.ids, 16);
    snprintf(e.text, sizeof e.text, "%s", a->text);
    carry(w, &e);
}

static void server_dies(struct world *w, int i)
{
    struct server *s = &w->server[i];
    rpc_server_free(s->s, release);
    s->s = NULL;
    s->up = false;
    s->life++;
    for (int k = 0; k < WORKERS; k++) {
        s->w[k].running = false;
        s->w[k].life++;
    }
}

static void come_back(struct world *w, int i, int64_t at)
{
    struct event e = { .at = at, .server = i, .life = w->server[i].life, .what = S_UP };
    if (!w->forsaken)
        push(w, &e);
}

static void server_does(struct world *w, int i, const struct rpc_action *a)
{
    struct server *s = &w->server[i];
    struct worker *wk = &s->w[a->worker];
    switch (a->what) {
    case RPC_SEND:
        server_sends(w, i, a);
        break;
    case RPC_FREE:
        release(a->body);
        break;
    case RPC_START:
        start_worker(w, i, a->worker);
        break;
    case RPC_FEED:
        wk->token[wk->n] = a->token;
        wk->v[wk->n++] = ((struct body *)a->body)->v;
        break;
    case RPC_MARK:
        work(w, i, a->worker);
        break;
    case RPC_KILL:
        kill_worker(w, i, a->worker, w->now + 1);
        break;
    default:
        break; /* RPC_EXIT: looked at by server_step(); RPC_CUT: nothing is ever that full */
    }
}

static void server_step(struct world *w, int i, struct rpc_server_event *ev)
{
    struct server *s = &w->server[i];
    struct rpc_actions acts = { 0 };
    bool leaves = false;
    rpc_server_step(s->s, ev, w->now, &acts);
    for (int k = 0; k < acts.n; k++) {
        server_does(w, i, &acts.v[k]);
        leaves |= acts.v[k].what == RPC_EXIT;
    }
    if (leaves) {
        server_dies(w, i);
        come_back(w, i, w->now + between(w, 0, 2 * S));
    }
    rpc_actions_release(&acts);
}

static uint64_t digest(const void *body)
{
    return (uint64_t)((const struct body *)body)->v;
}

static void server_starts(struct world *w, int i)
{
    struct server *s = &w->server[i];
    struct rpc_server_config cfg = {
        .instance = (uint32_t)(rnd(w) << 1) | 1,
        .workers = (int)between(w, 1, WORKERS),
        .batch = w->batch,
        .credits = (int)between(w, 1, 4),
        .requests = 32,
        .deaths = w->poison ? 3 : 99,
        .queue_bytes = 1 << 20,
        .batch_wait = S / 100,
        .watchdog = 5 * S,
        .keep = 60 * S,
        .drain = 5 * S,
        .backoff_max = 2 * S,
        .digest = digest,
    };
    s->s = rpc_server_new(&cfg);
    s->up = true;
    struct rpc_server_event ev = { .type = RPC_EV_TIME };
    server_step(w, i, &ev);
}

/* ---- the client ---- */

static void check_part(struct world *w, int v)
{
    int input = v / 10, part = v % 10;
    if (input != w->next_out + 1 || part != w->next_part)
        broken(w, "a part of the wrong answer, or twice, or out of order");
    w->next_part++;
}

/* The machine does not say where an answer ends; the next one's first part, or the end, shows.
 */
static void pass_to(struct world *w, int input)
{
    while (w->next_out + 1 < input && !w->wrong) {
        if (!is_poison(w, w->next_out + 1) && w->next_part != parts_of(w->next_out + 1))
            broken(w, "an answer is missing or incomplete");
        w->next_out++;
        w->next_part = 0;
    }
}

static void client_does(struct world *w, const struct rpc_action *a)
{
    struct event e = { .what = MSG_TO_SERVER, .server = (int)a->peer, .head = a->head };
    int v = a->body ? ((struct body *)a->body)->v : 0;
    switch (a->what) {
    case RPC_SEND:
        e.peer = w->server[e.server].peer;
        e.has_body = a->body != NULL;
        e.v = v;
        carry(w, &e);
        break;
    case RPC_FREE:
        release(a->body);
        break;
    case RPC_RESET:
        w->server[a->peer].peer++;
        break;
    case RPC_OUT:
        pass_to(w, v / 10);
        check_part(w, v);
        release(a->body);
        break;
    case RPC_FAIL:
        pass_to(w, v);
        if (!is_poison(w, v))
            broken(w, "an error for a record that has an answer");
        w->next_out++;
        w->next_part = 0;
        break;
    case RPC_FINISH:
        pass_to(w, w->inputs + 1);
        w->finished = true;
        break;
    case RPC_GIVE_UP:
        w->gave_up = true;
        break;
    default:
        break;
    }
}

static void client_step(struct world *w, struct rpc_client_event *ev)
{
    struct rpc_actions acts = { 0 };
    rpc_client_step(w->c, ev, w->now, &acts);
    for (int k = 0; k < acts.n; k++)
        client_does(w, &acts.v[k]);
    rpc_actions_release(&acts);
    while (rpc_client_wants(w->c) && !w->wrong) {
        struct rpc_client_event in = { .type = RPC_GOT_END };
        if (w->fed < w->inputs)
            in = (struct rpc_client_event){ .type = RPC_GOT_INPUT,
                                            .body = new_body(w, ++w->fed),
                                            .n = 100 };
        rpc_client_step(w->c, &in, w->now, &acts);
        for (int k = 0; k < acts.n; k++)
            client_does(w, &acts.v[k]);
        rpc_actions_release(&acts);
    }
}

/* ---- the run ---- */

static void deliver_to_server(struct world *w, struct event *e)
{
    struct server *s = &w->server[e->server];
    if (!s->up)
        return;
    if (s->frozen_until > w->now) { /* its process stands still; its socket holds the message */
        e->at = s->frozen_until;
        push(w, e);
        return;
    }
    struct rpc_server_event ev = { .type = RPC_EV_MSG, .peer = e->peer + 1, .head = e->head };
    if (e->has_body) {
        ev.body = new_body(w, e->v);
        ev.n = 100;
    }
    server_step(w, e->server, &ev);
}

static void deliver_to_client(struct world *w, struct event *e)
{
    if (e->peer != w->server[e->server].peer + 1)
        return; /* the connection it came on was thrown away */
    struct rpc_client_event ev = { .type = RPC_GOT_MSG,
                                   .server = e->server,
                                   .head = e->head,
                                   .ids = e->ids,
                                   .n_ids = e->n_ids,
                                   .text = e->text,
                                   .kind = ERR_DATA };
    if (e->has_body)
        ev.body = new_body(w, e->v);
    client_step(w, &ev);
}

static void worker_event(struct world *w, struct event *e)
{
    struct server *s = &w->server[e->server];
    struct worker *wk = &s->w[e->worker];
    if (!s->up || !wk->running || wk->life != e->life || (wk->stuck && e->what != W_DIES))
        return;
    struct rpc_server_event ev = { .worker = e->worker };
    if (e->what == W_READY) {
        ev.type = RPC_EV_READY;
    } else if (e->what == W_PART) {
        ev.type = RPC_EV_PART;
        ev.token = e->token;
        ev.body = new_body(w, e->v);
        ev.n = 100;
    } else if (e->what == W_MARK) {
        ev.type = RPC_EV_MARKED;
        wk->n = 0;
    } else {
        ev.type = RPC_EV_DIED;
        wk->running = false;
    }
    server_step(w, e->server, &ev);
}

static void server_event(struct world *w, struct event *e)
{
    struct server *s = &w->server[e->server];
    if (s->life != e->life)
        return;
    if (e->what == S_UP) {
        if (!s->up)
            server_starts(w, e->server);
    } else if (e->what == S_DRAIN && s->up && !w->forsaken) {
        struct rpc_server_event ev = { .type = RPC_EV_DRAIN };
        server_step(w, e->server, &ev);
    } else if (s->up) {
        server_dies(w, e->server);
        come_back(w, e->server, w->now + between(w, 0, 12 * S));
    }
}

static void happens(struct world *w, struct event *e)
{
    w->now = e->at > w->now ? e->at : w->now;
    w->events++;
    if (e->what == MSG_TO_SERVER)
        deliver_to_server(w, e);
    else if (e->what == MSG_TO_CLIENT)
        deliver_to_client(w, e);
    else if (e->what >= S_CRASH)
        server_event(w, e);
    else
        worker_event(w, e);
}

static void plan_disasters(struct world *w)
{
    for (int i = 0; i < w->servers; i++) {
        struct event e = { .at = between(w, 0, S), .server = i, .what = S_UP };
        push(w, &e);
        e.at = between(w, 0, w->heal);
        e.what = chance(w, 500) ? S_CRASH : S_DRAIN;
        if (w->forsaken || chance(w, 600))
            push(w, &e);
        if (w->forsaken) { /* whatever state it is in then */
            e.what = S_CRASH;
            for (e.life = 0; e.life < 3; e.life++)
                push(w, &e);
        }
        if (chance(w, 200))
            w->server[i].frozen_until = between(w, 0, w->heal);
    }
}

static void make_world(struct world *w, uint64_t seed)
{
    *w = (struct world){ .seed = seed, .rng = seed * 0x9e3779b97f4a7c15ull | 1, .q = w->q };
    for (int i = 0; i < 4; i++)
        rnd(w);
    w->servers = (int)between(w, 1, SERVERS);
    w->inputs = (int)between(w, 0, 12);
    w->batch = (int)between(w, 1, 4);
    w->poison = chance(w, 300) ? (int)between(w, 2, 9) : 0;
    w->heal = between(w, 0, 20) * S;
    w->drop = (int)between(w, 0, 300);
    w->twice = (int)between(w, 0, 200);
    w->late = (int)between(w, 0, 200);
    w->crash = w->poison ? 0 : (int)between(w, 0, 400); /* else the innocent look guilty */
    w->forsaken = chance(w, 330);
    struct rpc_client_config cfg = { .servers = w->servers,
                                     .window = (int)between(w, 1, 8),
                                     .window_bytes = 1 << 20,
                                     .session = rnd(w) | 1,
                                     .connect = w->forsaken ? 5 * S : 60 * S,
                                     .lost = 60 * S,
                                     .timeout = 300 * S,
                                     .ping = S,
                                     .dead = 3 * S };
    w->c = rpc_client_new(&cfg, 0);
    the_world = w;
    plan_disasters(w);
}

/* The next thing to happen: a message, or somebody's alarm. */
static void advance(struct world *w)
{
    int64_t alarm = rpc_client_wake(w->c, w->now);
    int who = -1;
    for (int i = 0; i < w->servers; i++) {
        struct server *s = &w->server[i];
        int64_t at = s->up ? rpc_server_wake(s->s, w->now) : INT64_MAX;
        at = s->up && at < s->frozen_until ? s->frozen_until : at;
        if (at < alarm) {
            alarm = at;
            who = i;
        }
    }
    if (w->nq && w->q[0].at <= alarm) {
        struct event e = pop(w);
        happens(w, &e);
        return;
    }
    w->now = alarm > w->now ? alarm : w->now + 1;
    struct rpc_client_event cev = { .type = RPC_GOT_TIME };
    struct rpc_server_event sev = { .type = RPC_EV_TIME };
    if (who < 0)
        client_step(w, &cev);
    else
        server_step(w, who, &sev);
    w->events++;
}

static void judge(struct world *w)
{
    if (!w->finished && !w->gave_up)
        broken(w, w->now > 400 * S ? "nobody says anything any more: a hang" : "stopped early");
    if (w->finished && !w->forsaken && w->now > w->heal + PATIENCE)
        broken(w, "came to its end late: something waited for a time to run out");
    if (w->gave_up && !w->forsaken)
        broken(w, "gave up although the servers are there");
    if (w->events > 2000000)
        broken(w, "busy for nothing");
    rpc_client_free(w->c, release);
    for (int i = 0; i < w->servers; i++)
        rpc_server_free(w->server[i].s, release);
    if (w->live != 0 && !w->wrong)
        broken(w, "a body is lost, or released twice");
}

int main(int argc, char **argv)
{
    long count = argc > 1 ? atol(argv[1]) : 2000, seed = argc > 2 ? atol(argv[2]) : 1, bad = 0;
    uint64_t events = 0, gave_up = 0;
    struct world *w = calloc(1, sizeof *w);
    w->q = calloc(FLIGHT, sizeof *w->q);
    for (long i = 0; i < count && bad < 10; i++) {
        make_world(w, (uint64_t)(seed + i));
        while (!w->finished && !w->gave_up && !w->wrong && w->now < 1000 * S)
            advance(w);
        judge(w);
        bad += w->wrong;
        events += w->events;
        gave_up += w->gave_up;
    }
    ok(bad == 0,
       "%ld schedules from seed %ld, %llu events, %llu without servers: each input "
       "answered once, in order, by its own answer; nothing hangs, nothing leaks",
       count, seed, (unsigned long long)events, (unsigned long long)gave_up);
    free(w->q);
    free(w);
    return tap_done();
}
