/* recall.c - see recall.h. */
#include "front/recall.h"

#include "base/err.h"
#include "model/retrieval.h"

#include <stdlib.h>
#include <string.h>

static const int depth[RECALL_KINDS] = { 1, 5, 10 };

struct work {
    struct train *train;
    const struct retrieval *model; /* as it is now */
    struct nn *nn;
    struct pairs *p;
    struct features *f;
    struct arena mem;
    float *image; /* (images, Q, J) */
    float *words; /* (pairs, J) */
    float *score; /* (pairs, images) */
};

/* A picture as the Q-Former sees it: (1, S, E), after the norm that is trained. */
static int image_embeds(struct tensor *x, struct work *w, int image)
{
    struct tensor t;
    arena_reset(w->nn->mem);
    if (features_get(&t, w->f, w->p, image) < 0)
        return -1;
    return train_image_embeds(x, w->train, w->nn,
                              tensor_3d(t.data, DT_F32, 1, t.dim[0], t.dim[1]));
}

static int read_images(struct work *w)
{
    struct tensor x;
    size_t each = 0;
    for (int i = 0; i < w->p->images; i++) {
        if (image_embeds(&x, w, i) < 0 || retrieval_image(&x, w->model, w->nn, x) < 0)
            return -1;
        each = (size_t)tensor_count(x);
        if (!w->image &&
            !(w->image = arena_calloc(&w->mem, (size_t)w->p->images, each * sizeof(float))))
            return -1;
        memcpy(w->image + (size_t)i * each, x.data, each * sizeof(float));
    }
    return 0;
}

static int read_texts(struct work *w)
{
    int64_t J = retrieval_size(w->model);
    struct tensor x;
    w->words = arena_calloc(&w->mem, (size_t)w->p->pairs, (size_t)J * sizeof(float));
    for (int i = 0; w->words && i < w->p->pairs; i++) {
        const struct pairs_pair *pair = &w->p->pair[i];
        arena_reset(w->nn->mem);
        if (retrieval_text(&x, w->model, w->nn, pair->ids, pair->length) < 0)
            return -1;
        memcpy(w->words + i * J, x.data, (size_t)J * sizeof(float));
    }
    return w->words ? 0 : -1;
}

static int compare(struct work *w)
{
    int64_t Q = qformer_queries(retrieval_qformer(w->model)), J = retrieval_size(w->model);
    int images = w->p->images, pairs = w->p->pairs;
    w->score = arena_calloc(&w->mem, (size_t)pairs, (size_t)images * sizeof(float));
    for (int t = 0; w->score && t < pairs; t++)
        for (int i = 0; i < images; i++)
            w->score[(int64_t)t * images + i] = (float)retrieval_similarity(
                tensor_2d(w->image + i * Q * J, DT_F32, Q, J),
                tensor_1d(w->words + t * J, DT_F32, J));
    return w->score ? 0 : -1;
}

/* How many of n scores, `step` apart, come before the at-th. */
static int rank(const float *score, int n, int64_t step, int at)
{
    int before = 0;
    for (int i = 0; i < n; i++)
        before += score[i * step] > score[at * step] ||
                  (i < at && score[i * step] == score[at * step]);
    return before;
}

static void count(double out[RECALL_KINDS], int rank, int of)
{
    for (int k = 0; k < RECALL_KINDS; k++)
        out[k] += rank < depth[k] ? 1.0 / of : 0;
}

static void count_recall(struct recall *out, const struct work *w)
{
    int images = w->p->images, pairs = w->p->pairs;
    for (int t = 0; t < pairs; t++)
        count(out->text_to_image,
              rank(w->score + (int64_t)t * images, images, 1, w->p->pair[t].image), pairs);
    for (int i = 0; i < images; i++) {
        int best = pairs;
        for (int t = 0; t < pairs; t++) {
            int r = w->p->pair[t].image == i ? rank(w->score + i, pairs, images, t) : pairs;
            best = r < best ? r : best;
        }
        count(out->image_to_text, best, images);
    }
}

/* 1: the head says that they match. */
static int matches(struct work *w, int image, const struct pairs_pair *pair)
{
    struct tensor x;
    if (image_embeds(&x, w, image) < 0 ||
        retrieval_match(&x, w->model, w->nn, x, pair->ids, pair->length) < 0)
        return -1;
    return ((float *)x.data)[1] > ((float *)x.data)[0];
}

static int count_matching(struct recall *out, struct work *w)
{
    int n = w->p->pairs, decisions = 0, right = 0;
    for (int t = 0; t < n; t++) {
        const struct pairs_pair *pair = &w->p->pair[t];
        int other = pair->image;
        for (int k = 1; k < n && other == pair->image; k++)
            other = w->p->pair[(t + k) % n].image;
        int yes = matches(w, pair->image, pair);
        int no = yes < 0 || other == pair->image ? yes < 0 ? -1 : 0 : matches(w, other, pair);
        if (yes < 0 || no < 0)
            return -1;
        right += yes + (other != pair->image && !no);
        decisions += 1 + (other != pair->image);
    }
    out->itm_accuracy = (double)right / decisions;
    return 0;
}

int recall_measure(struct recall *out, struct train *t, struct nn *nn, struct pairs *held_out,
                   struct features *f)
{
    struct work w = {
        .train = t, .model = train_retrieval(t), .nn = nn, .p = held_out, .f = f
    };
    *out = (struct recall){ .itm_accuracy = 0 };
    int rc = read_images(&w) < 0 || read_texts(&w) < 0 || compare(&w) < 0 ? -1 : 0;
    if (rc == 0) {
        count_recall(out, &w);
        rc = count_matching(out, &w);
    }
    arena_release(&w.mem);
    return rc;
}
