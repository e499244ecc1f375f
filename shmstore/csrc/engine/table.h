/* table.h: finding a key, without a lock.
 *
 * Open addressing in buckets of seven slots, one cache line each; entries never move and deletion leaves no
 * tombstone, because each home bucket says how far its entries reach.
 *
 * READER  r := reach of the home bucket (acquire); for each slot of buckets home .. home + r
 *           again: w := slot (acquire); empty or another tag: next slot
 *                  q := block.sequence (acquire)
 *                  slot still w?                no: again      at this moment life q is published here
 *                  compare, copy
 *                  fence (acquire); block.sequence still q?    no: again     before ANY conclusion
 *   The look at the slot lies between two equal loads of the sequence, so the life that was compared is the
 *   life that was published at that moment [slot-between]. A mismatch of keys needs the same proof, or a
 *   present key is missed [prove-mismatch].
 * REACH   raised before an entry is published, set to what the probe saw at the release of the home bucket, by
 *   its holder only. It may be too high (after eviction, after a death), never too low (I4).
 * COST    a miss: the home bucket's line. A hit: that, and the block's first lines.
 * A reader waits for nobody. Each "again" means that somebody completed a change of that very slot. */
#ifndef SHMS_TABLE_H
#define SHMS_TABLE_H

#include "segment/segment.h"

#define SHMS_FIND_TRIES 64u

/* An entry as it was at one moment. `value` may be read until block->sequence moves; whoever copies it must
 * look again (shms_entry_unchanged), or have pinned it. */
struct shms_entry {
    _Atomic uint64_t *slot;
    uint64_t word;
    struct shms_block *block;
    uint64_t sequence;
    uint64_t expiry; /* 0 = never */
    const uint8_t *value;
    uint64_t value_length;
    const uint8_t *extension; /* NULL if none */
    uint32_t extension_length;
    uint32_t kind;     /* codec and flags */
    uint32_t number;   /* of the slot */
    uint32_t distance; /* of its bucket from home */
};

struct shms_key {
    const uint8_t *bytes;
    uint32_t length;
    uint32_t kind; /* SHMS_FLAG_BYTES_KEY or 0 */
    uint64_t hash;
    uint64_t home;
};

void shms_key_init(const struct shms_store *s, struct shms_key *k, const void *bytes, uint32_t length, uint32_t kind);

/* SHMS_OK, SHMS_MISS (also when expired), SHMS_BUSY (a storm: pin, or try later), SHMS_CORRUPT. Bounded. */
int shms_find(struct shms_store *s, const struct shms_key *k, struct shms_entry *e);

/* For the holder of the home bucket's lock: expired entries are found (e->expiry tells), and *others is the
 * reach that the other entries of this home need. */
int shms_find_locked(struct shms_store *s, const struct shms_key *k, struct shms_entry *e, uint32_t *others);

/* Whatever key is in this slot now, for walks; its key in e->block->body. The caller copies and looks again. */
int shms_peek(struct shms_store *s, uint64_t bucket, uint32_t index, struct shms_entry *e, const uint8_t **key,
              uint32_t *key_length);

/* After copying: was it still this life? */
static inline bool shms_entry_unchanged(const struct shms_entry *e) {
    shms_fence_acquire(); /* [block-life] pairs with the release fence after the sequence in arena.c */
    return shms_load_relaxed(&e->block->sequence) == e->sequence;
}

#endif
