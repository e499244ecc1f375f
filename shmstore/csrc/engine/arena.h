/* arena.h: the allocator of one arena. Every function here REQUIRES its lock.
 *
 * Two-level segregated fit with boundary tags, on offsets. Allocating and freeing take a bounded number of steps, and
 * neighbouring free runs are joined at once. Everything here is derived state: the slot table is the only truth. Each
 * link is verified before it is followed. Bytes that a hostile process wrote can cause a rebuild (rebuild.c), but never
 * a write outside the arena.
 *
 * EXAMPLE  An arena whose heap begins at 0. Sizes are capacities in bytes, P marks a set PREV_FREE bit:
 *   allocate 112, 208, 64    | A 112 | B 208            | C 64 | never used ..      from the top: no run is free
 *                            0       112                320    384 = top
 *   free A                   | 112   | B 208          P | C 64 |                    a run, in list [0][7]
 *   free B                   | 320                      | C 64P|                    B's bit leads to the run before it:
 *                                                                                   joined, in list [1][4]
 *   allocate 112             | D 112 | 208              | C 64P|                    [0][7] is empty, [1][4] is next:
 *                                                                                   split, the rest in list [0][13]
 *   free C                   | D 112 | never used ..                                C joins the run before it, and
 *                            0       112 = top                                      the top moves down over both
 *
 * WRITER  allocate:  1 take a run out of its list, or move the top
 *                    2 sequence := a new one
 *                    3 release fence, then boundary tag and counters
 *                    4 the caller notes the block in its operation record, then unlocks
 *                    5 the caller writes the contents
 *         free:      1 sequence := 0
 *                    2 release fence, then counters and links
 * ORDERING
 *   [block-life]  The fence after the sequence pairs with the reader's acquire fence before it loads the sequence again
 *     (table.h). A reader that copied a byte of the new life, or a link, finds another sequence and discards the copy.
 *   [slot-between]  The release store of a new sequence pairs with the reader's acquire load. A reader that sees it
 *     also sees that the block's former slot no longer names it.
 *   [retire-then-slot]  `retiring` is stored before the exchange that empties the slot (release). A rebuild loads the
 *     slots (acquire) first. So if it finds the block gone from its slot, it finds it in `retiring`.
 * CRASH  The lock names the dead client, and recovery rebuilds the arena. One more case: between taking X out of its
 *   slot and X.sequence := 0, readers may be copying X and would accept the copy. So X is noted in `retiring` before,
 *   and the rebuild ends X's sequence before it changes any byte of X.
 * SOURCE  Masmano, Ripoll, Crespo, Real, "TLSF: a new dynamic memory allocator for real-time systems", ECRTS 2004. */
#ifndef SHMS_ARENA_H
#define SHMS_ARENA_H

#include "segment/segment.h"

/* The capacity of a block that holds `bytes`. */
uint64_t shms_arena_capacity(uint64_t bytes);

/* Allocates a block with a new sequence: SHMS_OK; SHMS_FULL; SHMS_CORRUPT: rebuild the arena, then try again. */
int shms_arena_alloc(struct shms_store *s, uint32_t a, uint64_t bytes, uint64_t *offset);
/* REQUIRES: no slot refers to the block. Frees it, or makes a pinned one a zombie. False: the arena is suspect. */
bool shms_arena_free(struct shms_store *s, uint32_t a, uint64_t offset);
/* REQUIRES: the block is about to be taken out of its slot. Notes it for the rebuild that a death would cause. */
static inline void shms_arena_retire(struct shms_store *s, uint32_t a, uint64_t offset) {
    shms_store_relaxed(&s->arenas[a].retiring, offset);
}
/* The capacity of the block at `offset`, by its boundary tag; 0 if no block can be there. */
uint64_t shms_arena_block_size(struct shms_store *s, uint32_t a, uint64_t offset);

/* For rebuild.c: an empty arena, then its pieces from the lowest offset on, then the top. */
void shms_arena_reset(struct shms_store *s, uint32_t a);
void shms_arena_add_free(struct shms_store *s, uint32_t a, uint64_t offset, uint64_t bytes);
void shms_arena_add_used(struct shms_store *s, uint32_t a, uint64_t offset, uint64_t bytes, bool after_free);
void shms_arena_add_zombie(struct shms_store *s, uint32_t a, uint64_t offset);
void shms_arena_set_top(struct shms_store *s, uint32_t a, uint64_t top);

/* For statistics, without the lock: about how many bytes the largest possible allocation has. */
uint64_t shms_arena_largest_free(struct shms_store *s, uint32_t a);

#endif
