/* replace.h: the exchange of a slot that takes an entry out, with what recovery must know about it (steps 3 to 6 in op.h)
 *
 * An overwrite, a delete, an eviction, the sweep of an expired entry, a move and a repair all end here. */
#ifndef SHMS_REPLACE_H
#define SHMS_REPLACE_H

#include "engine/table.h"

/* Step 3: states in the record what the used counters will be. 0: there is no new, or no old block. */
void shms_used_state(struct shms_store *s, struct shms_record *record, uint64_t new_bytes, uint64_t old_bytes);
/* Step 5: used counters := what the record states;  record.block := 0. */
void shms_used_count(struct shms_store *s, struct shms_record *record);

/* Takes the entry x out of its slot, which from then on names `word` (0: nothing), and ends the life of its block. False:
 * the slot has changed, because this client was held for dead and its bucket taken over. new_bytes: the capacity of the
 * block that `word` names. REQUIRES: the lock of x's home bucket. */
bool shms_entry_replace(struct shms_store *s, struct shms_record *record, const struct shms_entry *x, uint64_t word,
                        uint64_t new_bytes);

static inline uint64_t shms_slot_number(const struct shms_store *s, const _Atomic uint64_t *slot) {
    uint64_t at =
        (uint64_t)((const uint8_t *)slot - (const uint8_t *)s->buckets); /* a bucket is a lock and its slots */
    return at / SHMS_LINE * SHMS_BUCKET_SLOTS + at % SHMS_LINE / 8 - 1;
}

/* The entry in this slot, with its expiry and the hash of its key, by the steps of a reader (table.h). False: the slot is
 * empty or is changing. */
bool shms_entry_in_slot(struct shms_store *s, _Atomic uint64_t *slot, struct shms_entry *x, uint64_t *hash);
/* For who comes without a key, to evict or to sweep: tries the lock of x's home bucket, and takes x out. False: the lock is
 * busy, the entry is gone, or it has not expired. expired_by: a time by which it must have; 0: it need not.
 * 1 record.bucket := the home bucket; try its lock
 * 2 the slot still names the block, in the life that was looked at
 * 3 shms_entry_replace;  unlock, which wakes waiters;  record.bucket := 0 */
bool shms_entry_take_out(struct shms_store *s, struct shms_record *record, struct shms_entry *x, uint64_t hash,
                         uint64_t expired_by);
/* The same; no hint tells that the old block is free (shms_heap_end_unseen). */
bool shms_entry_replace_unseen(struct shms_store *s, struct shms_record *record, const struct shms_entry *x,
                               uint64_t word, uint64_t new_bytes);

#endif
