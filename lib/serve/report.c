/* report.c - what a server says about itself: see state.h. */
#include "serve/state.h"

#include <stdio.h>
#include <string.h>

void serve_shape_note(struct serve_shape *shape, const struct record *rec)
{
    size_t at = 0;
    char dims[TENSOR_SHAPE_MAX];
    if (record_is_error(rec))
        return;
    shape->text[0] = '\0';
    for (int i = 0; i < rec->n; i++) {
        const struct record_field *f = &rec->field[i];
        if (f->type != RECORD_TENSOR || at + 200 > sizeof shape->text)
            continue;
        at += (size_t)snprintf(shape->text + at, sizeof shape->text - at, "%s%.*s %s %s",
                               at ? ", " : "", (int)(f->key_len < 64 ? f->key_len : 64), f->key,
                               dtype_name(f->tensor.dtype), tensor_shape_str(dims, f->tensor));
    }
}

static int put_links(struct buf *b, const struct serve *s)
{
    struct wire_link link;
    int rc = 0;
    for (int i = 0; rc == 0 && wire_via_link(&link, s->via.data, s->via.len, i) == 1; i++) {
        rc = buf_printf(b, "program %s %s\n", link.program, link.version);
        if (rc == 0 && link.model[0])
            rc = buf_printf(b, "model %s\n", link.model);
    }
    return rc;
}

int serve_info(struct buf *b, const struct serve *s)
{
    struct rpc_server_load l = rpc_server_load(s->core);
    int rc = buf_puts(b, "command");
    for (char *const *a = s->cfg->command; rc == 0 && *a; a++)
        rc = buf_printf(b, " %s", *a);
    if (rc < 0 || buf_putc(b, '\n') < 0 || put_links(b, s) < 0)
        return -1;
    if (s->in.text[0] && buf_printf(b, "input %s\n", s->in.text) < 0)
        return -1;
    if (s->out.text[0] && buf_printf(b, "output %s\n", s->out.text) < 0)
        return -1;
    return buf_printf(b,
                      "workers %d, ready %d\nbatch %d, wait %d ms\ncredits %d\n"
                      "load %d waiting, %d running, %zu bytes\nup %.0f s\n",
                      l.workers, l.ready, s->cfg->batch, s->cfg->batch_wait_ms, s->cfg->credits,
                      l.waiting, l.running, l.bytes, (double)(s->now - s->started) / 1e6);
}

struct metric {
    const char *name, *type, *help;
    double value;
};

static int put_metrics(struct buf *b, const struct metric *m)
{
    for (; m->name; m++)
        if (buf_printf(b, "# HELP vqa_%s %s\n# TYPE vqa_%s %s\nvqa_%s %.17g\n", m->name,
                       m->help, m->name, m->type, m->name, m->value) < 0)
            return -1;
    return 0;
}

static int put_counters(struct buf *b, const struct serve *s)
{
    const struct rpc_server_stats *c = rpc_server_stats(s->core);
    const struct metric m[] = {
        { "requests_total", "counter", "Requests accepted.", (double)c->requests },
        { "answers_total", "counter", "Requests answered.", (double)c->answers },
        { "joined_total", "counter", "Requests asked for again while in work.",
          (double)c->joined },
        { "served_again_total", "counter", "Answers sent again from what is kept.",
          (double)c->served_again },
        { "batches_total", "counter", "Batches given to workers.", (double)c->batches },
        { "worker_starts_total", "counter", "Starts of workers.", (double)c->starts },
        { "worker_deaths_total", "counter", "Workers that ended.", (double)c->deaths },
        { "worker_stalls_total", "counter", "Workers killed without a sign of life.",
          (double)c->stalls },
        { "in_bytes_total", "counter", "Bytes of requests.", (double)s->counts.in_bytes },
        { "out_bytes_total", "counter", "Bytes of answers.", (double)s->counts.out_bytes },
        { 0 }
    };
    return put_metrics(b, m);
}

static int put_errors(struct buf *b, const struct serve *s)
{
    const struct rpc_server_stats *c = rpc_server_stats(s->core);
    struct port_stats p = port_stats(s->port);
    const struct {
        const char *kind;
        uint64_t n;
    } e[] = { { "busy", c->busy },
              { "refused", c->refused },
              { "expired", c->expired },
              { "poisoned", c->poisoned },
              { "dropped", c->dropped },
              { "unsent", s->counts.unsent },
              { "unclaimed", s->counts.unclaimed },
              { "malformed", s->counts.malformed + p.malformed },
              { "denied", p.denied },
              { "handshake", p.handshakes },
              { "cut_idle", p.cut_idle },
              { "cut_unfinished", p.cut_unfinished },
              { "cut_crowd", p.cut_crowd },
              { "cut_slow", p.cut_slow } };
    if (buf_puts(b, "# HELP vqa_errors_total What was not served, by kind.\n"
                    "# TYPE vqa_errors_total counter\n") < 0)
        return -1;
    for (size_t i = 0; i < sizeof e / sizeof *e; i++)
        if (buf_printf(b, "vqa_errors_total{kind=\"%s\"} %llu\n", e[i].kind,
                       (unsigned long long)e[i].n) < 0)
            return -1;
    return 0;
}

int serve_metrics(struct buf *b, const struct serve *s)
{
    struct rpc_server_load l = rpc_server_load(s->core);
    struct port_stats p = port_stats(s->port);
    const struct metric m[] = {
        { "queue_bytes", "gauge", "Bytes of requests and answers held.", (double)l.bytes },
        { "queue_waiting", "gauge", "Requests waiting.", l.waiting },
        { "queue_running", "gauge", "Requests being worked on.", l.running },
        { "queue_kept", "gauge", "Answers kept until acknowledged.", l.kept },
        { "workers", "gauge", "Workers.", l.workers },
        { "workers_ready", "gauge", "Workers that have answered their first mark.", l.ready },
        { "connections", "gauge", "Connections.", p.connections },
        { 0 }
    };
    if (put_counters(b, s) < 0 || put_errors(b, s) < 0 || put_metrics(b, m) < 0)
        return -1;
    return buf_printf(b,
                      "# HELP vqa_request_seconds From a request to the end of its answer, of "
                      "the last thousand.\n# TYPE vqa_request_seconds summary\n"
                      "vqa_request_seconds{quantile=\"0.5\"} %.6f\n"
                      "vqa_request_seconds{quantile=\"0.9\"} %.6f\n"
                      "vqa_request_seconds{quantile=\"0.99\"} %.6f\n"
                      "vqa_request_seconds_count %llu\n",
                      l.p50 / 1e3, l.p90 / 1e3, l.p99 / 1e3,
                      (unsigned long long)rpc_server_stats(s->core)->answers);
}
