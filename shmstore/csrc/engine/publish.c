/* publish.c: the critical sections of a home bucket. Steps and deaths are in op.h. */
#include "engine/op.h"

#include "engine/expire.h"
#include "engine/heap.h"
#include "engine/lock.h"
#include "base/number.h"
#include "engine/policy.h"
#include "engine/replace.h"

static bool home_lock(struct shms_op *op) {
    struct shms_store *s = op->s;
    _Atomic uint64_t *lock = &s->buckets[op->key.home].lock;
    shms_store_relaxed(&op->record->bucket, op->key.home + 1); /* L3: before the lock; the exchange releases it */
    if (SHMS_LIKELY(shms_lock_try(s, lock, SHMS_SPINS, &op->seen)))
        return true;
    shms_store_release(&op->record->bucket, 0);
    op->busy = lock;
    return false;
}

/* The bucket is released before the record is cleared: a death in between leaves a record that names a bucket which the
 * client does not hold. In the other order it would leave a held bucket that no record names. */
static void home_unlock(struct shms_op *op, uint32_t reach) {
    shms_unlock_with_reach(op->s, &op->s->buckets[op->key.home].lock, reach);
    shms_store_release(&op->record->bucket, 0);
}

/* Ends the section without a change of any entry; the reach stays as it is. */
static int leave(struct shms_op *op, int rc) {
    home_unlock(op, SHMS_LOCK_REACH(shms_load_relaxed(&op->s->buckets[op->key.home].lock)));
    return rc;
}

/* REQUIRES: the home bucket's lock. */
SHMS_APART static bool gone_by_now(const struct shms_store *s, const struct shms_entry *x) {
    return shms_entry_gone(s, x, shms_os_now());
}
static inline bool gone(const struct shms_store *s, const struct shms_entry *x) {
    return SHMS_UNLIKELY((x->expiry | (uintptr_t)x->extension) != 0) && gone_by_now(s, x);
}

/* Has the new block the generations that the entry is to keep? */
SHMS_APART static bool keeps_generations(const struct shms_op *op, const struct shms_entry *x) {
    if (SHMS_LIKELY(!op->tagged && !(x && x->extension)))
        return x || !op->same_generations;
    if (!x)
        return !op->same_generations;
    const uint8_t *mine = op->tagged ? op->s->base + op->block + SHMS_BLOCK_HEADER : NULL;
    return shms_generations_equal(mine, mine ? SHMS_EXT_MAX : 0, x->extension, x->extension_length);
}

/* Publishes the new block in the first empty slot from the home bucket on. Returns the distance; -1: no empty slot
 * within reach; -2: no memory for a page of the table. */
static int insert(struct shms_op *op, uint64_t word, uint32_t *number) {
    struct shms_store *s = op->s;
    struct shms_block *b = (struct shms_block *)(s->base + op->block);
    _Atomic uint64_t *lock = &s->buckets[op->key.home].lock;
    uint64_t bucket = op->key.home, last = shms_min(SHMS_REACH_MAX, s->bucket_count - 1);
    shms_used_state(s, op->record, op->capacity, 0);
    for (uint32_t d = 0; d <= last; d++) {
        if (!shms_bucket_use(s, bucket)) /* the page is marked before it holds an entry (I10) */
            return -2;
        for (uint32_t i = 0; i < SHMS_BUCKET_SLOTS; i++) {
            _Atomic uint64_t *slot = &s->buckets[bucket].slots[i];
            uint64_t empty = 0;
            if (shms_load_relaxed(slot))
                continue;
            *number = (uint32_t)(bucket * SHMS_BUCKET_SLOTS + i);
            shms_store_relaxed(&b->slot, *number);
            uint64_t w = shms_load_relaxed(lock); /* the reach is raised before the entry can be seen (I4) */
            while (SHMS_LOCK_REACH(w) < d && !shms_cas_acq_rel(lock, &w, (w & ~0xff0000ull) | (uint64_t)d << 16))
                ;
            if (shms_cas_acq_rel(slot, &empty, word)) { /* [publish] pairs with the load in probe (table.c) */
                if (SHMS_UNLIKELY(shms_evicts(s)))
                    shms_policy_enter(s, *number, op->key.hash, op->kind & SHMS_FLAG_KEPT); /* E2 */
                shms_used_count(s, op->record);
                shms_store_relaxed(&s->me->counters[SHMS_LAST_SLOT], *number + 1ull);
                op->block = 0;
                return (int)d;
            }
        }
        if (++bucket == s->bucket_count)
            bucket = 0;
    }
    return -1;
}

/* Computes a counter's new value and writes it to the new block, which no reader sees yet. */
static int count(struct shms_op *op, const struct shms_entry *x, int64_t *result) {
    int64_t old = op->initial;
    uint8_t text[SHMS_NUMBER_MAX];
    if (x) {
        if ((x->kind & SHMS_CODEC_MASK) != SHMS_CODEC_MSGPACK || x->value_length > sizeof text)
            return SHMS_NOT_INT;
        shms_copy_short(text, x->value, x->value_length);
        if (!shms_entry_unchanged(x))
            return SHMS_BUSY;
        int rc = shms_number_decode(text, x->value_length, &old);
        if (rc != SHMS_OK)
            return rc;
    }
    if (__builtin_add_overflow(old, op->number, result))
        return SHMS_OVERFLOW;
    op->value_length = shms_number_encode(*result, op->value);
    struct shms_block *b = (struct shms_block *)(op->s->base + op->block);
    shms_store_relaxed(&b->lengths, SHMS_LENGTHS(op->value_length, op->key.length, op->kind));
    return SHMS_OK;
}

static bool counts(enum shms_mode mode) { return mode == SHMS_INCR || mode == SHMS_INCR_PRESENT; }

static bool condition_holds(enum shms_mode mode, uint64_t expected, bool present, const struct shms_entry *x) {
    switch (mode) {
    case SHMS_ADD:
        return !present;
    case SHMS_REPLACE:
    case SHMS_INCR_PRESENT:
        return present;
    case SHMS_CAS:
        return expected ? present && shms_entry_version(x) == expected : !present;
    default:
        return true;
    }
}

int shms_op_publish(struct shms_op *op, enum shms_mode mode, uint64_t expected) {
    struct shms_store *s = op->s;
    struct shms_block *b = (struct shms_block *)(s->base + op->block);
    uint64_t word = SHMS_SLOT_TAG(op->key.hash, op->key.home) | op->block / SHMS_GRANULE;
    int64_t result = 0;
    op->busy = NULL;
    if (!shms_bucket_use(s, op->key.home))
        return SHMS_FULL;
    if (!home_lock(op))
        return SHMS_BUSY;
    struct shms_entry x;
    uint32_t others, number, distance;
    int rc = shms_find_locked(s, &op->key, &x, &others);
    if (rc < 0 || rc == SHMS_BUSY)
        return leave(op, rc);
    bool there = rc == SHMS_OK, present = there && !gone(s, &x);
    uint32_t reach = there && x.distance > others ? x.distance : others;
    op->version = present ? shms_entry_version(&x) : 0;
    if (!condition_holds(mode, expected, present, &x)) {
        home_unlock(op, reach);
        return SHMS_UNMET;
    }
    bool rare = op->tagged || op->same_generations || (there && x.extension);
    if (SHMS_UNLIKELY(rare) && (counts(mode) || op->keep_generations) && !keeps_generations(op, present ? &x : NULL)) {
        home_unlock(op, reach);
        return SHMS_AGAIN;
    }
    if (counts(mode) && (rc = count(op, present ? &x : NULL, &result)) != SHMS_OK) {
        home_unlock(op, reach);
        return rc;
    }
    if (op->keep_expiry) {
        op->expiry = present ? x.expiry : op->wanted;
        shms_store_relaxed(&b->expiry, op->expiry);
    }
    if (there) {
        number = x.number;
        distance = x.distance;
        shms_store_relaxed(&b->slot, number);
        if (SHMS_UNLIKELY(!shms_entry_replace(s, op->record, &x, word, op->capacity)))
            return leave(op, SHMS_BUSY);
        op->block = 0;
        shms_policy_hit(s, number);
    } else {
        int d = insert(op, word, &number);
        if (d < 0)
            return leave(op, d == -1 ? SHMS_TABLE_FULL : SHMS_FULL);
        distance = (uint32_t)d;
    }
    if (SHMS_UNLIKELY(op->expiry || op->tagged)) /* [publish-then-due] before the unlock */
        shms_expire_note(s, number / SHMS_BUCKET_SLOTS, op->expiry, op->tagged);
    if (SHMS_UNLIKELY(op->tagged))
        shms_published(s, b->body); /* the sweep may have been here between the eviction and this entry */
    home_unlock(op, distance > others ? distance : others);
    op->version = op->life;
    op->number = result;
    shms_stat(s, SHMS_PUTS, 1);
    return SHMS_OK;
}

int shms_op_remove(struct shms_op *op, uint64_t expected) {
    struct shms_store *s = op->s;
    op->busy = NULL;
    if (!shms_bucket_in_use(s, op->key.home))
        return SHMS_MISS;
    if (!home_lock(op))
        return SHMS_BUSY;
    struct shms_entry x;
    uint32_t others;
    int rc = shms_find_locked(s, &op->key, &x, &others);
    if (rc < 0 || rc == SHMS_BUSY)
        return leave(op, rc);
    if (rc == SHMS_MISS) {
        home_unlock(op, others);
        return SHMS_MISS;
    }
    bool present = !gone(s, &x);
    op->version = shms_entry_version(&x);
    if (present && expected && op->version != expected) {
        home_unlock(op, x.distance > others ? x.distance : others);
        return SHMS_UNMET;
    }
    if (SHMS_UNLIKELY(!shms_entry_replace(s, op->record, &x, 0, 0)))
        return leave(op, SHMS_BUSY);
    home_unlock(op, others);
    shms_stat(s, present ? SHMS_DELETES : SHMS_EXPIRATIONS, 1);
    return present ? SHMS_OK : SHMS_MISS;
}

int shms_op_touch(struct shms_op *op, uint64_t expiry, uint64_t expected) {
    struct shms_store *s = op->s;
    op->busy = NULL;
    if (!shms_bucket_in_use(s, op->key.home))
        return SHMS_MISS;
    if (expiry)
        shms_expire_announce(s, SHMS_HAS_EXPIRY);
    if (!home_lock(op))
        return SHMS_BUSY;
    struct shms_entry x;
    uint32_t others;
    int rc = shms_find_locked(s, &op->key, &x, &others);
    if (rc != SHMS_OK)
        return leave(op, rc);
    bool present = !gone(s, &x), met = !expected || shms_entry_version(&x) == expected;
    if (present && met) {
        shms_store_release(&x.block->expiry, expiry); /* O3: this process holds the home, so X stays in its slot */
        if (expiry)
            shms_expire_note(s, x.number / SHMS_BUCKET_SLOTS, expiry, false);
        shms_policy_hit(s, x.number);
    }
    op->version = present ? shms_entry_version(&x) : 0;
    return leave(op, !present ? SHMS_MISS : met ? SHMS_OK : SHMS_UNMET);
}
