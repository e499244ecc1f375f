/* runs.h: the free runs of an arena, and the lists that find one of the right size: two-level segregated fit on offsets
 * (the source is named in arena.h). Everything here REQUIRES the arena's lock.
 *
 * A free run has its links in `hash` (next) and `expiry` (previous), its size in `lengths` and in its last eight bytes.
 * No free run touches another one or the top. No link is followed and no byte written before it was looked at: what does
 * not fit marks the arena suspect, and whoever holds the lock then rebuilds it. */
#ifndef SHMS_RUNS_H
#define SHMS_RUNS_H

#include "segment/segment.h"

static inline struct shms_block *shms_run_at(struct shms_store *s, uint64_t offset) {
    return (struct shms_block *)(s->base + offset);
}
static inline _Atomic uint64_t *shms_run_footer(struct shms_store *s, uint64_t end) {
    return (_Atomic uint64_t *)(s->base + end - 8);
}

static inline bool shms_run_inside(struct shms_store *s, uint32_t a, uint64_t offset, uint64_t bytes) {
    struct shms_arena *arena = &s->arenas[a];
    uint64_t base = shms_arena_base(s, a), top = shms_min(shms_load_relaxed(&arena->top), shms_arena_end(s, a));
    return offset >= base && offset % SHMS_GRANULE == 0 && bytes >= SHMS_BLOCK_MIN && bytes % SHMS_GRANULE == 0 &&
           offset <= top && bytes <= top - offset;
}

static inline bool shms_arena_suspect(struct shms_store *s, uint32_t a) {
    shms_store_relaxed(&s->arenas[a].suspect, 1);
    return false;
}

static inline uint32_t shms_tag_of(uint64_t bytes) {
    return bytes < SHMS_LARGE_FROM + SHMS_PAGE ? (uint32_t)(bytes / SHMS_GRANULE)
                                               : SHMS_TAG_LARGE | (uint32_t)(bytes / SHMS_PAGE);
}

static inline uint64_t shms_tag_bytes(uint32_t tag) {
    return (uint64_t)(tag & SHMS_TAG_UNITS) * (tag & SHMS_TAG_LARGE ? SHMS_PAGE : SHMS_GRANULE);
}

/* The list of runs of this size: fl octaves, sl sixteenths of one. */
void shms_run_classify(uint64_t bytes, uint32_t *fl, uint32_t *sl);
/* The size of the free run at `offset`; 0 if there is none. */
uint64_t shms_run_size(struct shms_store *s, uint32_t a, uint64_t offset);
/* Tells the block at `offset`, if there is one, whether a free run stands before it. */
void shms_run_set_prev_free(struct shms_store *s, uint32_t a, uint64_t offset, bool free);
/* cold: how many of its pages were given back, about. */
void shms_run_insert(struct shms_store *s, uint32_t a, uint64_t offset, uint64_t bytes, uint32_t cold);
/* Takes the run out of its list; its boundary tags stay as they are. False: suspect. */
bool shms_run_unlink(struct shms_store *s, uint32_t a, uint64_t offset, uint64_t bytes);
/* A run of at least `bytes` whose remainder, if any, can be a run of its own: 0 if there is none. *found: its size,
 * read once, for the segment's bytes may change between two looks. max_steps: how many runs are looked at in the one list
 * whose runs may be too small. */
uint64_t shms_run_find(struct shms_store *s, uint32_t a, uint64_t bytes, uint32_t max_steps, uint64_t *found);

#endif
