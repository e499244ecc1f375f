/* table.h: finding a key without a lock
 *
 * Open addressing in buckets of seven slots, one cache line each. Entries never move, and deleting leaves no tombstone:
 * each home bucket says how far its own entries reach.
 *
 * EXAMPLE  Four buckets. A to G and K have home 1, L has home 2; the slots of bucket 1 are full.
 *                              put K                        delete D, then K
 *   bucket 0  reach 0  . . . . . . .   reach 0  . . . . . . .   reach 0  . . . . . . .
 *   bucket 1  reach 0  A B C D E F G   reach 1  A B C D E F G   reach 0  A B C . E F G
 *   bucket 2  reach 0  L . . . . . .   reach 0  L K . . . . .   reach 0  L . . . . . .
 *   bucket 3  reach 0  . . . . . . .   reach 0  . . . . . . .   reach 0  . . . . . . .
 *   put K     finds no empty slot in bucket 1. It raises the reach of bucket 1 to 1, then fills a slot of bucket 2.
 *   get K     loads reach 1 from bucket 1, probes buckets 1 and 2, and finds K at distance 1.
 *   get L     loads reach 0 from bucket 2 and probes that alone. K's slot has another tag, so K's block is not read.
 *   delete D  empties the slot. Nothing moves. The reach stays 1, because the probe saw K at distance 1.
 *   delete K  empties the slot. The probe saw no other entry of home 1 beyond bucket 1, so the reach becomes 0.
 *
 * INVARIANT  The reach is raised before an entry is published, and only the holder of the home bucket's lock lowers it,
 *   when it releases the lock, to what its probe saw. It may be too high, after an expiry or a death. It is never too
 *   low (I4).
 * READER  r := reach of the home bucket (acquire). For each slot of buckets home to home + r:
 *   1 w := slot (acquire). Empty, or another tag: next slot
 *   2 q := block.word (acquire). Free or a zombie: the slot has changed, back to 1
 *   3 slot still w? If not, back to 1. At this moment life q of the block is published here
 *   4 compare the key; copy
 *   5 fence (acquire); block.word still the life of q? If not, back to 1, before ANY conclusion
 * ORDERING
 *   [publish]  The exchange that fills a slot (release) pairs with step 1. The reader sees the whole block.
 *   [slot-between]  Step 3 lies between two loads of the same life. So the life that was compared is the life that
 *     was published at that moment. With the slot loaded last, a block that was reused twice in between could be taken
 *     for the entry.
 *   [prove-mismatch]  "Another key" needs step 5 like "this key". Otherwise a present key would be missed when its
 *     block is overwritten during the comparison.
 *   [block-life]  Step 5 pairs with the fence after an allocation (heap.h).
 * LIMITS  A reader waits for no process. Each way back to 1 means that a process changed this very slot meanwhile. A
 *   miss costs the cache line of the home bucket, a hit in addition the first lines of the block. */
#ifndef SHMS_TABLE_H
#define SHMS_TABLE_H

#include "engine/generations.h"

#define SHMS_FIND_TRIES 64u

/* An entry as it was at one moment. The bytes at `value` belong to it until its life ends. A caller that
 * copies them must check shms_entry_unchanged afterwards, or have pinned the block. */
struct shms_entry {
    _Atomic uint64_t *slot;
    uint64_t word;
    struct shms_block *block;
    uint64_t life;
    uint64_t version_moved; /* of an entry that was moved: see shms_entry_version */
    uint64_t expiry;        /* 0 = never */
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
    uint32_t kind; /* of SHMS_KEY_FLAGS */
    uint64_t hash;
    uint64_t home;
};

void shms_key_init(const struct shms_store *s, struct shms_key *k, const void *bytes, uint32_t length, uint32_t kind);

/* SHMS_OK; SHMS_MISS, also for an expired or outdated entry; SHMS_BUSY: contended, pin the block or try later; SHMS_CORRUPT.
 * Bounded. */
int shms_find(struct shms_store *s, const struct shms_key *k, struct shms_entry *e);

/* REQUIRES: the home bucket's lock. Also finds entries that are gone (shms_entry_gone tells). *others: the reach that the other
 * entries of this home need. */
int shms_find_locked(struct shms_store *s, const struct shms_key *k, struct shms_entry *e, uint32_t *others);

/* For walks: the entry in this slot, whatever its key is. The caller copies, and then checks shms_entry_unchanged. */
int shms_peek(struct shms_store *s, uint64_t bucket, uint32_t index, struct shms_entry *e, const uint8_t **key,
              uint32_t *key_length);

/* The hash of the key of the entry in this block. Of an entry that was moved it is computed from the key. The caller must
 * check shms_entry_unchanged before it believes it. */
uint64_t shms_hash_of_moved(const struct shms_store *s, struct shms_block *b);
static inline uint64_t shms_block_hash(const struct shms_store *s, struct shms_block *b) {
    bool moved = shms_load_relaxed(&b->lengths) & SHMS_FLAG_MOVED;
    return SHMS_LIKELY(!moved) ? shms_load_relaxed(&b->hash) : shms_hash_of_moved(s, b);
}

/* What `cas` and `wait` compare: the life of the block that the entry was put into. A move (move.h) does not change it. */
static inline uint64_t shms_entry_version(const struct shms_entry *e) {
    return SHMS_LIKELY(!(e->kind & SHMS_FLAG_MOVED)) ? e->life : e->version_moved;
}

/* Fills extension and extension_length of *e, whose block and kind are known. False: the length is impossible. */
bool shms_entry_extension(const struct shms_store *s, struct shms_entry *e);
/* Whether the entry, which was in its slot, is outdated: SHMS_MISS, it was so at a moment at which it was there;
 * SHMS_AGAIN, it is not there any more; SHMS_OK. For one without an extension that is settled. */
int shms_entry_judge(const struct shms_store *s, const struct shms_entry *e);
/* Whether the entry is gone at this time: it has expired, or is outdated. The two ends that an entry has without a process
 * that takes it out. For one that cannot change meanwhile, or that is looked at again. */
static inline bool shms_entry_gone(const struct shms_store *s, const struct shms_entry *e, uint64_t now) {
    return (e->expiry && e->expiry <= now) ||
           (e->extension && shms_generation_of(s, e->extension, e->extension_length) == SHMS_OUTDATED);
}

/* To be called after copying: did the bytes belong to this entry all the time? */
static inline bool shms_entry_unchanged(const struct shms_entry *e) {
    shms_fence_acquire(); /* [block-life] pairs with the fence after an allocation in heap.c */
    return SHMS_WORD_LIFE(shms_load_relaxed(&e->block->word)) == e->life;
}

#endif
