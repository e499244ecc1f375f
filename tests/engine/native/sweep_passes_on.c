/* Expired entries whose home bucket is held stay where they are. All others are swept, in bounded steps. */
#include "harness.h"

enum { ENTRIES = 2000 };

static void sweep_once(struct shms_store *s) {
    int index = shms_record_take(s);
    EXPECT(index >= 0);
    shms_expire_some(s, &s->me->records[index]);
    shms_record_put(s, index);
}

int main(int argc, char **argv) {
    begin_scenario(argc, argv);
    struct shms_store *s = open_store(4 << 20), *stopped = open_store(0);
    uint64_t later = shms_os_now() + 3600 * SECOND, soon = 0, seen;
    char key[16];
    for (int i = 0; i < ENTRIES; i++) {
        struct shms_op op;
        snprintf(key, sizeof key, "k%d", i);
        EXPECT(reserve(s, &op, key, 1, 50, later) == SHMS_OK && shms_op_publish(&op, SHMS_SET, 0) == SHMS_OK);
        shms_op_end(&op);
    }
    for (int i = 0; i < ENTRIES; i++) { /* sweeps nothing, however long it takes */
        snprintf(key, sizeof key, "k%d", i);
        soon = shms_os_now() + 1;
        EXPECT(touch(s, key, soon) == SHMS_OK);
    }
    for (int i = 0; i < 20; i++) { /* twenty homes, in twenty groups or nearly so */
        snprintf(key, sizeof key, "k%d", i * 97);
        struct shms_key k = name_of(s, key);
        shms_lock_try(stopped, &s->buckets[k.home].lock, 0, &seen); /* two keys may have one home */
    }
    while (shms_os_now() < soon + 2 * MS) /* due times are in whole milliseconds */
        shms_os_nap(MS);
    uint64_t kept = 0;
    for (uint64_t i = 0; i < 2 * s->group_count + s->table_pages; i++)
        sweep_once(s);
    for (uint64_t slot = 0; slot < s->bucket_count * SHMS_BUCKET_SLOTS; slot++) {
        uint64_t w = shms_load_acquire(&s->buckets[slot / SHMS_BUCKET_SLOTS].slots[slot % SHMS_BUCKET_SLOTS]);
        if (!w)
            continue;
        struct shms_block *b = shms_block_at(s, SHMS_SLOT_BLOCK(w));
        uint64_t home = shms_home_of(s, shms_load_relaxed(&b->hash));
        EXPECT(SHMS_LOCK_HOLDER(shms_load_acquire(&s->buckets[home].lock)) == stopped->number);
        kept++;
    }
    EXPECT(kept >= 15 && kept < 200); /* with neighbours that share a home */
    for (uint64_t bucket = 0; bucket < s->bucket_count; bucket++)
        if (SHMS_LOCK_HOLDER(shms_load_acquire(&s->buckets[bucket].lock)))
            shms_unlock(stopped, &s->buckets[bucket].lock);
    for (uint64_t i = 0; i < 2 * s->group_count + s->table_pages; i++)
        sweep_once(s);
    EXPECT(counted(s, SHMS_USED_BLOCKS) == 0);
    expect_empty(s);
    expect_sound(s);
    return 0;
}
