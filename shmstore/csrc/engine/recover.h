/* recover.h: what is done about the dead. See recover.c. */
#ifndef SHMS_RECOVER_H
#define SHMS_RECOVER_H

#include "engine/liveness.h"
#include "engine/rebuild.h"

/* REQUIRES: no engine lock held. Proves, marks and empties the client at `index` if it is gone. True: its place
 * is free now. */
bool shms_recover_client(struct shms_store *s, uint32_t index);
/* All clients. quick: only those whose process id does not exist any more. Returns how many were recovered. */
uint32_t shms_recover_all(struct shms_store *s, bool quick);
/* REQUIRES: the entry at `index`, once dead, is now `entry`, inheriting by this process, whose number it is. Takes
 * over and empties what the dead one had; false if something could not be had. */
bool shms_recover_adopted(struct shms_store *s, uint32_t index, uint64_t owner);

/* REQUIRES: no engine lock held; may sleep. Waits about `nanoseconds` for a lock whose word was `seen`, and
 * recovers its owner if he is gone. Always returns; the caller tries again or gives up. */
void shms_await(struct shms_store *s, _Atomic uint64_t *lock, uint64_t seen, uint64_t nanoseconds);

#endif
