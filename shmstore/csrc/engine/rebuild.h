/* rebuild.h: computing an arena's derived state anew. Roots and argument are in rebuild.c. */
#ifndef SHMS_REBUILD_H
#define SHMS_REBUILD_H

#include "engine/clients.h"

/* REQUIRES the arena's lock. Makes its derived state anew from records, slots and pins. SHMS_OK; or SHMS_NO_MEMORY in
 * this process, SHMS_FULL where the system has no page for the store, and the arena stays suspect. */
int shms_rebuild(struct shms_store *s, uint32_t a);

/* Takes an arena's lock and rebuilds it if it is suspect. False: busy, *seen names the holder. */
bool shms_arena_enter(struct shms_store *s, uint32_t a, uint32_t spins, uint64_t *seen);
void shms_arena_leave(struct shms_store *s, uint32_t a);

#endif
