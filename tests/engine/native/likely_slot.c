/* Where popitem and bool look first, in a large table that is nearly empty: the used counters say that nothing is there, or
 * a client says where it published last. Nothing is concluded while an operation is in progress, or was when its client
 * died. */
#include "harness.h"

#include "engine/walk.h"

static struct shms_store *first, *second;

static void put_at(struct shms_store *s, const char *key, struct shms_entry *x) {
    EXPECT(put(s, key, 1, 50) == SHMS_OK && find(s, key, x) == SHMS_OK);
}
static uint64_t far_from(uint64_t slot) {
    return (slot + first->bucket_count * SHMS_BUCKET_SLOTS / 2) % (first->bucket_count * SHMS_BUCKET_SLOTS);
}

int main(int argc, char **argv) {
    begin_scenario(argc, argv);
    first = open_store(8 << 20);
    second = open_store(0);
    struct shms_entry x, y;
    char key[16];
    for (int i = 0; i < 40000; i++) { /* every page of the table has been used; so a walk has to look at it */
        snprintf(key, sizeof key, "%d", i);
        EXPECT(put(first, key, 1, 50) == SHMS_OK && drop(first, key) == SHMS_OK);
    }
    EXPECT(first->bucket_count > 9000);
    EXPECT(shms_likely_slot(first, 0) == SHMS_NO_SLOT && shms_likely_slot(second, 1000) == SHMS_NO_SLOT);

    put_at(first, "x", &x);
    EXPECT(shms_likely_slot(second, x.number) == x.number);
    EXPECT(shms_likely_slot(second, far_from(x.number)) == x.number);
    put_at(second, "y", &y);
    EXPECT(drop(second, "x") == SHMS_OK);
    EXPECT(shms_likely_slot(first, far_from(y.number)) == y.number);
    EXPECT(put(first, "y", 2, 50) == SHMS_OK); /* an overwrite stays in its slot */
    EXPECT(shms_likely_slot(first, far_from(y.number)) == y.number);
    put_at(second, "z", &x);
    EXPECT(drop(second, "z") == SHMS_OK); /* y is there, and no client says where: near */
    EXPECT(shms_likely_slot(first, far_from(y.number)) == far_from(y.number));
    EXPECT(drop(first, "y") == SHMS_OK && shms_likely_slot(first, 7) == SHMS_NO_SLOT);

    _Atomic uint64_t *bucket = &second->me->records[3].bucket;
    shms_store_release(bucket, 5); /* it is about to publish, or it has and did not count it yet */
    EXPECT(shms_likely_slot(first, 7) == 7);
    uint64_t w = second->owner, dead = SHMS_OWNER_WITH_STATE(w, SHMS_CLIENT_DEAD);
    EXPECT(shms_cas_acq_rel(&second->me->owner, &w, dead));
    EXPECT(shms_likely_slot(first, 7) == 7);
    EXPECT(shms_recover_client(first, second->number - 1));
    EXPECT(shms_likely_slot(first, 7) == SHMS_NO_SLOT); /* what a record of nobody says does not count */

    uint64_t slots = first->bucket_count * SHMS_BUCKET_SLOTS, wild[] = {slots, slots + 1, 1ull << 40, UINT64_MAX};
    for (int i = 0; i < 4; i++) { /* overwritten bytes */
        shms_store_relaxed(&first->me->counters[SHMS_LAST_SLOT], wild[i]);
        EXPECT(shms_likely_slot(first, 7) == SHMS_NO_SLOT && shms_likely_slot(first, wild[i]) == SHMS_NO_SLOT);
    }
    return 0;
}
