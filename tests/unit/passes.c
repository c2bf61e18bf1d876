/* passes.c - what the trainer's passes see and make, one by one, against LAVIS: masks, hidden
 * states, vectors, similarities, the negatives that a draw chooses, logits.
 * shared/fixtures/train has the numbers, unit/train.c the losses and gradients that follow from
 * them. */
#include "train/state.h"

#include "lib/lavis.h"

#define TOLERANCE 2e-5 /* absolute, the README's */

enum { QUERY, TEXT, ITM, LM, PASSES };
static const char *const mode[PASSES] = { "query", "text", "itm", "lm" };

/* One sequence of a pass: Q rows of queries, then n of text; of expected tensors, whose texts
 * are padded, the first rows. */
struct sequence {
    int64_t Q, n;
};

/* A run of a trainer that is watched. */
struct seen {
    struct nn_watch watch; /* first: it is what nn has */
    struct safetensors want;
    struct sequence seq[PASSES][18];
    int64_t sequences[PASSES];
    int pass, masks, layers; /* compared so far */
    bool masks_agree;
    struct tensor last[PASSES]; /* hidden states of each pass's end */
    double worst;
};

static void near_all(const char *what, double worst, int64_t n)
{
    ok(n > 0 && worst <= TOLERANCE, "%s: %lld values, within %.1e", what, (long long)n, worst);
}

/* Rows of x that are one after the other, of want where they are padded to `wide` rows. */
static double apart(const struct sequence *seq, int64_t n, const float *x, struct tensor want,
                    int64_t wide)
{
    double worst = want.data ? 0 : (double)INFINITY;
    int64_t D = want.dim[want.ndim - 1];
    for (int64_t k = 0; want.data && k < n; k++)
        for (int64_t i = 0; i < (seq[k].Q + seq[k].n) * D; i++) {
            double d = fabs((double)*x++ - tensor_at(want, k * wide * D + i));
            worst = fmax(worst, isfinite(d) ? d : (double)INFINITY);
        }
    return worst;
}

static struct tensor kept(struct tensor t)
{
    t.data = arena_memdup(&mem, t.data, tensor_bytes(t));
    return t;
}

/* ---- stage 1 ---- */

static void layer_done(void *ctx, int layer, struct tensor hidden)
{
    struct seen *s = ctx;
    char name[64], label[96];
    if (layer == 0)
        return;
    snprintf(name, sizeof name, "hidden.%s.%d", mode[s->pass], layer - 1);
    struct tensor want = get(&s->want, name);
    snprintf(label, sizeof label, "%s", name);
    near_all(label,
             apart(s->seq[s->pass], s->sequences[s->pass], hidden.data, want, want.dim[1]),
             tensor_count(hidden));
    s->layers++;
    if (layer == 4)
        s->last[s->pass++] = kept(hidden);
}

/* A key is seen, in every head, exactly where LAVIS's mask allows it. Padding is not there. */
static void attended(struct nn_watch *w, const struct nn_heads *heads, int64_t i,
                     struct tensor p)
{
    struct seen *s = (struct seen *)(void *)w;
    char name[64];
    if (heads->cross)
        return;
    snprintf(name, sizeof name, "mask_allowed.%s", mode[s->pass]);
    struct tensor want = get(&s->want, name); // (n, 1, 1 or T, S)
    int64_t H = p.dim[0], T = p.dim[1], S = p.dim[2], wide = want.dim[3], tall = want.dim[2];
    const uint8_t *allowed = (uint8_t *)want.data + i * tall * wide;
    for (int64_t h = 0; h < H; h++)
        for (int64_t t = 0; t < T; t++)
            for (int64_t k = 0; k < wide; k++) {
                bool seen = k < S && ((float *)p.data)[(h * T + t) * S + k] > 0;
                s->masks_agree &= seen == (allowed[(tall > 1 ? t * wide : 0) + k] == 1);
            }
    s->masks++;
}

/* What each pass reads, in the order of stage1.c. */
static void lay_out(struct seen *s, const struct train_batch *b)
{
    for (int64_t i = 0; i < 6; i++) {
        s->seq[QUERY][i] = (struct sequence){ 8, 0 };
        s->seq[TEXT][i] = (struct sequence){ 0, b->length[i] };
        s->seq[LM][i] = (struct sequence){ 0, b->length[i] - 1 };
        s->seq[ITM][i] = s->seq[ITM][6 + i] = (struct sequence){ 8, b->length[i] };
        s->seq[ITM][12 + i] = (struct sequence){ 8, b->length[b->neg_text[i]] };
    }
    memcpy(s->sequences, (int64_t[]){ 6, 6, 18, 6 }, sizeof s->sequences);
}

/* The first row of each sequence, or all of a sequence's queries. */
static struct tensor first_rows(struct train *t, const struct seen *s, int pass, int64_t count)
{
    int64_t *at = arena_calloc(&mem, (size_t)(18 * count), sizeof *at), n = 0, row = 0;
    for (int64_t k = 0; k < s->sequences[pass]; k++) {
        for (int64_t i = 0; i < count; i++)
            at[n++] = row + i;
        row += s->seq[pass][k].Q + s->seq[pass][k].n;
    }
    return nn_pick(&t->nn, s->last[pass], (struct tensor){ 0 }, at, n);
}

static void near_tensor(const struct seen *s, const char *name, struct tensor got)
{
    struct tensor want = get(&s->want, name);
    double worst = want.data && got.data && tensor_count(want) == tensor_count(got)
                       ? 0
                       : (double)INFINITY;
    for (int64_t i = 0; worst == 0 && i < tensor_count(want); i++)
        worst = fmax(worst, fabs((double)((float *)got.data)[i] - tensor_at(want, i)));
    near_all(name, worst, tensor_count(got));
}

/* What the heads make of the passes' ends. */
static void test_heads(struct train *t, const struct seen *s)
{
    const struct retrieval_heads *h = retrieval_heads(t->retrieval);
    struct nn *nn = &t->nn;
    near_tensor(s, "image_feats_proj",
                nn_unit(nn, nn_linear(nn, s->last[QUERY], &h->vision, NN_NONE)));
    near_tensor(s, "text_feat_proj",
                nn_unit(nn, nn_linear(nn, first_rows(t, s, TEXT, 1), &h->text, NN_NONE)));
    struct tensor q = nn_linear(nn, first_rows(t, s, ITM, 8), &h->itm, NN_NONE);
    near_tensor(s, "itm_logits", nn_mean(nn, tensor_3d(q.data, DT_F32, 18, 8, 2)));
    struct tensor x = nn_linear(nn, s->last[LM], &t->words.dense, NN_GELU);
    x = nn_layernorm(nn, x, &t->words.norm, qformer_eps(t->q));
    x = nn_linear(nn, x, &t->words.out, NN_NONE); // (rows, V)
    struct tensor want = get(&s->want, "lm_logits");
    near_all("lm_logits", apart(s->seq[LM], 6, x.data, want, want.dim[1]), tensor_count(x));
}

static void watch_passes(struct train *t, struct seen *s, const struct train_batch *b)
{
    struct train_losses l;
    struct nn plain = t->nn;
    struct tensor x;
    lay_out(s, b);
    s->watch.attention = attended;
    s->masks_agree = true;
    t->nn.watch = &s->watch;
    qformer_set_watch((struct qformer *)(uintptr_t)t->q, layer_done, s);
    int rc = train_gradients(&l, t, b);
    ok(rc == 0 && s->pass == PASSES && s->layers == 16, "four passes of four layers (%s)",
       rc ? err_msg() : "");
    ok(s->masks == 4 * (6 + 6 + 18 + 6) && s->masks_agree,
       "%d masks, each key seen where LAVIS allows it and nowhere else", s->masks);
    qformer_set_watch((struct qformer *)(uintptr_t)t->q, NULL, NULL);
    t->nn.watch = NULL;
    ok(train_image_embeds(&x, t, &plain, b->features) == 0, "image_embeds");
    near_tensor(s, "image_embeds", x);
}

/* ---- contrast and its negatives ---- */

static struct train_contrast contrast_of(const struct seen *s)
{
    struct tensor z = get(&s->want, "image_feats_proj"), w = get(&s->want, "text_feat_proj");
    return (struct train_contrast){
        .B = 6, .G = 6, .Q = 8, .P = 32, .z = z, .w = w, .z_all = z, .w_all = w
    };
}

/* The index a chance leads to, by LAVIS's weights; -1 so near to a border that rounding
 * decides.
 */
static int64_t drawn(struct tensor weights, int64_t row, double chance)
{
    double total = 0, sum = 0;
    for (int64_t g = 0; g < 6; g++)
        total += tensor_at(weights, row * 6 + g);
    for (int64_t g = 0; g < 6; g++) {
        sum += tensor_at(weights, row * 6 + g) / total;
        if (fabs(sum - chance) < 1e-5)
            return -1;
        if (chance < sum)
            return g;
    }
    return -1;
}

/* Draws of many batches: the index that LAVIS's weights give for the same chance. */
static void test_negatives(struct train *t, const struct seen *s, const int64_t *image_id,
                           struct tensor t2i, struct tensor i2t, const char *what)
{
    int agree = 0, counted = 0, own = 0;
    for (uint64_t number = 0; number < 500; number++) {
        struct train_batch b = { .B = 6, .number = number, .weight = 1 };
        struct train_contrast c = contrast_of(s);
        c.image_id = image_id;
        train_begin(t, &b);
        if (train_contrast(&c, t, &b) < 0)
            break;
        for (int64_t i = 0; i < 6; i++) {
            double image = train_uniform(t->o.seed, 2 * number, (uint64_t)i);
            double text = train_uniform(t->o.seed, 2 * number + 1, (uint64_t)i);
            int64_t a = drawn(t2i, i, image), d = drawn(i2t, i, text);
            counted += (a >= 0) + (d >= 0);
            agree += (a >= 0 && a == c.neg_image[i]) + (d >= 0 && d == c.neg_text[i]);
            own += image_id ? image_id[c.neg_image[i]] == image_id[i] : c.neg_image[i] == i;
        }
    }
    ok(counted > 5900 && agree == counted && own == 0,
       "%s: %d of %d negatives are those of LAVIS's weights", what, agree, counted);
}

static void test_contrast(struct train *t, const struct seen *s)
{
    struct train_batch b = { .B = 6, .weight = 1 };
    struct train_contrast c = contrast_of(s);
    train_begin(t, &b);
    ok(train_contrast(&c, t, &b) == 0, "contrast");
    near_tensor(s, "sim_i2t", tensor_2d(c.i2t, DT_F32, 6, 6));
    near_tensor(s, "sim_t2i", tensor_2d(c.t2i, DT_F32, 6, 6));
    test_negatives(t, s, NULL, get(&s->want, "weights_t2i_f64"),
                   get(&s->want, "weights_i2t_f64"), "plain");
    struct safetensors f = open_file("stage1/image-id"), batch = open_file("stage1/batch");
    test_negatives(t, s, get(&batch, "image_id").data, get(&f, "weights_t2i"),
                   get(&f, "weights_i2t"), "image ids");
    safetensors_close(&f);
    safetensors_close(&batch);
    t->nn.tape = NULL;
}

/* A small batch goes at once, one beyond 4 GiB in parts that depend on sizes alone. */
static void test_parts(const struct train *t, struct train_batch b)
{
    ok(train_micro(t, &b) == 6, "six pairs at once");
    b.B = 1 << 20;
    int64_t m = train_micro(t, &b);
    ok(m > 1000 && m < 4000, "of a million %lld", (long long)m);
    b.T = 1 << 30;
    ok(train_micro(t, &b) == 1, "never none");
}

static void test_stage1(const char *dir)
{
    struct train_options o = options(1, TRAIN_ALL);
    struct store *st = store_open(make_stage1(dir, "stage1/tiny-qformer-init"));
    struct train *t = st ? train_open(st, NULL, &o, NULL, NULL) : NULL;
    struct seen s = { .want = open_file("stage1/expected") };
    struct train_batch b = stage1_batch(0, 6);
    if (ok(t != NULL, "stage 1 (%s)", t ? "" : err_msg())) {
        watch_passes(t, &s, &b);
        test_heads(t, &s);
        test_contrast(t, &s);
        test_parts(t, b);
    }
    safetensors_close(&s.want);
    train_close(t);
    store_close(st);
}

/* ---- stage 2 ---- */

/* A reading of the queries, then of the language model, whose keys are seen as far as a row. */
struct spoken {
    struct nn_watch watch; /* first: it is what nn has */
    struct tensor mask;    /* (6, 40) of queries and texts */
    struct tensor query, hidden;
    int masks;
    bool masks_agree;
};

static void query_done(void *ctx, int layer, struct tensor hidden)
{
    struct spoken *s = ctx;
    if (layer == 4)
        s->query = kept(hidden);
}

static void words_done(void *ctx, int layer, struct tensor hidden)
{
    struct spoken *s = ctx;
    if (layer == 3) /* after the final norm */
        s->hidden = kept(hidden);
}

/* All queries see each other; a row of the language model what is not padding and not later.
 * The last token of a text, which predicts nothing, is not read. */
static void spoken_attended(struct nn_watch *w, const struct nn_heads *heads, int64_t i,
                            struct tensor p)
{
    struct spoken *s = (struct spoken *)(void *)w;
    int64_t H = p.dim[0], T = p.dim[1], S = p.dim[2];
    if (heads->cross)
        return;
    for (int64_t h = 0; h < H; h++)
        for (int64_t t = 0; t < T; t++)
            for (int64_t k = 0; k < S; k++) {
                bool allowed = !heads->causal ||
                               (k <= t && tensor_at(s->mask, i * 40 + k) == 1);
                s->masks_agree &= allowed == (((float *)p.data)[(h * T + t) * S + k] > 0);
            }
    if (heads->causal)
        s->masks_agree &= T == S && tensor_at(s->mask, i * 40 + S) == 1 &&
                          (S + 1 == 40 || tensor_at(s->mask, i * 40 + S + 1) == 0);
    s->masks++;
}

/* Queries, projected, and all tokens behind them. */
static struct tensor inputs(struct train *t, const struct train_batch *b, struct tensor query)
{
    struct tensor visual, words;
    int64_t *ids = arena_calloc(&mem, (size_t)(b->B * b->T), sizeof *ids), n = 0, rows = 0;
    int64_t *order = arena_calloc(&mem, (size_t)(b->B * (b->T + 8)), sizeof *order);
    for (int64_t i = 0; i < b->B; i++) {
        for (int64_t q = 0; q < 8; q++)
            order[rows++] = i * 8 + q;
        for (int64_t w = 0; w < b->length[i]; w++) {
            order[rows++] = b->B * 8 + n;
            ids[n++] = b->ids[i * b->T + w];
        }
    }
    if (qformer_project(&visual, t->q, &t->nn, query) < 0 ||
        opt_embed(&words, t->opt, &t->nn, ids, n) < 0)
        return (struct tensor){ 0 };
    return nn_pick(&t->nn, visual, words, order, rows);
}

static void near_rows(const char *name, const struct safetensors *f,
                      const struct train_batch *b, int64_t less, struct tensor x)
{
    struct sequence seq[6];
    struct tensor want = get(f, name);
    for (int64_t i = 0; i < 6; i++)
        seq[i] = (struct sequence){ 8, b->length[i] - less };
    near_all(name, x.data ? apart(seq, 6, x.data, want, 40) : (double)INFINITY,
             x.data ? tensor_count(x) : 0);
}

static void watch_speech(struct train *t, struct spoken *s, const struct train_batch *b)
{
    struct train_losses l;
    struct qformer *q = (struct qformer *)(uintptr_t)t->q;
    s->watch.attention = spoken_attended;
    s->masks_agree = true;
    t->nn.watch = &s->watch;
    qformer_set_watch(q, query_done, s);
    opt_set_watch(t->opt, words_done, s);
    int rc = train_gradients(&l, t, b);
    t->nn.watch = NULL;
    ok(rc == 0 && s->query.data && s->hidden.data, "both models are read (%s)",
       rc ? err_msg() : "");
    ok(s->masks == 4 * 6 + 2 * 6 && s->masks_agree, "%d masks are LAVIS's", s->masks);
}

static void test_stage2(const char *dir, const char *kind, int64_t prompt)
{
    char name[64];
    struct train_options o = options(2, TRAIN_LM);
    struct store *st = store_open(make_stage2(dir));
    struct train *t = st ? train_open(st, NULL, &o, NULL, NULL) : NULL;
    struct train_batch b = stage2_batch(kind, prompt);
    snprintf(name, sizeof name, "stage2/%s", kind);
    struct safetensors f = open_file(name);
    struct spoken s = { .mask = get(&f, "attention_mask") };
    if (ok(t != NULL, "stage 2, %s (%s)", kind, t ? "" : err_msg())) {
        struct sequence queries[6] = { { 8, 0 }, { 8, 0 }, { 8, 0 },
                                       { 8, 0 }, { 8, 0 }, { 8, 0 } };
        struct tensor logits = { 0 };
        watch_speech(t, &s, &b);
        near_all("query_output", apart(queries, 6, s.query.data, get(&f, "query_output"), 8),
                 tensor_count(s.query));
        near_rows("inputs_embeds", &f, &b, 0, inputs(t, &b, s.query));
        ok(opt_head(&logits, t->opt, &t->nn, s.hidden) == 0, "logits");
        near_rows("logits", &f, &b, 1, logits);
    }
    safetensors_close(&f);
    train_close(t);
    store_close(st);
}

int main(void)
{
    char dir[] = "/tmp/vqatools-passes.XXXXXX", remove[128];
    if (!tap_fixture("train/config.json")) {
        skip("shared/fixtures/train");
        return tap_done();
    }
    ok(mkdtemp(dir) != NULL, "a directory");
    test_stage1(dir);
    test_stage2(dir, "caption", 0);
    test_stage2(dir, "prompt", 7);
    arena_release(&mem);
    snprintf(remove, sizeof remove, "rm -rf %s", dir);
    ok(system(remove) == 0, "cleaned up");
    return tap_done();
}
