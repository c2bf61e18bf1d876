/* identity.h - what a checkpoint's bytes are, all of them: for keys under which results are
 * kept for months. (store_fingerprint() is the cheap one, of samples.)
 *
 * Errors:  -1 with err set: a file cannot be read. */
#ifndef STORE_IDENTITY_H
#define STORE_IDENTITY_H

#include "base/sha256.h"
#include "store/store.h"

/* Where digests of files are remembered, so that gigabytes are hashed once: directories, or
 * NULL. A digest is taken for a file of that path, inode, size and times only, and not
 * remembered while the file is younger than a clock's tick. What cannot be written is not
 * remembered. */
struct identity_memo {
    const char *dir; /* made when there is something to remember */
    const char *ro;  /* looked into only */
};

/* SHA-256 of a line "NAME SHA256\n" for config.json and each weights file (model.safetensors,
 * or all *.safetensors by name). A file that is a link to a blob named by its SHA-256, as in
 * the Hugging Face cache, is not read. */
int identity_digest(char hex[SHA256_HEX], const char *dir, const struct identity_memo *memo);

/* The same of what one model of a checkpoint reads, so that it is another only if that changed:
 * SHA-256 of "architectures", "quantization_config" and the section of config.json, and of all
 * bytes of the tensors whose names begin with one of the prefixes. If there is no such section,
 * or no tensor for one of them, that of the whole checkpoint. */
struct identity_part {
    const char *section;
    const char *prefix[4]; /* up to a NULL */
};
int identity_digest_part(char hex[SHA256_HEX], struct store *s,
                         const struct identity_part *part, const struct identity_memo *memo);

#endif
