/* lock.h: the lock word of buckets and arenas, taken and released; waiting for one is shms_await's business (recover.c).
 *
 * INVARIANTS
 *   L1  Every change of the word is a read-modify-write of the whole word.
 *   L2  Every release and takeover moves the count, whether anything changed or not: a takeover compares the
 *       whole word, so a lock that was released and taken again since the proof of death is never stolen.
 *   L3  Whoever tries has stored the bucket in his operation record first; the exchange that takes the lock is
 *       also the release that makes the record visible before it.
 *   L4  A sleeper sets the waiters flag in the very word whose count it sleeps on. The release either sees the
 *       flag and wakes, or moved the count before the flag was set, and then the sleep does not begin.
 * CRASH after taking: the word names the dead; recover.c moves it on. Before the wake: sleepers wake by
 *   themselves (every sleep is bounded) and look again. */
#ifndef SHMS_LOCK_H
#define SHMS_LOCK_H

#include "segment/segment.h"

#define SHMS_SPINS 300u /* about ten microseconds; holders need a tenth of one unless they lost their core */

static inline _Atomic uint32_t *shms_lock_count(_Atomic uint64_t *lock) {
    return (_Atomic uint32_t *)lock + 1; /* little-endian: the upper half */
}

/* True: held by this client. False: *seen is the word that names the holder. */
static inline bool shms_lock_try(struct shms_store *s, _Atomic uint64_t *lock, uint32_t spins, uint64_t *seen) {
    for (;;) {
        uint64_t w = shms_load_relaxed(lock);
        if (SHMS_LIKELY(SHMS_LOCK_HOLDER(w) == 0)) {
            /* acquire pairs with the release in shms_unlock [lock-release] */
            if (SHMS_LIKELY(shms_cas_acq_rel(lock, &w, w | s->number)))
                return true;
        }
        *seen = w;
        if (spins-- == 0)
            return false;
        shms_pause();
    }
}

static inline void shms_wake(_Atomic uint64_t *lock) { shms_os_futex_wake_all(shms_lock_count(lock)); }

/* REQUIRES: held by this client. [lock-release] pairs with the acquire of the next shms_lock_try. */
static inline void shms_unlock_with_reach(_Atomic uint64_t *lock, uint32_t reach) {
    uint64_t w = shms_load_relaxed(lock), new;
    do
        new = ((w & ~(SHMS_LOCK_WAITERS | 0xffffffull)) | (uint64_t)reach << 16) + SHMS_LOCK_ONE;
    while (!shms_cas_acq_rel(lock, &w, new));
    if (SHMS_UNLIKELY(w & SHMS_LOCK_WAITERS))
        shms_wake(lock);
}
static inline void shms_unlock(_Atomic uint64_t *lock) {
    shms_unlock_with_reach(lock, SHMS_LOCK_REACH(shms_load_relaxed(lock)));
}

/* Moves the count of a bucket whose entry was changed by somebody who does not hold it, and wakes. Returns the
 * word as it was. */
static inline uint64_t shms_lock_touch(_Atomic uint64_t *lock) {
    uint64_t w = shms_load_relaxed(lock), new;
    do
        new = (w & ~SHMS_LOCK_WAITERS) + SHMS_LOCK_ONE;
    while (!shms_cas_acq_rel(lock, &w, new));
    if (SHMS_UNLIKELY(w & SHMS_LOCK_WAITERS))
        shms_wake(lock);
    return w;
}

#endif
