/* A process died with arenas locked and a block of another one, the first, in its record. A living process holds that
 * first arena and does not go on: the others must not stay locked for that. */
#include "harness.h"

static uint32_t owner(struct shms_store *s, uint32_t a) {
    return SHMS_LOCK_HOLDER(shms_load_relaxed(&s->arenas[a].lock));
}

static void dies_holding_all_but_the_first(struct shms_store *s) {
    struct shms_op op;
    uint64_t seen;
    for (uint32_t a = 1; a < s->arena_count; a++)
        EXPECT(shms_arena_enter(s, a, 10, &seen));
    EXPECT(reserve(s, &op, "x", 'A', 100, 0) == SHMS_OK && shms_arena_of(s, op.block) == 0);
}

int main(int argc, char **argv) {
    begin_scenario(argc, argv);
    struct shms_store *s = open_store(256 << 20), *stopped = open_store(0);
    uint64_t seen;
    EXPECT(s->arena_count > 1);
    uint32_t dead = let_die(dies_holding_all_but_the_first);
    EXPECT(shms_arena_enter(stopped, 0, 10, &seen));

    EXPECT(shms_recover_all(s, false) == 0); /* not everything could be had .. */
    EXPECT(owner(s, 0) == stopped->number);
    for (uint32_t a = 1; a < s->arena_count; a++) /* .. but this could */
        EXPECT(owner(s, a) != dead && owner(s, a) == 0);

    shms_arena_leave(stopped, 0);
    EXPECT(shms_recover_all(s, false) == 1);
    EXPECT(owner(s, 0) == 0 && shms_load_relaxed(&s->arenas[0].blocks) == 0);
    expect_sound(s);
    return 0;
}
