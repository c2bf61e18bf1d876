/* sha256.c - the only file that includes libcrypto: see sha256.h. */
#include "base/sha256.h"

#include "base/err.h"

#include <openssl/evp.h>
#include <stdlib.h>

struct sha256 {
    EVP_MD_CTX *ctx, *copy;
};

struct sha256 *sha256_new(void)
{
    struct sha256 *s = calloc(1, sizeof *s);
    if (!s)
        return err_null(ERR_OS, "sha256: out of memory");
    s->ctx = EVP_MD_CTX_new();
    s->copy = EVP_MD_CTX_new();
    if (!s->ctx || !s->copy || EVP_DigestInit_ex(s->ctx, EVP_sha256(), NULL) != 1) {
        sha256_free(s);
        return err_null(ERR_OS, "sha256: cannot be initialised");
    }
    return s;
}

void sha256_free(struct sha256 *s)
{
    if (!s)
        return;
    EVP_MD_CTX_free(s->ctx);
    EVP_MD_CTX_free(s->copy);
    free(s);
}

void sha256_update(struct sha256 *s, const void *p, size_t n)
{
    EVP_DigestUpdate(s->ctx, p, n);
}

int sha256_peek(struct sha256 *s, unsigned char out[SHA256_BYTES])
{
    if (EVP_MD_CTX_copy_ex(s->copy, s->ctx) != 1 || EVP_DigestFinal_ex(s->copy, out, NULL) != 1)
        return err_nomem("sha256");
    return 0;
}

void sha256_hex(char out[SHA256_HEX], const unsigned char digest[SHA256_BYTES])
{
    static const char hex[] = "0123456789abcdef";
    for (int i = 0; i < SHA256_BYTES; i++) {
        out[2 * i] = hex[digest[i] >> 4];
        out[2 * i + 1] = hex[digest[i] & 15];
    }
    out[SHA256_HEX - 1] = '\0';
}
