/* clients.h: the client table: client slots and operation records
 *
 * A client is an attachment that may write. Its number stands in the locks that it holds. Its operation records and
 * pins tell recovery what it had when it died.
 *
 * INVARIANTS
 *   C1  Records and pins count only while the owner word says live. A process that claims the slot zeroes them before.
 *   C2  Only the owner writes records, pins and counters.
 *   C3  The generation moves with each claim. A process that compares the whole owner word never mistakes one owner of
 *       the slot for another, unless 65,536 claims lie between them.
 * WRITER  Claiming a slot:
 *   1 free -> claiming     by compare-and-swap; generation + 1, own process id
 *   2 zero records, pins and the pin bit; make the liveness mark; write the identity
 *   3 claiming -> live     by compare-and-swap [claim-then-live]
 * ORDERING [claim-then-live]  The exchange to live (release) pairs with the acquire load of the owner word. A process
 *   that reads live reads the identity, records and pins of this owner, not those of the former one.
 * CRASH
 *   while claiming   Nothing is held. The slot becomes free when a process in the same pid namespace finds that the
 *                    claiming process is gone. The namespace tag and the process id of the owner word are exact
 *                    (layout.h), so a claiming process that still runs is not found gone.
 *   while live       recover.c. */
#ifndef SHMS_CLIENTS_H
#define SHMS_CLIENTS_H

#include "segment/segment.h"

/* Claims a free slot: SHMS_OK; SHMS_NO_CLIENT if there is none; SHMS_FULL if there is no memory for another slot. */
int shms_client_claim_free(struct shms_store *s);
/* Claims the slot with this number in a segment that no other process knows yet, with an owner word of the former segment
 * (resize.h). */
int shms_client_claim_number(struct shms_store *s, uint32_t number, uint64_t owner);
/* Becomes the owner of a slot that a resize has carried over for this process. False: there is none such. */
bool shms_client_adopt(struct shms_store *s, uint32_t number, uint64_t owner);
/* Slots below this index have been used, so their memory is committed. */
uint32_t shms_clients_used(struct shms_store *s);
/* Gives the slot up, if it is this process's own: its pins end, and what it keeps of the heap goes to the others. */
void shms_client_release(struct shms_store *s);
/* The same. REQUIRES: the slot is this process's own, and no call of it is in progress. */
void shms_client_leave(struct shms_store *s);

/* An operation record of this client that is not in use; -1 if eight operations are in progress. REQUIRES, like
 * shms_record_put: the GIL. It keeps threads apart, so no locked instruction is needed. */
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
