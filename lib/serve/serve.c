/* serve.c - see serve.h. Everything waits in one place, port_wait(); what comes becomes an
 * event of the machine, and its actions are carried out at once. */
#include "serve/serve.h"

#include "base/err.h"
#include "base/sha256.h"
#include "serve/state.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define USERS      4096
#define WATCH      (50 * RPC_MS)    /* how often connections are looked at */
#define TELL       (10000 * RPC_MS) /* how often somebody who knocks is worth a line */
#define AT_ONCE    64               /* messages between two looks at the workers */
#define LEAVE_MS   5000
#define SLOTS      1024
#define DEATHS     3
#define KEEP       (600000 * RPC_MS)
#define UNFINISHED ((size_t)256 << 20) /* bytes of messages that are not complete */

static int64_t clock_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* ---- bodies ---- */

static void release(void *body)
{
    struct serve_item *it = body;
    if (it)
        port_msg_free(it->msg);
    free(it);
}

/* Owns msg, also when it fails. */
static struct serve_item *new_item(struct port_msg *msg)
{
    struct serve_item *it = calloc(1, sizeof *it);
    if (!it || !msg) {
        port_msg_free(msg);
        free(it);
        return err_null(ERR_OS, "out of memory for a message");
    }
    it->msg = msg;
    return it;
}

static uint64_t digest(const void *body)
{
    const struct serve_item *it = body;
    unsigned char sum[SHA256_BYTES] = { 0 };
    uint64_t d;
    struct sha256 *h = sha256_new();
    if (h) {
        sha256_update(h, port_msg_data(it->msg), port_msg_size(it->msg));
        sha256_peek(h, sum);
    }
    sha256_free(h);
    memcpy(&d, sum, sizeof d);
    return d;
}

/* ---- actions ---- */

static struct port_msg *message_of(const void *p, size_t n)
{
    struct port_msg *m = n ? port_msg_new(n) : NULL;
    if (m)
        memcpy(port_msg_data(m), p, n);
    return m;
}

/* The body of an answer that is not a record. */
static struct port_msg *own_words(struct serve *s, const struct rpc_action *a)
{
    struct buf b = { 0 };
    unsigned char ids[16 * 256];
    struct port_msg *m = NULL;
    uint32_t user = (uint32_t)a->token;
    if (a->head.type == RPC_WELCOME)
        return message_of(s->via.data, s->via.len);
    if (a->head.type == RPC_PONG)
        return message_of(
            ids, 16 * (size_t)rpc_server_ids(s->core, user, a->head.session, ids, 256));
    if (a->head.type == RPC_ERR)
        return message_of(a->text, strlen(a->text));
    if (a->head.type == RPC_INFO ? serve_info(&b, s) == 0
                                 : a->head.type == RPC_METRICS && serve_metrics(&b, s) == 0)
        m = message_of(b.data, b.len);
    buf_release(&b);
    return m;
}

/* What cannot be sent is lost, and the client asks again. */
static int send_action(struct serve *s, const struct rpc_action *a)
{
    const struct serve_item *it = a->body;
    struct port_msg *body = it ? it->msg : own_words(s, a);
    unsigned char head[RPC_HEAD];
    size_t n = body ? port_msg_size(body) : 0;
    rpc_pack(head, &a->head, body ? port_msg_data(body) : NULL, n);
    int sent = port_send(s->port, a->peer, head, sizeof head, body);
    s->counts.unsent += sent == 0;
    s->counts.out_bytes += sent == 1 ? n : 0;
    if (!it)
        port_msg_free(body);
    return sent < 0 ? -1 : 0;
}

static int feed(struct serve *s, const struct rpc_action *a)
{
    const struct serve_item *it = a->body;
    return worker_feed(&s->worker[a->worker], port_msg_data(it->msg), port_msg_size(it->msg),
                       &it->tag, it->id, a->token);
}

static int start(struct serve *s, int i)
{
    s->ready[i] = false;
    if (worker_start(&s->worker[i], s->cfg->command) == 0)
        return 0;
    if (err_kind() == ERR_OS)
        return -1;
    s->exit_status = -1; /* the message is ours, and stays; its end comes as SIGCHLD */
    return s->started ? 0 : -1;
}

static int carry_out(struct serve *s, const struct rpc_action *a)
{
    switch (a->what) {
    case RPC_SEND:
        return send_action(s, a);
    case RPC_FREE:
        release(a->body);
        return 0;
    case RPC_START:
        return start(s, a->worker);
    case RPC_FEED:
        return feed(s, a);
    case RPC_MARK:
        return worker_mark(&s->worker[a->worker]);
    case RPC_KILL:
        if (s->cfg->say)
            s->cfg->say("worker %d shows no sign of life: killed", a->worker);
        worker_kill(&s->worker[a->worker]);
        return 0;
    case RPC_CUT:
        port_cut(s->port, a->peer);
        return 0;
    case RPC_EXIT:
        s->over = true;
        return a->kind ? err_set(ERR_CONFIG, "%s ended with status %d before it was ready",
                                 s->cfg->command[0], s->exit_status)
                       : 0;
    default:
        return 0;
    }
}

static int step(struct serve *s, const struct rpc_server_event *ev)
{
    rpc_actions_clear(&s->acts);
    s->now = clock_now();
    rpc_server_step(s->core, ev, s->now, &s->acts);
    for (int i = 0; i < s->acts.n; i++)
        if (carry_out(s, &s->acts.v[i]) < 0)
            return -1;
    for (int i = 0; i < s->cfg->workers; i++)
        if (s->worker[i].n && worker_flush(&s->worker[i]) < 0)
            worker_kill(&s->worker[i]);
    return s->acts.failed ? err_nomem("the server") : 0;
}

static int simple_step(struct serve *s, enum rpc_server_event_type type, int worker)
{
    return step(s, &(struct rpc_server_event){ .type = type, .worker = worker });
}

/* ---- what comes from clients ---- */

/* Keys become small numbers; 0 is everybody, where there are no keys. */
static uint32_t user_number(struct serve *s, const char *key)
{
    if (!key[0])
        return 0;
    for (int i = 0; i < s->users; i++)
        if (!strcmp(s->user[i], key))
            return (uint32_t)i + 1;
    if (s->users == USERS)
        return USERS + 1;
    memcpy(s->user[s->users++], key, PORT_KEY);
    return (uint32_t)s->users;
}

static void last_model(char model[80], const void *via, size_t n)
{
    struct wire_link link;
    model[0] = '\0';
    for (int i = 0; wire_via_link(&link, via, n, i) == 1; i++)
        if (link.model[0])
            memcpy(model, link.model, sizeof link.model);
}

/* A stream that another model made is not for us. */
static const char *model_refused(const struct serve *s, struct port_msg *via, char *text,
                                 size_t n)
{
    struct wire_link link;
    char ours[80];
    int got = 0;
    last_model(ours, s->via.data, s->via.len);
    for (int i = 0;
         (got = wire_via_link(&link, port_msg_data(via), port_msg_size(via), i)) == 1; i++)
        if (ours[0] && link.model[0] && strcmp(ours, link.model) != 0) {
            snprintf(text, n,
                     "the stream was made by %s with the model %.12s, this server has "
                     "%.12s",
                     link.program, link.model, ours);
            return text;
        }
    if (got < 0 && port_msg_size(via)) {
        snprintf(text, n, "%s", err_msg());
        return text;
    }
    return NULL;
}

struct sight {
    struct serve *s;
    struct serve_item *it;
};

static void look_at(void *ctx, const struct record *rec)
{
    struct sight *sight = ctx;
    struct serve_item *it = sight->it;
    const char *id;
    size_t n;
    tag_find(&it->tag, rec);
    if (record_get_str(&id, &n, rec, "id") > 0 && n < sizeof it->id - 2)
        memcpy(it->id, id, n);
    serve_shape_note(&sight->s->in, rec);
}

/* Nothing reaches a worker that is not one whole, checked record. */
static const char *check_record(struct serve *s, struct serve_item *it)
{
    struct sight sight = { s, it };
    return wire_look(port_msg_data(it->msg), port_msg_size(it->msg), look_at, &sight) < 0
               ? err_msg()
               : NULL;
}

static int take_message(struct serve *s, struct port_in *in)
{
    struct rpc_server_event ev = { .type = RPC_EV_MSG, .peer = in->peer };
    char text[RPC_TEXT];
    size_t n = port_msg_size(in->body);
    s->counts.in_bytes += n;
    if (rpc_unpack(&ev.head, in->head, in->head_n, port_msg_data(in->body), n) < 0) {
        s->counts.malformed++;
        port_msg_free(in->body);
        port_cut(s->port, in->peer);
        return 0;
    }
    ev.user = user_number(s, in->user);
    if (ev.head.type == RPC_HELLO)
        ev.refuse = model_refused(s, in->body, text, sizeof text);
    if (ev.head.type != RPC_REQ) {
        port_msg_free(in->body);
        return step(s, &ev);
    }
    struct serve_item *it = new_item(in->body);
    if (!it)
        return -1;
    ev.refuse = check_record(s, it);
    ev.body = it;
    ev.n = n;
    return step(s, &ev);
}

/* Keys that were refused: the first at once, of many one line now and then. */
static void tell_denied(struct serve *s)
{
    struct port_stats p = port_stats(s->port);
    if (p.denied == s->denied || (s->told && s->now - s->told < TELL))
        return;
    s->cfg->warn("refused the key %s from %s: not on the list (%llu times since the last line)",
                 p.denied_key, p.denied_from[0] ? p.denied_from : "a local socket",
                 (unsigned long long)(p.denied - s->denied));
    s->denied = p.denied;
    s->told = s->now;
}

static int take_messages(struct serve *s)
{
    struct port_in in;
    int got = 1;
    for (int i = 0; i < AT_ONCE && got == 1; i++) {
        got = port_recv(s->port, &in);
        if (got == 1 && take_message(s, &in) < 0)
            return -1;
    }
    if (got == 0 && s->now - s->watched >= WATCH) {
        s->watched = s->now;
        port_watch(s->port, rpc_server_load(s->core).bytes, s->now);
        tell_denied(s);
    }
    return got < 0 ? -1 : 0;
}

/* ---- what comes from workers ---- */

/* The record's bytes under the id that the client gave. */
static struct serve_item *answer_item(const struct serve *s, const struct serve_item *asked)
{
    struct tag t;
    struct tag_pieces piece;
    unsigned char room[TAG_VALUE];
    tag_find(&t, &s->rec);
    const unsigned char *bytes = port_msg_data(asked->msg);
    tag_replace(&piece, room, &t, s->rec.bytes.data, s->rec.bytes.len, bytes + asked->tag.at,
                asked->tag.n);
    struct port_msg *m = port_msg_new(piece.n[0] + piece.n[1] + piece.n[2]);
    unsigned char *to = m ? port_msg_data(m) : NULL;
    for (int i = 0; m && i < 3; to += piece.n[i++])
        memcpy(to, piece.p[i], piece.n[i]);
    return new_item(m);
}

static int take_part(struct serve *s, int i, uint64_t token)
{
    struct rpc_server_event ev = { .type = RPC_EV_PART,
                                   .worker = i,
                                   .token = rpc_server_whose(s->core, i, token) };
    const struct serve_item *asked = rpc_server_body(s->core, ev.token);
    if (!asked) { /* again, one by one: then it is clear whose answers they are */
        s->counts.unclaimed++;
        s->cfg->warn("%s gives a record without the id it got: killed", s->cfg->command[0]);
        worker_kill(&s->worker[i]);
        s->worker[i].doomed = true; /* a mark may be on its way */
        return 0;
    }
    struct serve_item *it = answer_item(s, asked);
    if (!it)
        return -1;
    serve_shape_note(&s->out, &s->rec);
    ev.body = it;
    ev.n = port_msg_size(it->msg);
    return step(s, &ev);
}

/* [{"program": its file's name}], for a command that does not say who it is. */
static int name_command(struct serve *s)
{
    const char *slash = strrchr(s->cfg->command[0], '/');
    const char *name = slash ? slash + 1 : s->cfg->command[0];
    int n = (int)strnlen(name, 60);
    return buf_printf(&s->via, "\x91\x81\xa7program\xd9%c%.*s", n, n, name);
}

/* Ready: what it says about itself is what we say about us. */
static int take_mark(struct serve *s, int i)
{
    if (s->ready[i])
        return simple_step(s, RPC_EV_MARKED, i);
    size_t n;
    const unsigned char *via = wire_reader_via(s->worker[i].reader, &n);
    buf_clear(&s->via);
    s->ready[i] = true;
    if ((via ? buf_append(&s->via, via, n) : name_command(s)) < 0)
        return -1;
    if (s->cfg->say)
        s->cfg->say("worker %d is ready (process %ld)", i, (long)s->worker[i].pid);
    return simple_step(s, RPC_EV_READY, i);
}

static int read_worker(struct serve *s, int i)
{
    struct worker *w = &s->worker[i];
    uint64_t token;
    int got;
    while (w->reader && !w->doomed && (got = worker_read(w, &s->rec, &token)) != 0) {
        if (got < 0) {
            worker_kill(w); /* its end comes as SIGCHLD */
            return 0;
        }
        if ((got == 2 ? take_mark(s, i) : take_part(s, i, token)) < 0)
            return -1;
    }
    return 0;
}

static int reap(struct serve *s)
{
    int status;
    for (int i = 0; i < s->cfg->workers; i++) {
        if (s->worker[i].pid && s->ready[i] && read_worker(s, i) < 0)
            return -1;
        if (!worker_reap(&s->worker[i], &status))
            continue;
        s->exit_status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
        if (s->cfg->say)
            s->cfg->say("worker %d ended with status %d", i, s->exit_status);
        if (simple_step(s, RPC_EV_DIED, i) < 0)
            return -1;
    }
    return 0;
}

static int look_at_workers(struct serve *s)
{
    if (s->now - s->looked < s->cfg->watchdog_s * 1000 * RPC_MS / 8)
        return 0;
    s->looked = s->now;
    for (int i = 0; i < s->cfg->workers; i++)
        if (s->worker[i].pid && worker_alive(&s->worker[i]) &&
            simple_step(s, RPC_EV_TICK, i) < 0)
            return -1;
    return 0;
}

/* ---- signals ---- */

static void reread_list(struct serve *s)
{
    if (!s->cfg->allow)
        return;
    if (serve_list_read(&s->list, s->cfg->allow) < 0)
        s->cfg->warn("%s; the list as it was stays", err_msg());
    else
        port_recheck(s->port);
}

static int take_signals(struct serve *s)
{
    struct signalfd_siginfo info;
    while (read(s->signals, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGHUP)
            reread_list(s);
        else if (info.ssi_signo != SIGCHLD && simple_step(s, RPC_EV_DRAIN, 0) < 0)
            return -1;
    }
    return reap(s);
}

static int open_signals(struct serve *s)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGCHLD);
    signal(SIGPIPE, SIG_IGN); /* a worker that does not read is not our end */
    sigprocmask(SIG_BLOCK, &set, NULL);
    s->signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    return s->signals < 0 ? err_sys(ERR_OS, "signalfd") : 0;
}

/* ---- the loop ---- */

static int wait_for_more(struct serve *s)
{
    struct pollfd fd[2 * 128 + 1];
    int n = 0;
    fd[n++] = (struct pollfd){ s->signals, POLLIN, 0 };
    for (int i = 0; i < s->cfg->workers; i++) {
        if (s->worker[i].out >= 0)
            fd[n++] = (struct pollfd){ s->worker[i].out, POLLIN, 0 };
        if (s->worker[i].n)
            fd[n++] = (struct pollfd){ s->worker[i].in, POLLOUT, 0 };
    }
    int64_t until = rpc_server_wake(s->core, s->now);
    if (port_stats(s->port).connections && until > s->now + WATCH)
        until = s->now + WATCH;
    return port_wait(&s->port, 1, fd, n, (int)((until - s->now + 999) / 1000));
}

static int loop(struct serve *s)
{
    while (!s->over) {
        s->now = clock_now();
        for (int i = 0; i < s->cfg->workers; i++)
            if (read_worker(s, i) < 0)
                return -1;
        if (take_messages(s) < 0 || take_signals(s) < 0 || look_at_workers(s) < 0 ||
            simple_step(s, RPC_EV_TIME, 0) < 0)
            return -1;
        if (!s->over && wait_for_more(s) < 0)
            return -1;
    }
    return 0;
}

/* ---- start and end ---- */

static int check_access(struct serve *s)
{
    const struct serve_config *c = s->cfg;
    if (!c->key != !c->allow)
        return err_set(ERR_USAGE, "--key and --allow belong together");
    int local = serve_is_local(c->endpoint);
    if (local < 0)
        return -1;
    if (!c->key && !local)
        return err_set(ERR_CONFIG,
                       "%s: other machines could reach it: --key and --allow say who may "
                       "(vqa-keygen), or use tcp://127.0.0.1:PORT or ipc://PATH",
                       c->endpoint);
    if (!c->key)
        return 0;
    prctl(PR_SET_DUMPABLE, 0); /* the key stays out of core files and debuggers */
    setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
    return serve_keys_server(&s->keys, c->key) < 0 ? -1 : serve_list_read(&s->list, c->allow);
}

static int bind_port(struct serve *s)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max < 4096 ? files.rlim_max : 4096;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    struct port_config pc = { .endpoint = s->cfg->endpoint,
                              .frame_max = s->cfg->record_bytes,
                              .memory = UNFINISHED,
                              .keys = s->cfg->key ? &s->keys : NULL,
                              .allowed = serve_list_has,
                              .ctx = &s->list };
    mode_t mask = umask(077); /* an ipc socket is ours alone */
    s->port = port_bind(&pc);
    umask(mask);
    explicit_bzero(s->keys.secret, sizeof s->keys.secret); /* libzmq has its own */
    return s->port ? 0 : -1;
}

static int open_core(struct serve *s)
{
    const struct serve_config *c = s->cfg;
    struct rpc_server_config rc = { .instance = (uint32_t)clock_now() << 4 | 1,
                                    .workers = c->workers,
                                    .batch = c->batch,
                                    .credits = c->credits,
                                    .requests = SLOTS,
                                    .deaths = DEATHS,
                                    .queue_bytes = c->queue_bytes,
                                    .batch_wait = c->batch_wait_ms * RPC_MS,
                                    .watchdog = c->watchdog_s * 1000 * RPC_MS,
                                    .keep = KEEP,
                                    .drain = c->drain_s * 1000 * RPC_MS,
                                    .backoff_max = 32000 * RPC_MS,
                                    .digest = digest };
    s->core = rpc_server_new(&rc);
    s->worker = calloc((size_t)c->workers, sizeof *s->worker);
    s->ready = calloc((size_t)c->workers, sizeof *s->ready);
    s->user = calloc(USERS, sizeof *s->user);
    if (!s->core || !s->worker || !s->ready || !s->user)
        return err_nomem("the server");
    for (int i = 0; i < c->workers; i++)
        worker_init(&s->worker[i]);
    return 0;
}

/* Filters end when their input does; who has not by then is killed. */
static void end_workers(struct serve *s)
{
    int left = 0, status;
    for (int i = 0; s->worker && i < s->cfg->workers; i++)
        worker_hang_up(&s->worker[i]);
    for (int tries = 0; tries < LEAVE_MS / 10; tries++) {
        left = 0;
        for (int i = 0; s->worker && i < s->cfg->workers; i++) {
            struct worker *w = &s->worker[i];
            uint64_t token;
            while (w->reader && worker_read(w, &s->rec, &token) > 0)
                ;
            left += w->pid && !worker_reap(w, &status);
        }
        if (!left)
            return;
        usleep(10000);
    }
    for (int i = 0; i < s->cfg->workers; i++) {
        worker_kill(&s->worker[i]);
        while (s->worker[i].pid && !worker_reap(&s->worker[i], &status))
            usleep(1000);
    }
}

static void close_all(struct serve *s)
{
    struct err_saved e;
    err_save(&e);
    port_close(s->port, LEAVE_MS);
    if (s->worker)
        end_workers(s);
    rpc_server_free(s->core, release);
    rpc_actions_release(&s->acts);
    serve_list_release(&s->list);
    record_release(&s->rec);
    buf_release(&s->via);
    free(s->worker);
    free(s->ready);
    free(s->user);
    if (s->signals >= 0)
        close(s->signals);
    err_restore(&e);
}

int serve_run(const struct serve_config *cfg)
{
    struct serve s = { .cfg = cfg, .signals = -1 };
    port_keep_memory();
    record_init(&s.rec);
    s.rec.lazy = true;               /* we only pass on */
    setenv("VQA_UNTRUSTED", "1", 1); /* img-encode decodes in a sandbox, and reads no files */
    setenv("PYTHONUNBUFFERED", "1",
           0); /* a Python filter answers at once, not when 8 KiB are full */
    int rc = check_access(&s) < 0 || open_core(&s) < 0 || open_signals(&s) < 0 ||
                     bind_port(&s) < 0
                 ? -1
                 : 0;
    s.now = s.watched = clock_now();
    if (rc == 0)
        rc = simple_step(&s, RPC_EV_TIME, 0);
    s.started = s.now;
    if (rc == 0)
        rc = loop(&s);
    close_all(&s);
    return rc;
}
