/* known.h - from a picture straight to its language_model_inputs in the cache, past its
 * image_embeds, so that a question about a picture seen before needs the language model alone.
 *
 * What qformer keeps has a key made of the digest of image_embeds. That digest is kept too,
 * under the picture's own key, by whoever computed image_embeds: an entry
 * `image_embeds_sha256`, u8 (32). Nothing is taken on trust from a stream.
 *
 * Errors:  none that cost a result: what is not known is computed. */
#ifndef FRONT_KNOWN_H
#define FRONT_KNOWN_H

#include "front/cached.h"

/* The cache of language_model_inputs, whose key covers the whole checkpoint. As cached_open().
 */
int known_open(struct cached *queries, const struct cached_args *a, struct store *s,
               const char *fingerprint);

/* SHA-256 of image_embeds: dtype, shape and bytes. -1 for lack of memory. */
int known_digest(unsigned char out[SHA256_BYTES], struct tensor embeds);

/* The key of what is made of image_embeds with that digest. -1 for lack of memory. */
int known_key(struct cache_key *key, const struct cached *queries,
              const unsigned char digest[SHA256_BYTES]);

enum known { KNOWN_NOTHING, KNOWN_DIGEST, KNOWN_INPUTS };

/* What is kept of a picture, by its key in the encoder's cache. KNOWN_INPUTS: *inputs lies in
 * entry. */
enum known known_find(struct tensor *inputs, struct record *entry, const struct cached *queries,
                      const struct cached *encoder, const struct cache_key *picture);

void known_note(const struct cached *encoder, const struct cache_key *picture,
                struct tensor embeds);

#endif
