/* rebuild.h: computing an arena's derived state anew. Roots and argument are in rebuild.c. */
#ifndef SHMS_REBUILD_H
#define SHMS_REBUILD_H

#include "engine/clients.h"

/* REQUIRES: the arena's lock. Computes its derived state anew from records, slots and pins. SHMS_OK. If the result is
 * SHMS_NO_MEMORY (of this process) or SHMS_FULL (no page for the store), the arena stays suspect. */
int shms_rebuild(struct shms_store *s, uint32_t a);

/* Takes an arena's lock, and rebuilds the arena if it is suspect. False: it is busy, and *seen names the holder. */
bool shms_arena_enter(struct shms_store *s, uint32_t a, uint32_t spins, uint64_t *seen);
void shms_arena_leave(struct shms_store *s, uint32_t a);

#endif
