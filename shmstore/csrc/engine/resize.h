/* resize.h: giving a store another size while others read and write it
 *
 * A segment cannot grow or shrink. So the entries of the old segment are copied to a new one, which then takes its place. The new
 * segment has the same uuid, hash key and client numbers, and its numbers go on from those of the old one. So versions, locks and
 * leases stay valid.
 *
 * WRITER
 *   1 become the resizer (freeze.h)
 *   2 make the new segment; no process can find it. Give it the rights of the old one. Note it in `successor`. Claim the same
 *     client slot there
 *   3 copy the counters of generations (generations.h) and every entry, while others write to the old segment
 *   4 freeze the old segment: from now on no entry of it changes, and writers wait. Readers go on. If a lock
 *     stays held, because its holder is stopped, writers are let go on from time to time
 *   5 copy the counters of generations again. Walk through the old segment once more: copy entries whose version differs, and
 *     set expiries that differ. If the walk did not find each entry that the new one had before,
 *     remove from the new one what the old one does not have
 *   6 carry over the client slots: owner words and identities, so that clients keep what they hold; and their counters
 *   7 copy the rights again. POSIX: give the new file a name of its own
 *   8 commit (freeze.h): the old segment is superseded
 *   9 free the client slots that were given up in the old segment since 6. Wake all waiters of the old segment. Settle
 *     (memory.h): the name leads to the new segment
 * OTHERS  Each call looks at the creation word. If it says superseded, the process opens the successor as any opener does,
 *   takes over the client slot that was carried over for it, and goes on there. Views and iterations stay in the old segment,
 *   whose entries do not change any more, until they end. Writers that waited see the same when they wake.
 * INVARIANTS
 *   R1  At each moment one segment is the store: the old one before the exchange of 8, the new one after it.
 *   R2  A write that was acknowledged before 4 is in the old segment, so 5 finds it. None is acknowledged between 4 and 8.
 *   R3  A read that begins before 8 may return what is in the old segment. That was current at the exchange of 8, so it was
 *       current during the read. A read that begins after it is made in the new segment.
 *   R4  Numbers that the new segment gives out are not those of the old one (create.h). If the old one has come near them, the
 *       resize is given up.
 * ORDERING [commit]  The exchange of 8 (seq_cst) releases everything in the new segment. A process that loads the creation word
 *   (acquire) and sees it superseded sees `successor`, and opens a finished segment.
 * CRASH  of the resizer
 *   before 8      The process that recovers its client gives the resize up, removes the new segment, and wakes the writers. The
 *                 old segment stays the store.
 *   after 8       The new segment is the store. The next process that opens or follows, and may write, settles.
 *   A client slot stays taken in the new segment until its process ends, if its owner gave it up in the old one after 6 and the
 *   resizer died before 9; and if its owner gave it up there after 9, without following.
 *   A forked child has no part in a resize of its parent. Until it follows, it keeps both segments mapped.
 * LIMITS  Needs memory for both segments for a while. Writers wait during 4 to 8: a walk through both tables, and the copy of
 *   the entries that were written during 3. If the resizer is stopped there, they wait until it goes on or is dead. Ghosts
 *   (policy.h) are not carried over. */
#ifndef SHMS_RESIZE_H
#define SHMS_RESIZE_H

#include "segment/request.h"
#include "segment/segment.h"

struct shms_resize;

/* Step 1. *a: as for an opener, with the new size. SHMS_OK and *ret; SHMS_BUSY: the client with number *resizer
 * resizes it already; or another status, with the failed call in *r. */
int shms_resize_begin(struct shms_store *s, const struct shms_open_request *a, struct shms_open_result *r,
                      struct shms_resize **ret, uint32_t *resizer);
/* Step 2, and some of step 3, about a hundred milliseconds; or all others, at once. After any status but SHMS_AGAIN it is
 * over: done, or given up. SHMS_AGAIN: there is more to do. SHMS_OK: the store is superseded. SHMS_FULL: the entries do not fit.
 * SHMS_TIMEOUT: a writer that is stopped holds the lock *busy. SHMS_BUSY: it was given up, because another process took this one
 * for dead, or for R4. SHMS_SYSTEM: *r of the beginning says why.
 * SHMS_FORKED: this process is a child of the one that began it, and has no part in it. Needs no GIL. */
int shms_resize_step(struct shms_resize *z, uint64_t timeout, _Atomic uint64_t **busy);
/* Gives it up, unless it is done, and frees *z. */
void shms_resize_end(struct shms_resize *z);

#endif
