/* recover.h: what is done about dead clients. Steps and argument are in recover.c. */
#ifndef SHMS_RECOVER_H
#define SHMS_RECOVER_H

#include "engine/liveness.h"
#include "engine/rebuild.h"

/* REQUIRES: no engine lock is held. If the client at `index` is gone: marks it dead and recovers what it held. True:
 * its slot is free now. */
bool shms_recover_client(struct shms_store *s, uint32_t index);
/* The same for all clients. quick: only those whose process id does not exist. Returns how many were recovered. */
uint32_t shms_recover_all(struct shms_store *s, bool quick);
/* REQUIRES: the slot at `index` was dead; this process is adopting it, with this owner word and s->number. Takes over
 * and recovers what the dead client held. False: something could not be had. */
bool shms_recover_adopted(struct shms_store *s, uint32_t index, uint64_t owner);

/* REQUIRES: no engine lock is held. Waits at most about `nanoseconds` for a lock whose word was `seen`, and recovers
 * its holder if that is gone. Always returns. The caller tries again or gives up. */
void shms_await(struct shms_store *s, _Atomic uint64_t *lock, uint64_t seen, uint64_t nanoseconds);

#endif
