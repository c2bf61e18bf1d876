/* cachedir.h - the directory that a cache keeps its files in: making it, walking it, keeping it
 * small. What an entry is: cache.h.
 *
 *   DIR/CACHEDIR.TAG               backup programs leave it out (bford.info/cachedir)
 *   DIR/emb/v1/GROUP/about         what the entries of a group have in common, as text
 *   DIR/emb/v1/GROUP/XX/KEY.msgpack     an entry; XX begins KEY
 *   DIR/emb/v1/GROUP/XX/.tmp.RANDOM     one being written, or what a killed writer left
 *
 * Locks:   none that a result depends on. Files appear by rename and go by unlink, so whoever
 *          has one open keeps it, and programs on several hosts may do any of this at the same
 *          time. Those that prune to a size take turns, for two would both remove what is too
 *          much; where the file system's locks do not work, they do.
 * Memory:  constant in the number of entries.
 * Errors:  -1 with err set. */
#ifndef STAGE_CACHEDIR_H
#define STAGE_CACHEDIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define CACHEDIR_PATH 4096

/* Makes a directory and its parents, those that are not there. */
int cachedir_mkdirs(const char *dir, unsigned mode);

/* Makes DIR (for its owner only, 0700) with its tag, unless it is there. */
int cachedir_make(const char *dir);

/* Refuses (ERR_NOPERM) a directory that everybody may write to: its entries could be anybody's.
 * One that is not there is fine. */
int cachedir_check(const char *dir);

/* Whether it has a tag, and so was made as a cache. */
bool cachedir_is(const char *dir);

/* A file of the cache. */
struct cachedir_file {
    const char *path, *group, *name;
    bool is_entry; /* else a temporary */
    uint64_t size;
    struct timespec used; /* about when it was read or written last */
};
typedef int cachedir_fn(void *ctx, const struct cachedir_file *f);

/* Calls fn for each entry and temporary, in no order, until it gives other than 0, which is the
 * result. A directory that is not there is empty; files that go meanwhile are left out. */
int cachedir_each(const char *dir, cachedir_fn *fn, void *ctx);

struct cachedir_usage {
    uint64_t entries, bytes, removed, removed_bytes;
};

/* Removes entries that were not used for `older` seconds (negative: none for that), then the
 * least recently used ones until `max` bytes are left (UINT64_MAX: any number), and temporaries
 * older than an hour. Gives what is left and what went. */
int cachedir_prune(struct cachedir_usage *u, const char *dir, int64_t older, uint64_t max);

/* The turn to prune DIR to a size, from here to cachedir_unlock(). false if another program has
 * it and we do not wait. *lock: -1 if there is nothing to lock. */
bool cachedir_lock(int *lock, const char *dir, bool wait);
void cachedir_unlock(int lock);

/* Removes everything under DIR/emb (a group's alone if group is not NULL). */
int cachedir_remove(struct cachedir_usage *u, const char *dir, const char *group);

#endif
