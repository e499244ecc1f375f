/* bell.h: waking the waiters of a bucket, and telling processes that wait in many buckets which one has changed
 *
 * A process that waits for one key sleeps on the bucket's word (wait.c). One that waits for ten thousand keys sets the waiters
 * flag in each of their buckets, and sleeps on one word, the bell.
 * WRITER  1 release the bucket: the count moves, the flag is cleared   2 wake those that sleep on the bucket
 *         3 count a ring in the bell, and clear its bit `sleeps`       4 write the bucket into the log
 *         5 if the bit was set, wake those that sleep on the bell
 * LISTENER  1 note the rings   2 for each key: load the word, look, set the flag (as wait.c)
 *         3 sleep on the bell, with the bit set, while the rings are those noted
 *         4 read the log from the noted rings on; look at the keys of these buckets, and set their flags again
 * ORDERING  The ring comes after the release, and a listener that sees the ring (acquire) sees the release. If an entry of the
 *   log is not that of its ring, because it was overwritten or is not yet written, any bucket may have changed.
 *   docs/model/bell.pml is a model of this.
 * CRASH  of a writer between 1 and 5: the listener gets no ring, or is not woken. So it wakes by itself once a second, reads the
 *   log if there were rings, and compares the counts of its buckets with those that it saw. */
#ifndef SHMS_BELL_H
#define SHMS_BELL_H

#include "segment/segment.h"

static inline _Atomic uint32_t *shms_lock_count(_Atomic uint64_t *lock) {
    return (_Atomic uint32_t *)lock + 1; /* the upper half, on a little-endian machine */
}

/* Steps 2 to 5 for the bucket of this lock, which was released with the flag set. */
void shms_wake(struct shms_store *s, _Atomic uint64_t *lock);
/* Steps 3 to 5 for every bucket. */
void shms_bell_ring_all(struct shms_store *s);
static inline uint32_t shms_bell_rings(const struct shms_store *s) {
    return SHMS_BELL_RINGS(shms_load_acquire(&s->header->bell.word));
}
/* Fills buckets[SHMS_BELL_LOG] with those of the rings since *rings, and sets *rings to the present number. Returns how many
 * buckets these are; -1: any bucket may have changed. */
int shms_bell_heard(struct shms_store *s, uint32_t *rings, uint32_t *buckets);
/* Step 3, without the sleep: the word to sleep on as long as it has the value *value. False: there were rings since. */
bool shms_bell_may_sleep(struct shms_bell *bell, uint32_t rings, uint32_t *value);

#endif
