/* resize.h: giving a store another size while others read and write it
 *
 * A segment cannot grow or shrink. So the entries are copied to another segment, which then takes the place of the first one:
 * it has the same uuid, hash key, numbers and client numbers. Versions, locks and leases stay valid.
 *
 * WRITER
 *   1 become the resizer (freeze.h)
 *   2 make the new segment; no process can find it. Note it in `successor`. Claim the same client slot there
 *   3 copy the counters of generations (generations.h) and every entry, while others write to the old segment
 *   4 freeze the old segment: from now on nobody writes to it, and writers wait. Readers go on
 *   5 copy the counters again. Walk through it once more: copy what differs in version, and set what differs in expiry. If the numbers of entries
 *     differ then, remove from the new one what the old one does not have
 *   6 carry over the client slots: owner words and identities, so that what clients hold stays theirs; and the counters
 *   7 POSIX: give the new file a name of its own
 *   8 commit (freeze.h): the old segment is superseded
 *   9 settle (memory.h): the name leads to the new segment. Wake all who wait in the old one
 * OTHERS  Each call looks at the creation word. If it says superseded, the process opens the successor as any opener does,
 *   takes over the client slot that was carried over for it, and goes on there. Views and iterations stay in the old segment,
 *   which does not change any more, until they end. Writers that were frozen see the same when they wake.
 * INVARIANTS
 *   R1  At each moment one segment is the store: the old one before the exchange of 8, the new one after it.
 *   R2  A write that was acknowledged before 4 is in the old segment, so 5 finds it. None is acknowledged between 4 and 8.
 *   R3  A read that begins before 8 may return what is in the old segment. That was current at the exchange of 8, so it was
 *       current during the read. A read that begins after it is made in the new segment.
 *   R4  Numbers that the new segment gives out are not those of the old one (create.h). If the old one has come near them, the
 *       resize is given up.
 * ORDERING  [commit] The exchange of 8 (seq_cst) releases everything in the new segment. A process that loads the creation word
 *   (acquire) and sees it superseded sees `successor`, and opens a finished segment.
 * CRASH  of the resizer
 *   before 8      Whoever recovers its client gives the resize up, removes the new segment, and wakes the writers: the old
 *                 store goes on as if nothing had been.
 *   after 8       The new store is finished. The next opener, or the next process that follows, does 9.
 *   A client slot that its owner left between 6 and 8, or without following, stays taken until that process ends.
 * LIMITS  Needs memory for both segments for a while. Writers wait during 4 to 8: a walk through both tables, and the copy of
 *   what was written during 3. Ghosts (policy.h) are not carried over. */
#ifndef SHMS_RESIZE_H
#define SHMS_RESIZE_H

#include "segment/request.h"
#include "segment/segment.h"

struct shms_resize;

/* Steps 1 and 2. *a: as for an opener, with the new size. SHMS_OK and *ret; SHMS_BUSY: another client resizes, whose lock
 * holder's word is noted in *resizer; or another status, with the failed call in *r. */
int shms_resize_begin(struct shms_store *s, const struct shms_open_request *a, struct shms_open_result *r,
                      struct shms_resize **ret, uint32_t *resizer);
/* Some of step 3, about a hundred milliseconds; or all others, at once. SHMS_AGAIN: there is more to do. SHMS_OK: the
 * store is superseded. SHMS_FULL: the entries do not fit. SHMS_TIMEOUT: a writer that is stopped holds the lock *busy.
 * SHMS_BUSY: it was given up, because another process took this one for dead, or the store was repaired. Needs no GIL. */
int shms_resize_step(struct shms_resize *z, uint64_t timeout, _Atomic uint64_t **busy);
/* Gives it up, unless it is done, and frees *z. */
void shms_resize_end(struct shms_resize *z);

#endif
