/* evict.h: making room in a full cache, at the cost of its least useful entries
 *
 * ORDER OF ATTEMPTS  for a block of a class
 *   1 what has expired                            (expire.h)
 *   2 entries in the order of the policy (policy.h), until they had as many bytes as are wanted, at most eight
 *   3 a free block of a class up to one and a half times as large
 *   4 the window that is worth least of some (window.h), if half of it is free: a window is a run of spans on as many pages as a span of the
 *     class needs. It is emptied, and its pages are used
 *   5 the least used of some blocks of a class that fits
 *   6 the window that is worth least of some
 *   for a larger block: 1, 2, and then windows in steps (shms_evict_window), because that takes longer. Without 2 if it
 *   takes more than a tenth of the heap.
 * LIMITS  Bounded: 1 to 6 look at a few thousand hints and blocks. Processes do not wait for one another. What one frees,
 *   another one may take; then the caller tries again. */
#ifndef SHMS_EVICT_H
#define SHMS_EVICT_H

#include "engine/window.h"

/* Evicts until there are fewer entries than the cache may have. */
void shms_evict_entries(struct shms_store *s, struct shms_record *record);
/* Makes room for `bytes` and allocates a block. SHMS_OK; SHMS_FULL: go on with shms_evict_window. REQUIRES: the GIL. */
int shms_evict_alloc(struct shms_store *s, struct shms_record *record, uint64_t bytes);
/* Evicts the least used entry in the reach of this home. False: there is none that can be evicted. */
bool shms_evict_near(struct shms_store *s, uint64_t home);

/* Empties windows of so many bytes, in steps. SHMS_AGAIN: call again. SHMS_OK: one is empty, try to allocate. SHMS_FULL: no
 * window can be emptied, because of views and of operations in progress. *w: zero at first. */
int shms_evict_window(struct shms_store *s, struct shms_window *w, uint64_t bytes);

#endif
