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

#endif
