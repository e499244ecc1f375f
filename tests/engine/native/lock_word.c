/* The lock word: who holds it, that its count moves with every release and takeover, and what else is in the word stays
 * as it was. */
#include "harness.h"

static struct shms_key x;

static void dies_holding(struct shms_store *s) {
    uint64_t seen;
    struct shms_op op;
    EXPECT(shms_op_begin(s, &op, "x", 1, 0) == SHMS_OK);
    shms_store_relaxed(&op.record->bucket, op.key.home + 1);
    EXPECT(shms_lock_try(s, &s->buckets[op.key.home].lock, 10, &seen));
}

/* REQUIRES: unlocked. The release moves the count and keeps the reach; it clears the waiters flag. */
static void taken_and_released(struct shms_store *s, struct shms_store *other, _Atomic uint64_t *lock) {
    uint64_t before = shms_load_relaxed(lock), seen = 0;
    EXPECT(shms_lock_try(s, lock, 10, &seen));
    EXPECT(shms_load_relaxed(lock) == (before | s->number));
    EXPECT(!shms_lock_try(other, lock, 10, &seen));
    EXPECT(seen == (before | s->number) && SHMS_LOCK_HOLDER(seen) == s->number);
    shms_fetch_or_acq_rel(lock, SHMS_LOCK_WAITERS);
    shms_unlock(s, lock);
    EXPECT(shms_load_relaxed(lock) == (before & ~SHMS_LOCK_WAITERS) + SHMS_LOCK_ONE);
}

static void words(struct shms_store *s, struct shms_store *other) {
    _Atomic uint64_t lock = 0;
    EXPECT(SHMS_LOCK_HOLDER(~0ull) == 0xffff && SHMS_LOCK_REACH(~0ull) == SHMS_REACH_MAX);
    EXPECT(SHMS_LOCK_COUNT(~0ull) == UINT32_MAX && !(SHMS_LOCK_WAITERS & 0xffffffull));
    taken_and_released(s, other, &lock);
    EXPECT(SHMS_LOCK_COUNT(shms_load_relaxed(&lock)) == 1);
    /* reach */
    uint64_t seen;
    EXPECT(shms_lock_try(other, &lock, 10, &seen));
    shms_unlock_with_reach(other, &lock, SHMS_REACH_MAX);
    EXPECT(shms_load_relaxed(&lock) == (2 * SHMS_LOCK_ONE | (uint64_t)SHMS_REACH_MAX << 16));
    taken_and_released(s, other, &lock);
    EXPECT(SHMS_LOCK_REACH(shms_load_relaxed(&lock)) == SHMS_REACH_MAX);
    /* A client that does not hold it changes nothing. */
    EXPECT(shms_lock_try(s, &lock, 10, &seen));
    uint64_t held = shms_load_relaxed(&lock);
    shms_unlock(other, &lock);
    EXPECT(shms_load_relaxed(&lock) == held);
    shms_unlock(s, &lock);
    /* The count begins again without running into anything. */
    shms_store_relaxed(&lock, 0xffffffffull << 32 | 3ull << 16);
    EXPECT(shms_lock_try(s, &lock, 10, &seen));
    shms_unlock(s, &lock);
    EXPECT(shms_load_relaxed(&lock) == 3ull << 16);
}

static void taken_over(struct shms_store *s) {
    _Atomic uint64_t *bucket = &s->buckets[x.home].lock;
    uint64_t before, seen;
    EXPECT(put(s, "x", 'A', 10) == SHMS_OK);
    shms_fetch_or_acq_rel(bucket, 3ull << 16); /* a reach */

    before = shms_load_relaxed(bucket);
    uint32_t number = let_die(dies_holding);
    EXPECT(shms_load_relaxed(bucket) == (before | number));
    shms_fetch_or_acq_rel(bucket, SHMS_LOCK_WAITERS);
    EXPECT(shms_recover_all(s, false) == 1);
    EXPECT(shms_load_relaxed(bucket) == before + SHMS_LOCK_ONE);

    /* One that is waited for is taken over by who waits. */
    before = shms_load_relaxed(bucket);
    number = let_die(dies_holding);
    EXPECT(!shms_lock_try(s, bucket, 10, &seen) && SHMS_LOCK_HOLDER(seen) == number);
    shms_await(s, bucket, seen, SECOND);
    EXPECT((shms_load_relaxed(bucket) & ~SHMS_LOCK_WAITERS) == before + SHMS_LOCK_ONE);

    /* The living keep theirs, however often somebody looks. */
    struct shms_store *other = open_store(0);
    EXPECT(shms_lock_try(other, bucket, 10, &seen));
    before = shms_load_relaxed(bucket);
    EXPECT(shms_recover_all(s, false) == 0);
    shms_await(s, bucket, before, 2 * MS);
    EXPECT((shms_load_relaxed(bucket) & ~SHMS_LOCK_WAITERS) == before);
    shms_unlock(other, bucket);
    close_store(other);
}

int main(int argc, char **argv) {
    begin_scenario(argc, argv);
    struct shms_store *s = open_store(1 << 20), *other = open_store(0);
    x = name_of(s, "x");
    words(s, other);
    taken_over(s);
    drop(s, "x");
    EXPECT(SHMS_LOCK_REACH(shms_load_relaxed(&s->buckets[x.home].lock)) == 0); /* it healed */
    expect_sound(s);
    return 0;
}
