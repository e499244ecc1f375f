/* recover.h: what is done about the dead. See recover.c and rebuild.c. */
#ifndef SHMS_RECOVER_H
#define SHMS_RECOVER_H

#include "clients.h"

/* REQUIRES the arena's lock. Makes its derived state anew from records, slots and pins. SHMS_OK or
 * SHMS_NO_MEMORY (the arena stays suspect). */
int shms_rebuild(struct shms_store *s, uint32_t a);

/* REQUIRES: no engine lock held. Proves, marks and empties the client at `index` if it is gone. True: its place
 * is free now. */
bool shms_recover_client(struct shms_store *s, uint32_t index);
/* All clients. quick: only those whose process id does not exist any more. Returns how many were recovered. */
uint32_t shms_recover_all(struct shms_store *s, bool quick);
/* For a process that is no client yet: frees the places of the dead that left nothing but bucket locks. */
void shms_recover_idle(struct shms_store *s);

/* Takes an arena's lock and rebuilds it if it is suspect. False: busy, *seen names the holder. */
bool shms_arena_enter(struct shms_store *s, uint32_t a, uint32_t spins, uint64_t *seen);
void shms_arena_leave(struct shms_store *s, uint32_t a);

/* REQUIRES: no engine lock held; may sleep. Waits about `nanoseconds` for a lock whose word was `seen`, and
 * recovers its owner if he is gone. Always returns; the caller tries again or gives up. */
void shms_await(struct shms_store *s, _Atomic uint64_t *lock, uint64_t seen, uint64_t nanoseconds);

#endif
