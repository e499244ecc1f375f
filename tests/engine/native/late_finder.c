/* Two processes find the same death. After the n-th word that the first one reads, the second does all of the recovery, the
 * slot gets a new owner, and that one works and counts. The first then goes on and changes nothing: the lives and
 * numbers that it knows are never given out again. In a second round the new owner brings its used counters back to what
 * they were before the dead client's exchange. The key of the scenario chooses some of the steps and words; with
 * SHMSTORE_FULL in the environment it is all of them. */
#include <sys/mman.h>

#include "dies_at_step.h"

static struct shms_store *first, *second, *next;
static uint32_t dead;
static uint64_t loads_left; /* 0: the first finder is not disturbed */
static _Atomic bool *finished;
static uint64_t wanted;
static int which;
static bool counts_back;

static void between(void) {
    if (loads_left == 0 || --loads_left != 0)
        return;
    shms_recover_client(second, dead - 1);
    next = open_store(0);
    EXPECT(next->number == dead);
    if (counts_back) { /* one entry more after a delete, one less after a put */
        EXPECT((which == 2 ? drop(next, "x") : put(next, "z", 'C', which == 3 ? 30000 : 200)) == SHMS_OK);
        return;
    }
    EXPECT(put(next, "y", 'C', 200) == SHMS_OK && put(next, "z", 'C', 200) == SHMS_OK);
    EXPECT(drop(next, "y") == SHMS_OK && put(next, "large", 'C', 30000) == SHMS_OK);
}

#undef shms_load_acquire
#undef shms_load_relaxed
#define shms_load_acquire(p)                                                   \
    __extension__({                                                            \
        __auto_type loaded_ = atomic_load_explicit((p), memory_order_acquire); \
        between();                                                             \
        loaded_;                                                               \
    })
#define shms_load_relaxed(p)                                                   \
    __extension__({                                                            \
        __auto_type loaded_ = atomic_load_explicit((p), memory_order_relaxed); \
        between();                                                             \
        loaded_;                                                               \
    })
#define has_life recover_has_life
#include "engine/recover.c"

static void overwrites(struct shms_store *c) { put(c, "x", 'B', 200); }
static void removes(struct shms_store *c) { drop(c, "x"); }
static void puts_large(struct shms_store *c) { put(c, "new", 'B', 30000); }
static void removes_the_large(struct shms_store *c) { drop(c, "x"); }
static void (*const acts[])(struct shms_store *) = {overwrites, removes, puts_large, removes_the_large};

static void acts_and_dies(struct shms_store *c) {
    steps_left = wanted;
    acts[which](c);
    steps_left = 0;
    *finished = true;
}

/* Was the first finder disturbed? */
static bool tell(uint64_t loads) {
    struct shms_entry e;
    next = NULL;
    EXPECT(put(first, "x", 'A', which == 3 ? 30000 : 200) == SHMS_OK);
    shms_heap_leave(first);
    dead = let_die(acts_and_dies);
    loads_left = loads;
    shms_recover_client(first, dead - 1);
    bool disturbed = next;
    loads_left = 0;
    shms_recover_client(first, dead - 1); /* the second could not do it while the first had not marked the client */
    expect_sound(first);
    EXPECT(census_of(first).alive == counted(first, SHMS_USED_BLOCKS));
    if (disturbed) {
        EXPECT(next->me && next->me->owner == next->owner);
        if (!counts_back) {
            EXPECT(find(first, "z", &e) == SHMS_OK && all_are(e.value, 'C', 200));
            EXPECT(find(first, "large", &e) == SHMS_OK && all_are(e.value, 'C', 30000));
        }
        drop(next, "z");
        drop(next, "large");
        close_store(next);
    }
    drop(first, "x");
    drop(first, "new");
    expect_empty(first);
    return disturbed;
}

int main(int argc, char **argv) {
    begin_scenario(argc, argv);
    finished = mmap(NULL, sizeof *finished, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    EXPECT(finished != MAP_FAILED);
    first = open_store(1 << 20);
    second = open_store(0);
    bool all = getenv("SHMSTORE_FULL");
    uint64_t stride = all ? 1 : 7, key = (uint64_t)scenario_key;
    for (int round = 0; round < 8; round++) {
        which = round % 4;
        counts_back = round >= 4;
        *finished = false;
        for (wanted = 1 + key % stride; !*finished; wanted += stride)
            for (uint64_t loads = 1 + (key + wanted) % (5 * stride); tell(loads); loads += all ? 3 : 5 * stride)
                ;
    }
    return 0;
}
