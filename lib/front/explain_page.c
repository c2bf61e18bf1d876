/* explain_page.c - the page of explain.h: the picture and what was looked at, then for each
 * answer its prompt's tokens, its own tokens and where they look, and the times. */
#include "front/explain.h"

#include "base/err.h"
#include "base/io.h"
#include "front/input.h"
#include "front/model.h"
#include "front/page.h"
#include "front/token_table.h"
#include "image/image.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PICTURE_MOST ((size_t)4 << 20) /* bytes of a picture that is shown as it came */

struct writer {
    const struct explain *e;
    struct page page;
    struct tokens tokens;
    struct image_processor processor;
    FILE *steps; /* opt-generate's lines */
    int64_t S;   /* places: the class token and patches */
    int answers;
    json_t *lines, *timing; /* of the prompt at hand */
};

/* ---- the picture ---- */

static void put_pixels(struct writer *w, struct tensor pixels)
{
    int h = (int)pixels.dim[1], wd = (int)pixels.dim[2], n = h * wd;
    const float *v = pixels.data;
    unsigned char *rgb = malloc((size_t)n * 3);
    for (int i = 0; rgb && i < 3 * n; i++)
        rgb[i] = image_level(&w->processor, v[i % 3 * n + i / 3], i % 3);
    if (rgb)
        page_png(&w->page, rgb, wd, h, 3);
    else
        w->page.failed = err_nomem("a picture") < 0;
    free(rgb);
}

static const char *type_of(const struct buf *b)
{
    static const struct {
        const char *magic, *type;
        int at, n;
    } known[] = { { "\xff\xd8\xff", "image/jpeg", 0, 3 },
                  { "\x89PNG\r\n\x1a\n", "image/png", 0, 8 },
                  { "GIF8", "image/gif", 0, 4 },
                  { "WEBPVP8", "image/webp", 8, 7 } };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (b->len >= 16 && !memcmp(b->data + known[i].at, known[i].magic, (size_t)known[i].n))
            return known[i].type;
    return NULL;
}

/* The file as it came, if a browser can show it. */
static void put_file(struct writer *w, const char *path)
{
    struct buf b = { 0 };
    const char *type = strcmp(path, "-") && io_read_file(&b, path, PICTURE_MOST) == 0
                           ? type_of(&b)
                           : NULL;
    if (type) {
        page_put(&w->page, "<figure><img class=\"whole\" alt=\"\" src=\"");
        page_data(&w->page, type, b.data, b.len);
        page_put(&w->page, "\"><figcaption>as it came</figcaption></figure>\n");
    }
    err_clear();
    buf_release(&b);
}

/* The grid of patches in pixels (3, H, W). */
static int find_grid(struct writer *w, struct tensor pixels)
{
    double patches = (double)(w->S - 1);
    double wide = sqrt(patches * (double)pixels.dim[2] / (double)pixels.dim[1]);
    w->page.w = (int)lrint(wide);
    w->page.h = w->page.w ? (int)((w->S - 1) / w->page.w) : 0;
    if ((int64_t)w->page.h * w->page.w == w->S - 1 && w->S > 1)
        return 0;
    return err_set(ERR_DATA, "vision_rollout: %lld places are no grid of patches",
                   (long long)w->S);
}

/* The mean over layers and heads of (L, H, S). */
static void put_cls(struct writer *w, struct tensor cls)
{
    float *mean = calloc((size_t)w->S, sizeof *mean);
    const float *from = cls.data;
    for (int64_t i = 0; mean && i < tensor_count(cls); i++)
        mean[i % w->S] += from[i];
    if (mean) {
        page_put(&w->page, "<figure>");
        page_map(&w->page, mean);
        page_put(&w->page,
                 "<figcaption>what the encoder's class token looks at, over all %lld "
                 "layers</figcaption></figure>\n",
                 (long long)cls.dim[0]);
    }
    free(mean);
}

/* Each query's row of (L, H, Q, S), mean over layers and heads. */
static void put_queries(struct writer *w, struct tensor cross)
{
    int64_t Q = cross.dim[2], S = cross.dim[3];
    float *mean = calloc((size_t)(Q * S), sizeof *mean);
    const float *from = cross.data;
    page_put(&w->page,
             "<h2>Where the %lld queries look</h2>\n<p class=\"dim\">Cross-attention "
             "of the Q-Former to the rows of the encoder's output, mean over %lld "
             "layers and %lld heads; each map has its own scale, light is "
             "most.</p>\n<div class=\"maps small\">\n",
             (long long)Q, (long long)cross.dim[0], (long long)cross.dim[1]);
    for (int64_t i = 0; mean && i < tensor_count(cross); i++)
        mean[i % (Q * S)] += from[i];
    for (int64_t q = 0; mean && q < Q; q++) {
        page_put(&w->page, "<figure>");
        page_map(&w->page, mean + q * S);
        page_put(&w->page, "<figcaption>%lld</figcaption></figure>\n", (long long)q);
    }
    page_put(&w->page, "</div>\n");
    free(mean);
}

static int put_picture(struct writer *w, struct record *rec)
{
    struct tensor pixels, cls;
    const char *path = w->e->images->names[0];
    if (record_get_tensor(&pixels, rec, "pixel_values") <= 0 ||
        record_get_tensor(&cls, rec, "cls_attentions") <= 0 || cls.ndim != 3)
        return err_set(ERR_BUG, "no pixel_values in the record");
    w->S = cls.dim[2];
    if (find_grid(w, pixels) < 0)
        return -1;
    page_put(&w->page, "<style>.pic{aspect-ratio:%lld/%lld;background-image:url(",
             (long long)pixels.dim[2], (long long)pixels.dim[1]);
    put_pixels(w, pixels);
    page_put(&w->page, ")}</style>\n<h2>The picture</h2>\n<p class=\"dim\">");
    page_shown(&w->page, path, strlen(path));
    page_put(&w->page, "</p>\n<div class=\"maps\">\n");
    put_file(w, path);
    page_put(&w->page,
             "<figure><div class=\"pic\"></div><figcaption>as the encoder gets it: "
             "%lld × %lld, %d × %d patches</figcaption></figure>\n",
             (long long)pixels.dim[2], (long long)pixels.dim[1], w->page.w, w->page.h);
    put_cls(w, cls);
    page_put(&w->page, "</div>\n");
    return 0;
}

/* ---- tokens ---- */

static void put_chip(struct writer *w, const char *class, const char *s, size_t n, int64_t id)
{
    page_put(&w->page, "<span class=\"chip %s\">", class);
    page_shown(&w->page, s, n);
    page_put(&w->page, "<small>%lld</small></span>\n", (long long)id);
}

static void put_span(struct writer *w, const struct token_table *t, const struct bpe_span *k)
{
    char class[32];
    snprintf(class, sizeof class, "%s%s",
             k->word < 0   ? "special"
             : k->word % 2 ? "odd"
                           : "even",
             k->word >= 0 && !k->first ? " cont" : "");
    put_chip(w, class, k->n ? t->text + k->at : "</s>", k->n ? k->n : 4, k->id);
}

static int put_prompt(struct writer *w, const char *prompt, size_t n)
{
    struct token_table t = { 0 };
    int rc = token_table_make(&t, &w->tokens, prompt, n);
    page_put(&w->page,
             "<h2>What the language model reads</h2>\n<p class=\"dim\">%lld rows of "
             "the picture and %zu tokens, all of them seen (the mask is 1 "
             "everywhere). A colour is a word, a dashed edge where one is cut; below "
             "is the id.</p>\n<div class=\"chips\">\n",
             (long long)w->tokens.layout.rows, t.spans);
    page_put(&w->page, "<span class=\"chip special\">picture × %lld<small>",
             (long long)w->tokens.layout.rows);
    if (t.rows)
        page_put(&w->page, "%lld", (long long)t.image_token);
    else
        page_put(&w->page, "no id");
    page_put(&w->page, "</small></span>\n");
    for (size_t i = 0; rc == 0 && i < t.spans; i++)
        put_span(w, &t, &t.span[i]);
    page_put(&w->page, "</div>\n");
    token_table_release(&t);
    return rc;
}

/* ---- the answer ---- */

/* A token's text in quotes, with what cannot be seen made visible; the id of one that has none.
 */
static void put_token(struct writer *w, int64_t id)
{
    struct buf b = { 0 };
    if (bpe_token(&b, w->tokens.bpe, id) < 0)
        w->page.failed = 1;
    if (b.len == 0)
        page_put(&w->page, "<code>id %lld</code>", (long long)id);
    else {
        page_put(&w->page, "<code>“");
        page_shown(&w->page, (const char *)b.data, b.len);
        page_put(&w->page, "”</code>");
    }
    buf_release(&b);
}

static void put_looks(struct writer *w, const struct record *rec)
{
    struct tensor ids, looks, rows;
    if (record_get_tensor(&ids, rec, "output_ids") <= 0 ||
        record_get_tensor(&looks, rec, "answer_rollout") <= 0 ||
        record_get_tensor(&rows, rec, "answer_attention") <= 0)
        return;
    page_put(&w->page, "<h2>Where the answer looks</h2>\n<p class=\"dim\">For each token the "
                       "attention to the picture's rows, followed through the Q-Former and the "
                       "encoder down to patches; light is most. The share is that of the "
                       "picture in all that the token looks at.</p>\n<div class=\"maps\">\n");
    for (int64_t i = 0; i < ids.dim[0]; i++) {
        double share = 0;
        for (int64_t q = 0; q < rows.dim[1]; q++)
            share += ((const float *)rows.data)[i * rows.dim[1] + q];
        page_put(&w->page, "<figure>");
        page_map(&w->page, (const float *)looks.data + i * w->S);
        page_put(&w->page, "<figcaption>");
        put_token(w, (int64_t)tensor_at(ids, i));
        page_put(&w->page, " %.0f %%</figcaption></figure>\n", 100 * share);
    }
    page_put(&w->page, "</div>\n");
}

static double number(json_t *j, const char *key)
{
    return json_number_value(json_object_get(j, key));
}

static void put_likeliest(struct writer *w, json_t *rows, json_t *taken)
{
    size_t i, k;
    json_t *row, *likely, *from = json_object_get(taken, "from");
    json_array_foreach(rows, i, row)
    {
        if (!json_equal(json_object_get(row, "row"), from))
            continue;
        json_array_foreach(json_object_get(row, "likeliest"), k, likely)
        {
            int64_t id = (int64_t)number(likely, "id");
            if (id == (int64_t)number(taken, "id"))
                continue;
            page_put(&w->page, "<span>");
            put_token(w, id);
            page_put(&w->page, " %.4f</span> ", number(likely, "p"));
        }
    }
}

static void put_taken(struct writer *w, json_t *step, json_t *taken, bool many)
{
    json_t *row = json_object_get(taken, "row");
    double p = number(taken, "p");
    page_put(&w->page, "<tr><td class=\"n\">%d</td>", (int)number(step, "step"));
    if (many && json_is_null(row))
        page_put(&w->page, "<td>done</td>");
    else if (many)
        page_put(&w->page, "<td>%d</td>", (int)json_integer_value(row));
    if (many)
        page_put(&w->page, "<td>%d</td>", (int)number(taken, "from"));
    page_put(&w->page, "<td class=\"token\">");
    put_token(w, (int64_t)number(taken, "id"));
    page_put(&w->page,
             "</td><td class=\"n\">%.4f<span class=\"bar\" style=\"width:%.1f%%\">"
             "</span></td><td class=\"others\">",
             p, 100 * p);
    put_likeliest(w, json_object_get(step, "rows"), taken);
    page_put(&w->page, "</td></tr>\n");
}

static void put_steps(struct writer *w)
{
    size_t i, k;
    json_t *step, *taken;
    bool many = false;
    json_array_foreach(w->lines, i, step)
    {
        many |= json_array_size(json_object_get(step, "taken")) > 1;
    }
    page_put(&w->page,
             "<h2>How it was chosen</h2>\n<div class=\"scroll\"><table>\n<tr><th>step"
             "</th>%s<th>token</th><th>probability</th><th>instead of</th></tr>\n",
             many ? "<th>row</th><th>from</th>" : "");
    json_array_foreach(w->lines, i, step)
    {
        json_array_foreach(json_object_get(step, "taken"), k, taken)
        {
            put_taken(w, step, taken, many);
        }
    }
    page_put(&w->page, "</table></div>\n");
}

/* ---- times ---- */

static void put_time(struct writer *w, const char *what, double seconds, double most)
{
    page_put(&w->page,
             "<tr><td>%s</td><td class=\"n\">%.1f ms</td><td class=\"wide\">"
             "<span class=\"bar\" style=\"width:%.1f%%\"></span></td></tr>\n",
             what, seconds * 1e3, most > 0 ? 100 * seconds / most : 0);
}

static void put_stage_times(struct writer *w)
{
    static const char *const names[] = { "img-encode", "qformer", "tokenize", "opt-generate",
                                         "tokenize -d" };
    double most = 0;
    for (int i = 0; i < EXPLAIN_STAGES; i++)
        most = fmax(most, w->e->seconds[i]);
    page_put(&w->page, "<h2>Times</h2>\n<p class=\"dim\">Each stage alone from start to end, "
                       "with loading its part of the model, one after the other, and with the "
                       "looking that this page needs: asked without it, they run side by side."
                       "</p>\n<div class=\"scroll\"><table>\n");
    for (int i = 0; i < EXPLAIN_STAGES; i++)
        put_time(w, names[i], w->e->seconds[i], most);
    page_put(&w->page, "</table></div>\n");
}

static void put_rates(struct writer *w)
{
    json_t *t = w->timing;
    int steps = (int)number(t, "steps");
    if (!t)
        return;
    page_put(&w->page, "<p>The prompt: %d positions, %d of them read, in %.1f ms.",
             (int)number(t, "positions"), (int)(number(t, "positions") - number(t, "reused")),
             number(t, "prefill_seconds") * 1e3);
    if (steps > 0)
        page_put(&w->page,
                 " Then %d step%s in %.1f ms, %.0f a second: %.2f MB of weights each, "
                 "%.2f GB/s, where this machine reads %.2f GB/s.",
                 steps, steps == 1 ? "" : "s", number(t, "decode_seconds") * 1e3,
                 number(t, "tokens_per_second"), number(t, "step_bytes") / 1e6,
                 number(t, "bytes_per_second") / 1e9,
                 number(t, "memory_bytes_per_second") / 1e9);
    page_put(&w->page, "</p>\n");
}

/* ---- the whole ---- */

/* The steps and times of the next prompt. */
static int read_steps(struct writer *w)
{
    char *line = NULL;
    size_t cap = 0;
    json_decref(w->lines);
    json_decref(w->timing);
    w->lines = json_array();
    w->timing = NULL;
    while (!w->timing && getline(&line, &cap, w->steps) > 0) {
        json_t *j = json_loads(line, 0, NULL);
        w->timing = json_incref(json_object_get(j, "timing"));
        if (!w->timing)
            json_array_append(w->lines, j);
        json_decref(j);
    }
    free(line);
    return w->lines && w->timing ? 0 : err_set(ERR_BUG, "opt-generate told no steps");
}

static void put_head(struct writer *w, const struct record *rec, int prompt)
{
    const char *text = "", *question = w->e->prompts->n ? w->e->questions[prompt] : NULL;
    size_t n = 0;
    if (record_get_str(&text, &n, rec, "text") <= 0)
        n = 0;
    page_put(&w->page, "<h1>");
    if (question)
        page_text(&w->page, question, strlen(question));
    else
        page_put(&w->page, "What is in the picture?");
    page_put(&w->page, "</h1>\n<p class=\"answer\">");
    page_text(&w->page, text, n);
    page_put(&w->page, "</p>\n");
}

static int put_answer(struct writer *w, struct record *rec)
{
    const char *prompt = "";
    size_t n = 0;
    int64_t sequence = 0;
    bool first = record_get_int(&sequence, rec, "sequence") <= 0 || sequence == 0;
    int which = w->answers;
    if (record_get_str(&prompt, &n, rec, "prompt") < 0 || (first && read_steps(w) < 0))
        return -1;
    put_head(w, rec, which);
    if (which == 0 && first && put_picture(w, rec) < 0)
        return -1;
    put_looks(w, rec);
    if (first && put_prompt(w, prompt, n) < 0)
        return -1;
    if (first)
        put_steps(w);
    return 0;
}

static int put_answers(struct writer *w, struct wire_reader *in)
{
    struct record rec;
    struct tensor queries;
    int rc, sequences = 0;
    record_init(&rec);
    const char *each = w->e->gen->num_return_sequences;
    int returned = each ? atoi(each) : 1;
    while ((rc = wire_read(in, &rec)) > 0) {
        if (record_is_error(&rec))
            continue;
        w->answers = sequences++ / returned;
        if ((rc = put_answer(w, &rec)) < 0)
            break;
        if (sequences % returned == 0)
            put_rates(w);
        if (sequences == returned * (w->e->prompts->n ? w->e->prompts->n : 1) &&
            record_get_tensor(&queries, &rec, "cross_attentions") > 0)
            put_queries(w, queries);
    }
    record_release(&rec);
    if (rc == 0 && sequences == 0)
        return 1;
    return rc;
}

static int open_writer(struct writer *w, const char *file)
{
    char path[4096];
    explain_path(path, sizeof path, w->e, EXPLAIN_STAGES);
    w->steps = fopen(path, "r");
    if (!w->steps)
        return err_sys(ERR_IO, "%s", path);
    if (tokens_open(&w->tokens, w->e->common->model) < 0 ||
        front_model(path, sizeof path, w->e->common->model) < 0 ||
        image_processor_read(&w->processor, path) < 0)
        return -1;
    const char *title = w->e->prompts->n ? w->e->questions[0] : "a picture described";
    return page_open(&w->page, file, title);
}

static void close_writer(struct writer *w)
{
    if (w->steps)
        fclose(w->steps);
    json_decref(w->lines);
    json_decref(w->timing);
    tokens_close(&w->tokens);
}

int explain_page_write(const struct explain *e, const char *file)
{
    struct writer w = { .e = e };
    struct input in = { .fd = -1 };
    char path[96];
    explain_path(path, sizeof path, e, EXPLAIN_TEXT);
    int rc = open_writer(&w, file) == 0 && input_open(&in, path) == 0 &&
                     wire_start(in.reader) == 0
                 ? put_answers(&w, in.reader)
                 : -1;
    if (rc == 0)
        put_stage_times(&w);
    input_close(&in);
    struct err_saved why;
    err_save(&why);
    int closed = page_close(&w.page, rc == 0);
    if (rc < 0)
        err_restore(&why);
    close_writer(&w);
    return rc < 0 ? -1 : closed;
}
