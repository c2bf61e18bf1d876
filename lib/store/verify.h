/* verify.h - whether a model's files are what they were when they were published, without a
 * network: large files are named by their SHA-256, small ones by git's hash.
 *
 * Errors:  -1 with err set: the directory cannot be read. A bad file is no error here. */
#ifndef STORE_VERIFY_H
#define STORE_VERIFY_H

#include <stdint.h>

enum verify_state {
    VERIFY_OK,
    VERIFY_UNKNOWN, /* readable, and nothing says what its hash should be */
    VERIFY_BAD,
};

struct verify_file {
    const char *name; /* from the model's directory: "onnx/model.onnx" */
    int64_t size;
    enum verify_state state;
    const char *why; /* VERIFY_BAD, VERIFY_UNKNOWN: one sentence */
};
typedef int verify_fn(void *ctx, const struct verify_file *f);

/* Every file of the directory, hidden ones left out, by name; then what the checkpoint as a
 * whole has to say (config.json, index, shards, headers) under the name "." if it does not
 * open. Gives 0, or what fn gave other than 0. */
int verify_each(const char *dir, verify_fn *fn, void *ctx);

/* Bytes of the directory's files, links followed; what cannot be read counts nothing. */
int64_t verify_size(const char *dir);

#endif
