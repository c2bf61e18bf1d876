/* digest.h - the hashes by which Hugging Face and git name a file's bytes.
 *
 * Errors:  -1 with err set: ERR_NOINPUT cannot open, ERR_IO cannot read, ERR_OS memory. */
#ifndef BASE_DIGEST_H
#define BASE_DIGEST_H

#include "base/sha256.h"

enum digest_kind {
    DIGEST_SHA256,   /* of the bytes: 64 hex digits, large files */
    DIGEST_GIT_SHA1, /* of "blob SIZE\0" and the bytes: 40 hex digits, the rest */
};

int digest_file(char hex[SHA256_HEX], const char *path, enum digest_kind kind);

#endif
