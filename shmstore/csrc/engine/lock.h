/* lock.h: the lock word of a bucket: taking it and releasing it. Waiting for it is in recover.c (shms_await).
 *
 * LAYOUT  layout.h, "lock word": count, waiters flag, reach, holder.
 * INVARIANTS
 *   L1  Every change of the word is a read-modify-write of the whole word.
 *   L2  Every release and every takeover moves the count, whether an entry changed or not. A takeover compares the
 *       whole word. So a lock that was released and taken again after the proof of death is never taken away.
 *       A process that ends sleeps moves the count of a lock that no client holds (sleepers.h).
 *   L3  A process stores the bucket in its operation record before it tries the lock. The exchange that takes the lock
 *       also releases that store: a process that sees the lock held sees the record.
 *   L4  A process that goes to sleep sets the waiters flag in the same word whose count it sleeps on. The release
 *       either sees the flag and wakes, or it moved the count before the flag was set, and then the sleep does not
 *       begin.
 *   L5  Only the holder releases. A client that was held for dead while it was inside finds its lock taken over, or its
 *       slot lost, and leaves the word alone.
 *   L6  A client that was held for dead before it took the lock gives it back at once: the number may be another's by now,
 *       whose death alone would release it.
 *   L7  While the store is frozen (freeze.h) no lock is taken: a client that took one gives it back at once.
 * ORDERING [take-then-owner]  The exchange that takes the lock comes before the load of the owner word, and the exchange
 *   that marks the owner dead before the finder's load of the lock word. All four are seq_cst. So the client sees that it
 *   is dead, or the finder sees that it holds the lock.
 *   [lock-release]  The exchange in shms_unlock_with_reach (release) pairs with the exchange in the next
 *   shms_lock_try (acquire). Without it the next holder could miss what this one wrote.
 * CRASH
 *   after taking     The word names a dead client. A waiter recovers that client (recover.c).
 *   before the wake  No process is woken. Every sleep is bounded, so waiters wake by themselves and look again.
 * LIMITS  Not fair: a released lock goes to the process that exchanges the word first. */
#ifndef SHMS_LOCK_H
#define SHMS_LOCK_H

#include "engine/bell.h"

#define SHMS_SPINS 300u /* about ten microseconds. A holder needs a tenth of that, unless it was descheduled */

/* REQUIRES: the exchange lock: w -> w + number was just made. L6: until the count moves, the word is this client's, whatever
 * flags others set in it. */
static inline void shms_lock_give_back(struct shms_store *s, _Atomic uint64_t *lock, uint64_t w) {
    uint32_t count = SHMS_LOCK_COUNT(w);
    for (w |= s->number; SHMS_LOCK_HOLDER(w) == s->number && SHMS_LOCK_COUNT(w) == count;)
        if (shms_cas_acq_rel(lock, &w, (w & ~(SHMS_LOCK_WAITERS | 0xffffull)) + SHMS_LOCK_ONE)) {
            if (w & SHMS_LOCK_WAITERS)
                shms_wake(s, lock);
            return;
        }
}

/* True: this client holds the lock. False: *seen is the word that names the holder, or this client was held for dead. */
static inline bool shms_lock_try(struct shms_store *s, _Atomic uint64_t *lock, uint32_t spins, uint64_t *seen) {
    for (;;) {
        uint64_t w = shms_load_relaxed(lock);
        if (SHMS_LIKELY(SHMS_LOCK_HOLDER(w) == 0)) {
            /* If w is still the word, the lock is free and its count is the one that was read. [lock-release] */
            if (SHMS_LIKELY(shms_cas_seq_cst(lock, &w, w | s->number))) {
                if (SHMS_LIKELY(shms_load_seq_cst(&s->me->owner) == s->owner &&                 /* [take-then-owner] */
                                !(shms_load_seq_cst(&s->header->resize) & SHMS_RESIZE_FROZEN))) /* [lock-then-frozen] */
                    return true;
                shms_lock_give_back(s, lock, w);
                spins = 0;
            }
        }
        *seen = w;
        if (spins-- == 0)
            return false;
        shms_pause();
    }
}

/* REQUIRES: this client took the lock. Other processes may set the waiters flag and, for a bucket, move the count
 * meanwhile (L1), so the new word is computed from the word that the exchange replaces. [lock-release]
 *
 * L5: the word is loaded (acquire) before the owner word. The next owner of this client's number claims the slot before
 * it takes a lock. So if the word names that owner, the slot is seen to be lost. If it names this client, the exchange
 * of the whole word fails after a takeover, which moved the count (L2). */
static inline void shms_unlock_with_reach(struct shms_store *s, _Atomic uint64_t *lock, uint32_t reach) {
    uint64_t w = shms_load_acquire(lock), new;
    do {
        if (SHMS_UNLIKELY(SHMS_LOCK_HOLDER(w) != s->number || shms_load_relaxed(&s->me->owner) != s->owner))
            return;
        new = ((w & ~(SHMS_LOCK_WAITERS | 0xffffffull)) | (uint64_t)reach << 16) + SHMS_LOCK_ONE;
    } while (!shms_cas_acq_rel(lock, &w, new));
    if (SHMS_UNLIKELY(w & SHMS_LOCK_WAITERS))
        shms_wake(s, lock);
}
/* The same, with the reach as it is. */
static inline void shms_unlock(struct shms_store *s, _Atomic uint64_t *lock) {
    shms_unlock_with_reach(s, lock, SHMS_LOCK_REACH(shms_load_relaxed(lock)));
}

#endif
