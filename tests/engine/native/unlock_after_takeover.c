/* A client is held for dead while it works under a lock. Another one takes the lock over, and a third one gets the
 * first one's number. Whoever holds the lock then keeps it when the first client goes on and unlocks. Nor does the first
 * client keep a lock that it takes only now: it would stay held in the name of the third. */
#include "harness.h"

static struct shms_key x;
static _Atomic uint64_t *lock_of(struct shms_store *s) { return &s->buckets[x.home].lock; }

/* As an operation does: the record names the bucket first. */
static void take(struct shms_store *s) {
    uint64_t seen;
    shms_store_relaxed(&s->me->records[0].bucket, x.home + 1);
    EXPECT(shms_lock_try(s, lock_of(s), 10, &seen));
}

static void hold_for_dead(struct shms_store *s) {
    uint64_t w = s->owner;
    EXPECT(shms_cas_acq_rel(&s->me->owner, &w, SHMS_OWNER_WITH_STATE(w, SHMS_CLIENT_DEAD)));
}

int main(int argc, char **argv) {
    begin_scenario(argc, argv);
    struct shms_store *first = open_store(1 << 20), *second = open_store(0);
    x = name_of(first, "x");
    EXPECT(put(first, "x", 1, 10) == SHMS_OK);

    take(first);
    hold_for_dead(first);
    shms_recover_client(second, first->number - 1);
    take(second);
    shms_unlock(first, lock_of(first)); /* it goes on */
    EXPECT(SHMS_LOCK_HOLDER(shms_load_acquire(lock_of(second))) == second->number);
    shms_unlock(second, lock_of(second));
    EXPECT(SHMS_LOCK_HOLDER(shms_load_acquire(lock_of(second))) == 0);

    struct shms_store *third = open_store(0);
    EXPECT(third->number == first->number && third->owner != first->owner);
    take(third);
    uint64_t held = shms_load_acquire(lock_of(third));
    shms_unlock(first, lock_of(first));
    EXPECT(shms_load_acquire(lock_of(third)) == held);
    shms_unlock(third, lock_of(third));

    uint64_t seen, free = shms_load_acquire(lock_of(third));
    EXPECT(SHMS_LOCK_HOLDER(free) == 0 && !shms_lock_try(first, lock_of(first), 10, &seen));
    uint64_t after = shms_load_acquire(lock_of(third));
    EXPECT(SHMS_LOCK_HOLDER(after) == 0 && SHMS_LOCK_COUNT(after) != SHMS_LOCK_COUNT(free));
    EXPECT(SHMS_LOCK_REACH(after) == SHMS_LOCK_REACH(free));
    take(third);
    shms_unlock(third, lock_of(third));
    expect_sound(third);
    return 0;
}
