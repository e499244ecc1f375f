/* Two processes find the same death. The first has taken over the arena that the dead held when the second runs from
 * beginning to end, and frees the dead one's place: the first must rebuild the arena all the same. */
#include "dies_at_exchange.h"

static struct shms_store *first, *second;
static uint32_t dead;
static int takeovers;

/* The second finder's whole recovery, at the first one's next count of a takeover. */
static void between(void) {
    if (takeovers++ == 0)
        EXPECT(shms_recover_client(second, dead - 1));
}
#define shms_stat(store, counter, n) (shms_stat((store), (counter), (n)), between())
#include "engine/recover.c"
#undef shms_stat

static void dies_removing(struct shms_store *s) {
    struct shms_entry f;
    EXPECT(find(s, "x", &f) == SHMS_OK);
    deadly = f.slot;
    drop(s, "x");
}

int main(int argc, char **argv) {
    begin_scenario(argc, argv);
    first = open_store(1 << 20);
    second = open_store(0);
    EXPECT(put(first, "before", 'A', 1000) == SHMS_OK);
    EXPECT(put(first, "x", 'A', 1000) == SHMS_OK);
    EXPECT(put(first, "behind", 'A', 1000) == SHMS_OK);
    dead = let_die(dies_removing);
    EXPECT(!shms_recover_client(first, dead - 1)); /* the place was freed by the second */
    EXPECT(takeovers == 1 && first->rebuilds == 1);
    EXPECT(shms_load_relaxed(&first->arenas[0].blocks) == 2);
    expect_sound(first);
    EXPECT(put(first, "new", 'B', 1000) == SHMS_OK);
    expect_sound(second);
    return 0;
}
