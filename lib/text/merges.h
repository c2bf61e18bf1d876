/* merges.h - byte-pair merges: the best-ranked pair first, the leftmost of equals, until none
 * is left. With a heap: O(n log n) for a piece of n symbols.
 *
 * Source:  Hugging Face tokenizers models/bpe/word.rs (merge_all).
 * Errors:  -1 with err set (ERR_OS). */
#ifndef TEXT_MERGES_H
#define TEXT_MERGES_H

#include <stddef.h>
#include <stdint.h>

struct merges_rule {
    uint32_t left, right, id, rank; /* left + right become id; id MERGES_FREE: no rule here */
};
#define MERGES_FREE UINT32_MAX

/* Rules by pair; a zero-initialised one is empty. */
struct merges {
    struct merges_rule *rule;
    size_t mask;
};

int merges_init(struct merges *m, size_t count);
void merges_release(struct merges *m);

/* A pair named again takes its later rank, as in the reference. At most `count` pairs. */
void merges_add(struct merges *m, uint32_t left, uint32_t right, uint32_t id, uint32_t rank);

/* Scratch that grows to the longest piece; zero-initialised it is empty. */
struct merges_work {
    struct merges_symbol *symbol;
    uint64_t *heap;
    size_t symbols, heaps; /* room */
    size_t n;              /* pairs in the heap */
};
void merges_work_release(struct merges_work *w);

/* Merges id[0..*n) in place; *n <= INT32_MAX becomes the new count. */
int merges_apply(uint32_t *id, size_t *n, const struct merges *m, struct merges_work *w);

#endif
