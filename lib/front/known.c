/* known.c - see known.h. */
#include "front/known.h"

#include <stdio.h>
#include <string.h>

#define DIGEST "image_embeds_sha256"

int known_open(struct cached *queries, const struct cached_args *a, struct store *s,
               const char *fingerprint)
{
    return cached_open(queries, a,
                       &(struct cached_stage){
                           .program = "qformer",
                           .store = s,
                           .part = { "qformer_config",
                                     { "qformer.", "query_tokens", "language_projection." } },
                           .fingerprint = fingerprint,
                           .facts = "gives language_model_inputs f32\n" });
}

int known_digest(unsigned char out[SHA256_BYTES], struct tensor embeds)
{
    char head[TENSOR_SHAPE_MAX + 32], shape[TENSOR_SHAPE_MAX];
    struct sha256 *h = sha256_new();
    if (!h)
        return -1;
    int n = snprintf(head, sizeof head, "image_embeds %s %s\n", dtype_name(embeds.dtype),
                     tensor_shape_str(shape, embeds));
    sha256_update(h, head, (size_t)n);
    sha256_update(h, embeds.data, tensor_bytes(embeds));
    int rc = sha256_peek(h, out);
    sha256_free(h);
    return rc;
}

int known_key(struct cache_key *key, const struct cached *queries,
              const unsigned char digest[SHA256_BYTES])
{
    return cache_key(key, queries->cache, DIGEST, digest, SHA256_BYTES);
}

/* Where a picture's digest is kept. */
static int digest_key(struct cache_key *key, const struct cached *encoder,
                      const struct cache_key *picture)
{
    return cache_key(key, encoder->cache, DIGEST " of", picture->hex, sizeof picture->hex);
}

enum known known_find(struct tensor *inputs, struct record *entry, const struct cached *queries,
                      const struct cached *encoder, const struct cache_key *picture)
{
    struct cache_key key;
    struct tensor t;
    unsigned char digest[SHA256_BYTES];
    if (digest_key(&key, encoder, picture) < 0 ||
        !cache_get(&t, entry, encoder->cache, &key, DIGEST) || t.dtype != DT_U8 ||
        tensor_bytes(t) != sizeof digest)
        return KNOWN_NOTHING;
    memcpy(digest, t.data, sizeof digest);
    if (!queries->cache || known_key(&key, queries, digest) < 0 ||
        !cache_get(inputs, entry, queries->cache, &key, "language_model_inputs"))
        return KNOWN_DIGEST;
    return KNOWN_INPUTS;
}

void known_note(const struct cached *encoder, const struct cache_key *picture,
                struct tensor embeds)
{
    struct cache_key key;
    unsigned char digest[SHA256_BYTES];
    if (known_digest(digest, embeds) == 0 && digest_key(&key, encoder, picture) == 0)
        cache_put(encoder->cache, &key, DIGEST, tensor_1d(digest, DT_U8, sizeof digest));
}
