/* digest.c - see digest.h. */
#include "base/digest.h"

#include "base/err.h"
#include "base/io.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK 65536

static int begin(EVP_MD_CTX *md, int fd, enum digest_kind kind)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return err_sys(ERR_IO, "fstat");
    if (!EVP_DigestInit_ex(md, kind == DIGEST_SHA256 ? EVP_sha256() : EVP_sha1(), NULL))
        return err_set(ERR_OS, "libcrypto has no such hash");
    char head[40];
    int n = snprintf(head, sizeof head, "blob %lld", (long long)st.st_size);
    if (kind == DIGEST_GIT_SHA1)
        EVP_DigestUpdate(md, head, (size_t)n + 1);
    return 0;
}

static int digest_fd(char hex[SHA256_HEX], EVP_MD_CTX *md, int fd, enum digest_kind kind)
{
    unsigned char chunk[CHUNK], out[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    ssize_t got = begin(md, fd, kind);
    while (got >= 0 && (got = io_read_some(fd, chunk, sizeof chunk)) > 0)
        EVP_DigestUpdate(md, chunk, (size_t)got);
    if (got < 0)
        return -1;
    EVP_DigestFinal_ex(md, out, &len);
    for (unsigned i = 0; i < len && i < SHA256_BYTES; i++)
        snprintf(hex + 2 * i, 3, "%02x", out[i]);
    return 0;
}

int digest_file(char hex[SHA256_HEX], const char *path, enum digest_kind kind)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_sys(ERR_NOINPUT, "%s", path);
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    int rc = md ? digest_fd(hex, md, fd, kind) : err_nomem("hash");
    EVP_MD_CTX_free(md);
    close(fd);
    return rc < 0 ? err_wrap("%s", path) : 0;
}
