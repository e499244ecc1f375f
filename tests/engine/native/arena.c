/* The allocator: blocks of all sizes around the boundaries of its classes come and go at random, some of them pinned
 * when they go; after each step what the arena states is what the model says, and every few steps all of it is
 * checked. Then blocks that fit to the last granule. */
#include "harness.h"

#define ENTRIES 300
#define STEPS 6000

static uint64_t state = 20260901;
static uint64_t random_below(uint64_t n) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return (state >> 33) % n;
}

struct entry {
    bool there;
    uint64_t length, bytes; /* of the value, of the block */
};
static struct entry entries[ENTRIES];
static struct shms_store *s, *reader;
static struct {
    int pin;
    uint64_t offset, bytes;
    const uint8_t *value;
    uint64_t length;
    int byte;
    int entry; /* -1: its block was freed since */
} pinned[6];

static char *name(int i) {
    static char text[8];
    snprintf(text, sizeof text, "k%04d", i);
    return text;
}

/* Around powers of two, around the splits of a class, around the alignment of large values, and anything. */
static uint64_t random_length(void) {
    switch (random_below(4)) {
    case 0:
        return random_below(80);
    case 1:
        return (16ull << random_below(12)) + random_below(65);
    case 2:
        return SHMS_ALIGNED_FROM - 100 + random_below(200);
    default:
        return random_below(3000);
    }
}

static uint64_t block_of(const char *key, uint64_t *offset) {
    struct shms_entry f;
    EXPECT(find(s, key, &f) == SHMS_OK);
    *offset = SHMS_SLOT_BLOCK(f.word);
    return shms_arena_block_size(s, 0, *offset);
}

static void forget_pins_of(int i) {
    for (int k = 0; k < 6; k++)
        if (pinned[k].pin >= 0 && pinned[k].entry == i)
            pinned[k].entry = -1;
}

static void pin_or_unpin(void) {
    int k = (int)random_below(6), i = (int)random_below(ENTRIES);
    if (pinned[k].pin >= 0) {
        /* Whatever became of the entry, what is read in place is what was put. */
        EXPECT(all_are(pinned[k].value, pinned[k].byte, pinned[k].length));
        shms_pin_clear(reader, pinned[k].pin);
        pinned[k].pin = -1;
    } else if (entries[i].there) {
        struct shms_entry f;
        EXPECT(find(reader, name(i), &f) == SHMS_OK);
        pinned[k].bytes = block_of(name(i), &pinned[k].offset);
        pinned[k].value = f.value;
        pinned[k].length = f.value_length;
        pinned[k].byte = i % 251;
        pinned[k].entry = i;
        pinned[k].pin = shms_pin_set(reader, pinned[k].offset);
        EXPECT(pinned[k].pin >= 0);
    }
}

/* used and blocks: the living, and zombies, of which there may be some that nobody pins any more. */
static void expect_figures(void) {
    uint64_t used = 0, blocks = 0, zombies = shms_load_relaxed(&s->arenas[0].zombie_count);
    for (int i = 0; i < ENTRIES; i++) {
        blocks += entries[i].there;
        used += entries[i].there ? entries[i].bytes : 0;
    }
    EXPECT(shms_load_relaxed(&s->arenas[0].blocks) == blocks + zombies);
    EXPECT(zombies ? shms_load_relaxed(&s->arenas[0].used) > used : shms_load_relaxed(&s->arenas[0].used) == used);
}

static void expect_contents(void) {
    for (int i = 0; i < ENTRIES; i++) {
        struct shms_entry f;
        int rc = find(s, name(i), &f);
        EXPECT(rc == (entries[i].there ? SHMS_OK : SHMS_MISS));
        EXPECT(!entries[i].there || (f.value_length == entries[i].length && all_are(f.value, i % 251, f.value_length)));
    }
}

static void come_and_go(void) {
    int full = 0, zombies = 0;
    for (int k = 0; k < 6; k++)
        pinned[k].pin = -1;
    for (int step = 0; step < STEPS; step++) {
        int i = (int)random_below(ENTRIES);
        uint64_t offset, length = random_length();
        if (random_below(10) == 0) {
            pin_or_unpin();
        } else if (random_below(5) < 2) {
            EXPECT(drop(s, name(i)) == (entries[i].there ? SHMS_OK : SHMS_MISS));
            entries[i].there = false;
            forget_pins_of(i);
        } else {
            int rc = put(s, name(i), i % 251, length);
            EXPECT(rc == SHMS_OK || rc == SHMS_FULL);
            full += rc == SHMS_FULL;
            if (rc == SHMS_OK) {
                entries[i].there = true;
                entries[i].length = length;
                entries[i].bytes = block_of(name(i), &offset);
                uint64_t asked = SHMS_BLOCK_HEADER + 5 + length + (length >= SHMS_ALIGNED_FROM ? SHMS_LINE - 1 : 0);
                EXPECT(entries[i].bytes >= shms_arena_capacity(asked));
                EXPECT(entries[i].bytes < shms_arena_capacity(asked) + SHMS_BLOCK_MIN);
                forget_pins_of(i);
            }
        }
        expect_figures();
        zombies += shms_load_relaxed(&s->arenas[0].zombie_count) != 0;
        if (step % 100 == 0) {
            expect_sound(s);
            expect_contents();
        }
    }
    EXPECT(full > 0 && zombies > 0 && s->rebuilds == 0);
    for (int k = 0; k < 6; k++)
        if (pinned[k].pin >= 0)
            shms_pin_clear(reader, pinned[k].pin);
    for (int i = 0; i < ENTRIES; i++)
        drop(s, name(i));
}

static void to_the_last_granule(void) {
    uint64_t room = s->arena_size, fixed = SHMS_BLOCK_HEADER + 1;
    EXPECT(put(s, "z", 1, 1) == SHMS_OK && drop(s, "z") == SHMS_OK); /* zombies that were left are looked at */
    expect_sound(s);
    EXPECT(shms_load_relaxed(&s->arenas[0].used) == 0 && shms_load_relaxed(&s->arenas[0].blocks) == 0);
    EXPECT(shms_load_relaxed(&s->arenas[0].top) == shms_arena_base(s, 0));
    EXPECT(shms_arena_largest_free(s, 0) == room);
    EXPECT(put(s, "a", 1, room - fixed - (SHMS_LINE - 1)) == SHMS_OK);
    EXPECT(put(s, "b", 1, 0) == SHMS_FULL);
    expect_sound(s);
    EXPECT(drop(s, "a") == SHMS_OK);
    EXPECT(put(s, "a", 1, room - fixed - (SHMS_LINE - 1) + 1) == SHMS_TOO_LARGE);
    /* A remainder that is no block of its own goes with the block; one that is stays free. */
    for (uint64_t left = 0; left <= 2 * SHMS_BLOCK_MIN; left += SHMS_GRANULE) {
        uint64_t offset, bytes = 1024 - left;
        EXPECT(put(s, "a", 1, 1024 - fixed) == SHMS_OK && put(s, "b", 1, 10) == SHMS_OK && drop(s, "a") == SHMS_OK);
        EXPECT(put(s, "c", 1, bytes - fixed) == SHMS_OK);
        EXPECT(block_of("c", &offset) == (left < SHMS_BLOCK_MIN ? 1024 : bytes));
        EXPECT(offset == shms_arena_base(s, 0));
        expect_sound(s);
        EXPECT(drop(s, "b") == SHMS_OK && drop(s, "c") == SHMS_OK);
        expect_sound(s);
    }
    EXPECT(shms_load_relaxed(&s->arenas[0].top) == shms_arena_base(s, 0));
}

/* The same state from a rebuild: what is derived can be derived. */
static void rebuilt(void) {
    uint64_t seen, used, blocks;
    for (int i = 0; i < 100; i++)
        EXPECT(put(s, name(i), i, random_length()) == SHMS_OK);
    for (int i = 0; i < 100; i += 3)
        EXPECT(drop(s, name(i)) == SHMS_OK);
    used = shms_load_relaxed(&s->arenas[0].used);
    blocks = shms_load_relaxed(&s->arenas[0].blocks);
    EXPECT(shms_arena_enter(s, 0, 10, &seen));
    EXPECT(shms_rebuild(s, 0) == SHMS_OK);
    shms_arena_leave(s, 0);
    EXPECT(shms_load_relaxed(&s->arenas[0].used) == used && shms_load_relaxed(&s->arenas[0].blocks) == blocks);
    expect_sound(s);
}

int main(int argc, char **argv) {
    begin_scenario(argc, argv);
    s = open_store(1 << 20);
    reader = open_store(0);
    EXPECT(s->arena_count == 1);
    come_and_go();
    to_the_last_granule();
    rebuilt();
    return 0;
}
