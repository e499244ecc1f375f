/* The arena's `keep` is a word of the segment like any other: whatever it says, what is given back to the system lies
 * within what was freed. The value is one whose five quarters, in 64 bits, are nothing. */
#include "harness.h"

int main(int argc, char **argv) {
    begin_scenario(argc, argv);
    struct shms_store *s = open_store(64 << 20);
    EXPECT(put(s, "before", 'A', 100) == SHMS_OK && put(s, "x", 'A', 1 << 20) == SHMS_OK);
    uint64_t high = shms_load_relaxed(&s->arenas[0].high);
    for (uint64_t off = 0; off < 3; off++) {
        shms_store_relaxed(&s->arenas[0].keep, 0xcccccccccccccccdull + off);
        EXPECT(drop(s, "x") == SHMS_OK);
        EXPECT(shms_load_relaxed(&s->arenas[0].high) == high && shms_load_relaxed(&s->arenas[0].returned) == 0);
        EXPECT(put(s, "x", 'A', 1 << 20) == SHMS_OK);
    }
    expect_sound(s);
    return 0;
}
