/* sha256.h - SHA-256 by libcrypto: equals sha256sum and the names of Hugging Face's blobs.
 *
 * Errors:  -1 or NULL with err set, for lack of memory only. */
#ifndef BASE_SHA256_H
#define BASE_SHA256_H

#include <stddef.h>

#define SHA256_BYTES 32
#define SHA256_HEX   65 /* with its terminator */

struct sha256;

struct sha256 *sha256_new(void);
void sha256_free(struct sha256 *s);
void sha256_update(struct sha256 *s, const void *p, size_t n);

/* The digest of all bytes so far; the state goes on and can be asked again later. */
int sha256_peek(struct sha256 *s, unsigned char out[SHA256_BYTES]);

void sha256_hex(char out[SHA256_HEX], const unsigned char digest[SHA256_BYTES]);

#endif
