/* walk.h: visiting all entries in the order of the slots, without a lock
 *
 * Entries do not move, and an overwrite keeps its slot. So a walk visits each key that is present all the time exactly
 * once. An entry that is put or removed during the walk may be visited or not. Pages of the table that were never used
 * are skipped (summary). */
#ifndef SHMS_WALK_H
#define SHMS_WALK_H

#include "engine/table.h"

/* Which keys a walk visits, and where it is. */
struct shms_walk {
    uint64_t cursor, end; /* slot numbers: the walk is over when cursor >= end. 0 and UINT64_MAX: the whole store */
    const void *prefix;
    uint32_t prefix_length;
    uint32_t kind; /* SHMS_WALK_ALL: the keys of users; else only those with these SHMS_KEY_FLAGS and this prefix */
    uint32_t most; /* so many keys at most in one call */
};
#define SHMS_WALK_ALL 0xffffffffu
#define SHMS_WALK_SLOTS 2048u /* less than half a millisecond, if every header of a block is a cache miss */

/* Copies the next keys to `buffer` and moves the cursor. Each key is preceded by a uint32: its length, and 1 << 31 for
 * a bytes key. Looks at SHMS_WALK_SLOTS slots at most, so it may find no key before the walk is over. SHMS_OK;
 * SHMS_CORRUPT; SHMS_CONTENDED. REQUIRES: capacity >= SHMS_KEY_MAX + 4. */
int shms_walk(struct shms_store *s, struct shms_walk *walk, uint8_t *buffer, uint64_t capacity, uint64_t *filled);

/* All keys in the slots before `end`. Between the uint32 and the key stand the entry's version and expiry (two uint64;
 * ns since boot, 0 = never), so an entry that has not changed gives the same bytes. *cursor: then the next used slot
 * from `end` on. REQUIRES: capacity >= SHMS_KEY_MAX + 20. */
int shms_walk_versions(struct shms_store *s, uint64_t *cursor, uint64_t end, uint8_t *buffer, uint64_t capacity,
                       uint64_t *filled);

/* Where to look for any entry first, without a walk over the empty slots of a large table.
 *   `near`         one of the first slots from there on names a block; or nothing better is known
 *   SHMS_NO_SLOT   the store is empty: the used counters say so, and no client is in an operation
 *   another slot   names a block: a client published a new key there last
 * ORDERING  Of each client the records are read before the used counter. A record that states nothing is read by acquire, and
 *   was cleared by release after its operation had been counted. So what is not counted was put after this call began, or its
 *   record says that it is in progress, also if the client is dead and not yet recovered. */
#define SHMS_NO_SLOT UINT64_MAX
uint64_t shms_likely_slot(struct shms_store *s, uint64_t near);

/* Counts the unexpired entries of users, in steps. Reads the used pages of the table and, if any entry has an expiry or belongs to a lock, the header
 * of each block. any: only whether there is one. It begins where the last call found one, or see shms_likely_slot. */
struct shms_count {
    uint64_t count;
    uint64_t slot, start;
    bool any, wrapped;
};
void shms_count_begin(struct shms_store *s, bool any, struct shms_count *n);
/* Looks at some more slots. True: n->count is the result. */
bool shms_count_some(struct shms_store *s, struct shms_count *n, uint64_t slots);

#endif
