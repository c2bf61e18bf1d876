/* hub.h - where Hugging Face keeps checkpoints: ORG/NAME[@REV] to a snapshot directory.
 *
 * Layout (huggingface_hub): CACHE/models--ORG--NAME/{refs/REV, snapshots/COMMIT/, blobs/}. A
 * snapshot's files may be links into blobs or plain files. Reading needs no lock and no
 * network.
 *
 * Errors:  -1 with err set: ERR_NOINPUT says where it looked and what would bring it. */
#ifndef STORE_HUB_H
#define STORE_HUB_H

#include <stdbool.h>
#include <stddef.h>

/* Whether the word has the form ORG/NAME[@REV] (and not that of a path: no leading . or /). */
bool hub_is_name(const char *word);

/* The snapshot's directory into dir. rev: a 40-digit commit, a ref, or none: refs/main, else
 * the only snapshot there is. cache: $HF_HUB_CACHE's value or its default. */
int hub_find(char *dir, size_t n, const char *cache, const char *name);

/* One snapshot in the cache. */
struct hub_snapshot {
    const char *name; /* ORG/NAME */
    const char *commit;
    const char *dir;
    bool main; /* what ORG/NAME alone means */
};
typedef int hub_fn(void *ctx, const struct hub_snapshot *s);

/* Calls fn for each snapshot of each model, in the order of their names; what fn gives other
 * than 0 ends it and is the result. A cache that is not there is empty. */
int hub_each(const char *cache, hub_fn *fn, void *ctx);

/* The hash a file of a model's directory must have, 64 hex digits (SHA-256) or 40 (git's), into
 * hex: the name of the blob it links to, or what the cache's trees/COMMIT.json or a
 * .cache/huggingface/download/FILE.metadata says. 1, or 0 if nothing says. */
int hub_expected_hash(char hex[65], const char *dir, const char *file);

#endif
