/* check.h: does the segment keep its invariants? */
#ifndef SHMS_CHECK_H
#define SHMS_CHECK_H

#include "segment/segment.h"

/* Verifies I1 to I12 (layout.h) while others go on working: takes one arena's lock at a time, for as long as a
 * walk through that arena takes. SHMS_OK; SHMS_CORRUPT with a sentence in `what`; SHMS_BUSY with the lock in
 * *busy, *seen: await it and call again; SHMS_NO_MEMORY. */
/* The first page of the slot table from `page` on that holds something and is not in the summary; table_pages: none.
 * Looks at pages that are in memory alone. */
uint64_t shms_next_unmarked(struct shms_store *s, uint64_t page);
/* The lock is free, or its owner is a client (I12). */
bool shms_holder_is_sound(struct shms_store *s, _Atomic uint64_t *lock);

int shms_check(struct shms_store *s, char *what, size_t size, _Atomic uint64_t **busy, uint64_t *seen);

#endif
