/* clients.h: the registry of attached processes, and the records of what each has in hand.
 *
 * A client is an attachment that may write. Its number owns locks; its operation records and pins tell
 * recovery what it had when it died. Records and pins count only while the entry is live; the claimant zeroes
 * them before it becomes live, and nobody but the owner ever writes them.
 *
 * ORDER OF CLAIMING  free -> claiming (compare-and-swap, generation + 1); zero records, pins and pin bit; write
 *   identity; light the beacon; claiming -> live (compare-and-swap).
 * INHERITING  When every place is taken and some belong to the dead, who left blocks or locks, there is nobody to
 *   recover them: taking an arena needs a client's number. So the newcomer takes the dead one's:
 *   dead -> inheriting (compare-and-swap, generation + 1, my pid); what the number holds is taken over and emptied
 *   as in recover.c, in its own name; then on as above, inheriting -> live. What cannot be had (an arena behind a
 *   stopped process): inheriting -> dead. CRASH while inheriting: it is dead again, with what is left to empty.
 * CRASH while claiming: nothing is owned. The entry is free again once somebody who shares the pid namespace
 *   finds the process gone; were that ever wrong, the claimant's own last exchange fails and it starts over. */
#ifndef SHMS_CLIENTS_H
#define SHMS_CLIENTS_H

#include "segment/segment.h"

/* Takes a free slot: SHMS_OK, SHMS_NO_CLIENT when there is none, SHMS_FULL when there is no memory for another one. */
int shms_client_claim_free(struct shms_store *s);
/* REQUIRES: the entry is in state claiming or inheriting, by this process, with word `entry`. False: it lost the slot. */
bool shms_client_become_live(struct shms_store *s, uint32_t index, uint64_t owner);
/* Entries below this one were used, and have their memory. */
uint32_t shms_clients_used(struct shms_store *s);
/* Gives the place up; what could not be given back (a block behind a stopped process's lock) is left to recovery. */
void shms_client_release(struct shms_store *s);
/* The same. REQUIRES a place of this process's own, and no call inside. */
void shms_client_leave(struct shms_store *s);

/* An operation record of this client that is not in use; -1 if eight threads are inside. REQUIRES, as the one below,
 * the GIL: it is what keeps threads apart, so that no locked instruction is needed. */
static inline int shms_record_take(struct shms_store *s) {
    uint32_t busy = shms_load_relaxed(&s->records_busy);
    if (SHMS_UNLIKELY(busy == (1u << SHMS_CLIENT_RECORDS) - 1))
        return -1;
    int i = __builtin_ctz(~busy);
    shms_store_relaxed(&s->records_busy, busy | 1u << i);
    return i;
}
static inline void shms_record_put(struct shms_store *s, int i) {
    shms_store_relaxed(&s->records_busy, shms_load_relaxed(&s->records_busy) & ~(1u << i));
}

#endif
