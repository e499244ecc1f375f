/* check.h: verifying the invariants of layout.h */
#ifndef SHMS_CHECK_H
#define SHMS_CHECK_H

#include <stddef.h>

#include "engine/table.h"

/* For check and repair (I8): sums over the clients. Two that are equal, and not busy: no entry has changed meanwhile. */
struct shms_used {
    uint64_t sums[7]; /* entries, bytes of their blocks, then what was done to entries */
    bool busy;        /* an operation was in progress */
};
void shms_used_now(struct shms_store *s, struct shms_used *used);

/* A check in progress: it takes no lock, waits for nobody, and goes on in steps of less than a millisecond. */
struct shms_check {
    enum { SHMS_CHECK_CLIENTS, SHMS_CHECK_UNMARKED, SHMS_CHECK_TABLE, SHMS_CHECK_HEAP } part;
    uint64_t at; /* page of the table or of the heap */
    char *what;  /* of `size` bytes: the broken invariant, as a sentence */
    size_t size;
    struct shms_used used; /* when the walk of the table began */
    uint64_t entries, bytes;
    uint8_t key[SHMS_KEY_MAX];
};
/* The next step: SHMS_AGAIN, there are steps left; SHMS_OK, all is well; SHMS_CORRUPT, with a sentence in `what`. Others
 * may write meanwhile: what looks wrong counts only if it still does when it is looked at again. */
int shms_check_step(struct shms_store *s, struct shms_check *c);

/* For check and repair (I10): the first page of the slot table in [page, end) that holds something and has no bit in the
 * summary; `end`: none. Looks only at pages that are in memory. */
uint64_t shms_next_unmarked(struct shms_store *s, uint64_t page, uint64_t end);
/* For check and repair (I12): the lock is free, or its holder is a client. */
bool shms_holder_is_sound(struct shms_store *s, _Atomic uint64_t *lock);
/* For check and repair (I6, I9): does somebody own the page, or the block, that had this word? If not, and the word still
 * is the same, nobody does. */
bool shms_page_is_owned(struct shms_store *s, uint64_t page, uint64_t word);
bool shms_block_is_owned(struct shms_store *s, uint64_t offset, uint64_t word);

#endif
