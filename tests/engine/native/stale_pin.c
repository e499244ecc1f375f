/* A reader pins a block that is gone by then, before it checks. Where the block's header was, a later value has bytes
 * that state a size: as a block, it would cover what another reader reads in place. A rebuild keeps that one. */
#include "harness.h"

static uint64_t block_of(struct shms_store *s, const char *key) {
    struct shms_entry e;
    EXPECT(find(s, key, &e) == SHMS_OK);
    return SHMS_SLOT_BLOCK(e.word);
}

int main(int argc, char **argv) {
    begin_scenario(argc, argv);
    struct shms_store *writer = open_store(1 << 20), *reader = open_store(0), *late = open_store(0);
    EXPECT(put(writer, "w", 1, 200) == 0 && put(writer, "x", 2, 200) == 0 && put(writer, "s", 7, 1000) == 0);
    EXPECT(put(writer, "z", 3, 1000) == 0 && put(writer, "end", 4, 100) == 0);
    struct shms_entry z;
    EXPECT(find(reader, "z", &z) == SHMS_OK);
    uint64_t at_w = block_of(writer, "w"), at_x = block_of(writer, "x"), at_z = block_of(writer, "z");
    EXPECT(at_w < at_x && at_x < at_z);
    int pin = shms_pin_set(reader, at_z);
    EXPECT(shms_load_acquire(z.slot) == z.word);
    EXPECT(drop(writer, "z") == 0 && drop(writer, "w") == 0 && drop(writer, "x") == 0);

    struct shms_op op;
    EXPECT(reserve(writer, &op, "y", 0x41, at_x - at_w + 200 - SHMS_BLOCK_HEADER - 1, 0) == 0 && op.block == at_w);
    uint32_t tag = (uint32_t)((at_z - at_x + 1056) / SHMS_GRANULE);
    memcpy(writer->base + at_x + offsetof(struct shms_block, tag), &tag, sizeof tag);
    EXPECT(shms_op_publish(&op, SHMS_SET, 0) == 0);
    shms_op_end(&op);
    EXPECT(drop(writer, "y") == 0 && drop(writer, "s") == 0); /* so no slot names a block in between */

    int stale = shms_pin_set(late, at_x);
    uint64_t seen;
    EXPECT(shms_lock_try(writer, &writer->arenas[0].lock, 100, &seen) && shms_rebuild(writer, 0) == 0);
    shms_arena_leave(writer, 0);
    EXPECT(put(writer, "new", 9, 1500) == 0 && put(writer, "new2", 9, 900) == 0);
    shms_pin_clear(late, stale); /* its check has failed */
    EXPECT(put(writer, "new3", 9, 1500) == 0 && put(writer, "new4", 9, 900) == 0);
    for (int i = 0; i < 1000; i++)
        EXPECT(z.value[i] == 3);
    shms_pin_clear(reader, pin);
    EXPECT(put(writer, "new5", 9, 900) == 0 && put(writer, "new6", 9, 900) == 0);
    EXPECT(shms_load_relaxed(&writer->arenas[0].zombie_count) == 0); /* the place comes back when both have gone */
    expect_sound(writer);
    return 0;
}
