/* recover.h: what is done about dead clients, and claiming a slot. Steps and argument are in recover.c. */
#ifndef SHMS_RECOVER_H
#define SHMS_RECOVER_H

#include "engine/clients.h"
#include "engine/liveness.h"

/* Makes this process a client: SHMS_OK; SHMS_NO_CLIENT if every slot belongs to a client that is not proven dead;
 * SHMS_FULL if there is no memory for another slot. */
int shms_client_claim(struct shms_store *s);

/* REQUIRES: no engine lock is held. If the client at `index` is gone: marks it dead and recovers what it held. True:
 * its slot is free now. This process need not be a client. */
bool shms_recover_client(struct shms_store *s, uint32_t index);
/* The same for clients from *index on that are in an operation or have pins: idle ones hold nothing. Looks at some
 * hundreds, and asks whether they live for up to `some`. False: there are none left. Below a millisecond for eight. quick: those
 * alone are recovered whose process id does not exist, which takes one system call for each. */
bool shms_recover_some(struct shms_store *s, uint32_t *index, uint32_t some, bool quick);
/* The same for all clients. quick: only those whose process id does not exist. Returns how many were recovered. */
uint32_t shms_recover_all(struct shms_store *s, bool quick);

/* REQUIRES: no engine lock is held. Waits at most about `nanoseconds` for a lock whose word was `seen`, and recovers
 * its holder if that is gone. Always returns. The caller tries again or gives up. */
void shms_await(struct shms_store *s, _Atomic uint64_t *lock, uint64_t seen, uint64_t nanoseconds);

#endif
