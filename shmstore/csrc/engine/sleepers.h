/* sleepers.h: ending the sleeps of this process's own threads
 *
 * A thread that waits for a key sleeps on the count of a bucket (wait.c). It must also wake when another thread closes its
 * handle, and when the owner of a lock that it waits for dies (api/deaths.h). Neither changes the bucket. So this process is
 * *poked*, and each sleeper's bucket is *touched*: its count moves as if it was locked and released.
 * POKE     1 do what the sleepers are to see   2 count a poke   3 touch the buckets of all that are in the list
 * SLEEPER  1 note the pokes   2 look at what a poke announces   3 load the bucket's word, look at the key, set the waiters flag
 *          4 join the list, unless there were pokes since step 1   5 sleep while the count is that of step 3   6 leave the list
 * ORDERING  Steps 3 of the one and 4 of the other hold a lock. A sleeper that joined before is touched: the sleep of step 5 ends
 *   or does not begin. One that comes later sees the poke in step 4. If a writer holds the bucket, its release moves the count.
 * FORK  The child has none of these threads. */
#ifndef SHMS_SLEEPERS_H
#define SHMS_SLEEPERS_H

#include "segment/segment.h"

struct shms_sleeper {
    struct shms_sleeper *next;
    _Atomic uint64_t *lock;
};

extern _Atomic uint32_t shms_poke_count;
static inline uint32_t shms_pokes(void) { return shms_load_acquire(&shms_poke_count); }

void shms_poke(void);
/* False: there were pokes since `pokes` were counted. Otherwise shms_sleeper_leave follows. REQUIRES: the memory may be
 * written, and stays mapped meanwhile. */
bool shms_sleeper_join(struct shms_sleeper *sleeper, uint32_t pokes);
void shms_sleeper_leave(struct shms_sleeper *sleeper);
/* In a forked child. */
void shms_sleepers_forked(void);

/* Moves the count, if no client holds the lock, and wakes those that sleep on it. The flag stays, for those of other
 * processes. */
void shms_bucket_touch(_Atomic uint64_t *lock);
/* Ends all sleeps in this store, in all processes. Each then looks at what this process did before. */
void shms_wake_everybody(struct shms_store *s);

#endif
