/* A client is held for dead while it works under a lock. Another one takes the lock over, and a third one gets the
 * first one's number. Whoever holds the lock then keeps it when the first client goes on and unlocks. */
#include "harness.h"

static _Atomic uint64_t *lock_of(struct shms_store *s) { return &s->arenas[0].lock; }

static void hold_for_dead(struct shms_store *s) {
    uint64_t w = s->owner;
    EXPECT(shms_cas_acq_rel(&s->me->owner, &w, SHMS_OWNER_WITH_STATE(w, SHMS_CLIENT_DEAD)));
}

int main(int argc, char **argv) {
    begin_scenario(argc, argv);
    struct shms_store *first = open_store(1 << 20), *second = open_store(0);
    uint64_t seen;

    EXPECT(shms_lock_try(first, lock_of(first), 10, &seen));
    hold_for_dead(first);
    shms_recover_client(second, first->number - 1);
    EXPECT(shms_lock_try(second, lock_of(second), 10, &seen));
    shms_arena_leave(first, 0); /* it goes on */
    EXPECT(SHMS_LOCK_HOLDER(shms_load_acquire(lock_of(second))) == second->number);
    shms_arena_leave(second, 0);
    EXPECT(SHMS_LOCK_HOLDER(shms_load_acquire(lock_of(second))) == 0);

    struct shms_store *third = open_store(0);
    EXPECT(third->number == first->number && third->owner != first->owner);
    EXPECT(shms_lock_try(third, lock_of(third), 10, &seen));
    uint64_t held = shms_load_acquire(lock_of(third));
    shms_arena_leave(first, 0);
    EXPECT(shms_load_acquire(lock_of(third)) == held);
    shms_arena_leave(third, 0);
    expect_sound(third);
    return 0;
}
