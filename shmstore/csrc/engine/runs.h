/* runs.h: the free runs of an arena, and the lists that find one of the right size
 *
 * Two-level segregated fit on offsets (arena.h names the source). Every function here REQUIRES the arena's lock.
 *
 * LAYOUT  A free run uses the words of a block's header, and its last word:
 *   0 sequence = 0 | 8 next | 16 previous | 24 size | 32 cold | 36 tag = FREE | 40 .. | size - 8 size again
 *   Runs of similar size are in one doubly linked list. heads[fl][sl] is its first run. Bit sl of sl_map[fl] is set if
 *   the list is not empty, and bit fl of fl_map if sl_map[fl] is not 0. With g = size / 16 granules:
 *     g below 16      fl = 0, sl = g                            each list has one size
 *     16 to 31        fl = 1, sl = g - 16                       each list has one size
 *     32 to 63        fl = 2, sl = (g - 32) / 2                 each list has two sizes
 *     2^(3 + fl) ..   sl = the four bits below the highest one  each list has 2^(fl - 1) sizes
 *   Example: 112 bytes are 7 granules, list [0][7]. 320 bytes are 20, list [1][4]. 1 MiB is 2^16, list [13][0].
 * INVARIANTS
 *   R1  No free run touches another one or the top (I7). So a block never has two free runs on one side.
 *   R2  A block's PREV_FREE bit says whether a free run ends where the block begins. Its footer is then the run's size.
 *   R3  No link is followed, and no byte written through it, before the run it leads to was verified. What does not fit
 *       marks the arena suspect, and the holder of the lock rebuilds it.
 * CRASH  at any step: the lists may be half changed. The arena's lock names the dead client, and recovery rebuilds the
 *   arena without following any link. */
#ifndef SHMS_RUNS_H
#define SHMS_RUNS_H

#include "segment/segment.h"

/* REQUIRES: the offset is inside the heap (shms_run_inside). */
static inline struct shms_block *shms_run_at(struct shms_store *s, uint64_t offset) {
    return (struct shms_block *)(s->base + offset);
}
/* The last word of the run that ends at `end`. */
static inline _Atomic uint64_t *shms_run_footer(struct shms_store *s, uint64_t end) {
    return (_Atomic uint64_t *)(s->base + end - 8);
}

/* Could a block or run of `bytes` lie at `offset`, below the top of arena a? */
static inline bool shms_run_inside(struct shms_store *s, uint32_t a, uint64_t offset, uint64_t bytes) {
    struct shms_arena *arena = &s->arenas[a];
    uint64_t base = shms_arena_base(s, a), top = shms_min(shms_load_relaxed(&arena->top), shms_arena_end(s, a));
    return offset >= base && offset % SHMS_GRANULE == 0 && bytes >= SHMS_BLOCK_MIN && bytes % SHMS_GRANULE == 0 &&
           offset <= top && bytes <= top - offset;
}

/* Marks the arena for a rebuild. Returns false, for the caller to return. */
static inline bool shms_arena_suspect(struct shms_store *s, uint32_t a) {
    shms_store_relaxed(&s->arenas[a].suspect, 1);
    return false;
}

/* The boundary tag of a block of this capacity. Sizes of 4 GiB and more are multiples of a page (shms_arena_capacity),
 * so they fit into 29 bits as pages. */
static inline uint32_t shms_tag_of(uint64_t bytes) {
    return bytes < SHMS_LARGE_FROM + SHMS_PAGE ? (uint32_t)(bytes / SHMS_GRANULE)
                                               : SHMS_TAG_LARGE | (uint32_t)(bytes / SHMS_PAGE);
}

/* The capacity that a boundary tag states. */
static inline uint64_t shms_tag_bytes(uint32_t tag) {
    return (uint64_t)(tag & SHMS_TAG_UNITS) * (tag & SHMS_TAG_LARGE ? SHMS_PAGE : SHMS_GRANULE);
}

/* The list of runs of this size: power of two fl, sixteenth sl. */
void shms_run_classify(uint64_t bytes, uint32_t *fl, uint32_t *sl);
/* The size of the free run at `offset`; 0 if there is none. */
uint64_t shms_run_size(struct shms_store *s, uint32_t a, uint64_t offset);
/* Notes in the block at `offset` whether a free run ends there. No block: nothing is done. */
void shms_run_set_prev_free(struct shms_store *s, uint32_t a, uint64_t offset, bool free);
/* Makes a free run and puts it at the head of its list. cold: about how many of its pages were given back. */
void shms_run_insert(struct shms_store *s, uint32_t a, uint64_t offset, uint64_t bytes, uint32_t cold);
/* Takes the run out of its list. Its boundary tags stay as they are. False: the arena is suspect. */
bool shms_run_unlink(struct shms_store *s, uint32_t a, uint64_t offset, uint64_t bytes);
/* A run of at least `bytes` whose remainder, if any, can be a run of its own; 0 if there is none. *found: its size. It
 * is read once, because hostile processes may change the segment between two loads. max_steps: how many runs to look at
 * in the one list that also holds smaller runs. */
uint64_t shms_run_find(struct shms_store *s, uint32_t a, uint64_t bytes, uint32_t max_steps, uint64_t *found);

#endif
