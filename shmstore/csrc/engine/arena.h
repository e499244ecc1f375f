/* arena.h: the allocator of one arena. Everything here REQUIRES its lock.
 *
 * Two-level segregated fit (Masmano, Ripoll, Crespo, Real, "TLSF: a new dynamic memory allocator for real-time
 * systems", ECRTS 2004) with boundary tags, on offsets: allocation and freeing in a bounded number of steps,
 * neighbouring free runs joined at once.
 *
 * What is kept here is derived state (design: the slot table is the only truth). Every link is checked before
 * it is followed or written through; whatever does not fit marks the arena suspect, and whoever holds the lock
 * then rebuilds it (rebuild.c). Hostile bytes can cost a rebuild, never a write outside the arena.
 *
 * ORDER  allocate: run out of its list; boundary tags; sequence (release); the caller notes the block in his
 *        record; unlock. Contents follow after a release fence, so that a reader who sees a byte of them sees
 *        another sequence than the former life's [block-life].
 *        free: sequence := 0, release fence, then links: the same argument.
 * CRASH  anywhere: the lock names the dead, recovery rebuilds. Between taking X out of its slot and X.sequence
 *        := 0 readers may be copying X, so X is named in `doomed` before, and the rebuild begins by ending it. */
#ifndef SHMS_ARENA_H
#define SHMS_ARENA_H

#include "segment/segment.h"

/* Bytes that a request of `bytes` takes. */
uint64_t shms_arena_capacity(uint64_t bytes);

/* An allocated block with a fresh sequence: SHMS_OK, SHMS_FULL, SHMS_CORRUPT (suspect: rebuild, try again). */
int shms_arena_alloc(struct shms_store *s, uint32_t a, uint64_t bytes, uint64_t *offset);
/* Frees, or makes a zombie of, a block that no slot refers to any more. False: the arena is now suspect. */
bool shms_arena_free(struct shms_store *s, uint32_t a, uint64_t offset);
/* REQUIRES: the block is about to be taken out of its slot. Should this process die before the block's sequence is
 * gone, readers who copy it still take it for alive; the rebuild that follows ends it first of all (rebuild.c). */
static inline void shms_arena_retire(struct shms_store *s, uint32_t a, uint64_t offset) {
    shms_store_relaxed(&s->arenas[a].retiring, offset);
}
/* Capacity in bytes of the block at `offset` by its boundary tag; 0 if it cannot be one. */
uint64_t shms_arena_block_size(struct shms_store *s, uint32_t a, uint64_t offset);

/* For rebuild.c: an empty arena, then its pieces in rising order, then the top. */
void shms_arena_reset(struct shms_store *s, uint32_t a);
void shms_arena_add_free(struct shms_store *s, uint32_t a, uint64_t offset, uint64_t bytes);
void shms_arena_add_used(struct shms_store *s, uint32_t a, uint64_t offset, uint64_t bytes, bool after_free);
void shms_arena_add_zombie(struct shms_store *s, uint32_t a, uint64_t offset);
void shms_arena_set_top(struct shms_store *s, uint32_t a, uint64_t top);

/* Without the lock, for statistics: bytes of the largest piece that could be allocated, about. */
uint64_t shms_arena_largest_free(struct shms_store *s, uint32_t a);

#endif
