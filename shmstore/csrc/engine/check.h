/* check.h: does the segment keep its invariants? */
#ifndef SHMS_CHECK_H
#define SHMS_CHECK_H

#include "segment/segment.h"

/* Verifies I1 to I12 (layout.h) while other processes work. Holds one arena's lock at a time, for as long as it takes
 * to walk through that arena. SHMS_OK; SHMS_CORRUPT with a sentence in `what`; SHMS_BUSY with the lock in *busy and its
 * word in *seen: await it and call again; SHMS_NO_MEMORY. */
int shms_check(struct shms_store *s, char *what, size_t size, _Atomic uint64_t **busy, uint64_t *seen);

/* For check and repair (I10): the first page of the slot table, from `page` on, that holds something and has no bit in
 * the summary; table_pages: none. Looks only at pages that are in memory. */
uint64_t shms_next_unmarked(struct shms_store *s, uint64_t page);
/* For check and repair (I12): the lock is free, or its holder is a client. */
bool shms_holder_is_sound(struct shms_store *s, _Atomic uint64_t *lock);

#endif
