/* policy.h: what a full cache evicts: S3-FIFO without queues
 *
 * All that the policy knows is a hint byte for each slot, a table of ghosts and a few counters (layout.h, "policy of a
 * cache"). There is nothing to link, to lock, or to put in order again after a death.
 *
 *   new entry  belongs to the small share, a tenth of all entries. Its step counts quarters of that share inserted so
 *              far, modulo 8, and so tells its age. If a ghost remembers the key, it belongs to the main share at once.
 *              So does an entry of the store's own, which is never evicted
 *   hit        raises the frequency, up to 3. Nothing is written if it is 3 already, so hot keys cause no traffic
 *   eviction   While the small share is full, a hand sweeps its hints in the order of the table. It skips what is
 *              younger than three steps. What was used moves to the main share; what was not is evicted and leaves a
 *              ghost. Otherwise a second hand sweeps the main share like a clock: it lowers the frequency, or evicts
 *   ghosts     16 bits each, eight to a set, as many as slots. One that is older than the time in which half of the main
 *              share is evicted no longer counts
 *
 * INVARIANTS
 *   E1  `used` is set and cleared by the holder of the entry's home bucket only; by a finder, for a dead holder. All
 *       others exchange the whole byte and keep the bit, so a late reader never marks an empty slot, or another entry's.
 *   E2  `used` is set after the entry is published and cleared before it leaves its slot. So a slot that is taken again
 *       never loses the bit of its new entry.
 *   E3  The counts follow the changes of `used` and `main`: the process whose exchange made the change counts it. A
 *       death in between makes them wrong by one. Recovery corrects the number of entries (shms_policy_correct), and a
 *       sweep that finds a share empty its count.
 *   E4  A process keeps small changes of the counts and clocks to itself: what two processes write at every put would cost
 *       each of them more than the rest of the put. It tells of one entry more at once, so the counted entries are never too few.
 *       They may be too many by SHMS_POLICY_MOST for each process, in a cache of at least 1024 times as many; in a smaller
 *       one they are exact. REQUIRES: the GIL, wherever entries come and go.
 * CRASH
 *   with changes kept back               The counts are wrong by these. Recovery corrects the number of entries.
 *   after publishing, before `used`       Recovery finds the block in its slot, and sets the bit (shms_policy_found).
 *   after `used` is cleared, before the slot is emptied   Recovery finds the old block in its slot: the same.
 * SOURCE  J. Yang, Y. Zhang, Z. Qiu, Y. Yue, R. Vinayak: FIFO queues are all you need for cache eviction (SOSP 2023).
 *   Without queues: the hands follow the order of the table instead of age, and age has four steps. */
#ifndef SHMS_POLICY_H
#define SHMS_POLICY_H

#include "segment/segment.h"

enum shms_share { SHMS_SHARE_SMALL, SHMS_SHARE_MAIN };

/* Entries, and how many of them belong to the small share. */
struct shms_shares {
    uint32_t entries, small;
};
struct shms_shares shms_policy_shares(const struct shms_store *s);
static inline uint32_t shms_policy_tenth(struct shms_shares n) { return n.entries < 20 ? 1 : n.entries / 10; }

/* An entry with this hash was published in an empty slot. kept: it is one of the store's own, a lease for example. If leases
 * counted as inserted, entries of the small share would seem older than they are. REQUIRES: its home bucket; so do the next
 * three. */
void shms_policy_enter(struct shms_store *s, uint64_t slot, uint64_t hash, bool kept);
/* The entry in this slot is about to leave it. Returns its hint. */
uint8_t shms_policy_leave(struct shms_store *s, uint64_t slot);
/* It has left; or it stays after all. */
void shms_policy_left(struct shms_store *s, uint8_t hint);
void shms_policy_stay(struct shms_store *s, uint64_t slot, uint8_t hint);
/* For recovery and repair: there is an entry in this slot. Nothing happens if there can be no such slot. */
void shms_policy_found(struct shms_store *s, uint64_t slot);
/* The entry was used. */
void shms_policy_raise(struct shms_store *s, uint64_t slot);
static inline void shms_policy_hit(struct shms_store *s, uint64_t slot) {
    if (SHMS_UNLIKELY(shms_evicts(s)) && (shms_load_relaxed(&s->hints[slot]) & SHMS_HINT_FREQUENCY) < 3)
        shms_policy_raise(s, slot);
}

/* Adds what this process has kept back (E4). */
void shms_policy_tell(struct shms_store *s);

/* For eviction. Both return whether this process made the change. */
bool shms_policy_lower(struct shms_store *s, uint64_t slot, uint8_t hint);
bool shms_policy_promote(struct shms_store *s, uint64_t slot, uint8_t hint);
#define SHMS_POLICY_YOUNG 3u /* the hands pass over entries of the small share of a smaller age */
/* Steps since an entry of the small share was inserted, modulo 8. */
uint32_t shms_policy_age(const struct shms_store *s, uint8_t hint);
void shms_policy_remember(struct shms_store *s, uint64_t hash);
/* A sweep of the whole table has found no entry of this share. */
void shms_policy_none(struct shms_store *s, enum shms_share share);
/* Sets the number of entries right, after a death or a repair, if it is wrong by more than operations in progress explain:
 * one for each client. Costs a look at each client slot. */
void shms_policy_correct(struct shms_store *s);

#endif
