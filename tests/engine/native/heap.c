/* The allocator: blocks of all sizes around the boundaries of their classes come and go at random by two clients, some of
 * them pinned when they go. After each step the counters are what the model says. Every few steps all is checked: no two
 * blocks overlap, nothing is lost. Then values that fit to the last byte. */
#include "harness.h"

#define ENTRIES 300
#define STEPS 6000
#define PINS 6

static uint64_t state = 20260901;
static uint64_t random_below(uint64_t n) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return (state >> 33) % n;
}

static struct {
    bool there;
    uint64_t length, bytes; /* of the value, of the block */
} entries[ENTRIES];
static struct {
    int pin;
    const uint8_t *value;
    uint64_t length;
    int byte;
} pinned[PINS];
static struct shms_store *s, *second, *reader;

static char *name(int i) {
    static char text[8];
    snprintf(text, sizeof text, "k%04d", i);
    return text;
}

/* Around powers of two, around the alignment of large values, around the largest class, and anything. */
static uint64_t random_length(void) {
    switch (random_below(5)) {
    case 0:
        return random_below(80);
    case 1:
        return (16ull << random_below(12)) + random_below(65);
    case 2:
        return SHMS_ALIGNED_FROM - 100 + random_below(200);
    case 3:
        return SHMS_SMALL_MAX - 200 + random_below(200);
    default:
        return random_below(3000);
    }
}

static void pin_or_unpin(void) {
    int k = (int)random_below(PINS), i = (int)random_below(ENTRIES);
    struct shms_entry e;
    if (pinned[k].pin >= 0) {
        /* Whatever became of the entry, what is read in place is what was put. */
        EXPECT(all_are(pinned[k].value, pinned[k].byte, pinned[k].length));
        shms_pin_clear(reader, pinned[k].pin);
        pinned[k].pin = -1;
    } else if (entries[i].there) {
        EXPECT(find(reader, name(i), &e) == SHMS_OK);
        pinned[k].value = e.value;
        pinned[k].length = e.value_length;
        pinned[k].byte = i % 251;
        pinned[k].pin = shms_pin_set(reader, SHMS_SLOT_BLOCK(e.word), e.life);
        EXPECT(pinned[k].pin >= 0);
    }
}

static void expect_figures(void) {
    uint64_t bytes = 0, blocks = 0;
    for (int i = 0; i < ENTRIES; i++) {
        blocks += entries[i].there;
        bytes += entries[i].there ? entries[i].bytes : 0;
    }
    EXPECT(counted(s, SHMS_USED_BLOCKS) == blocks && counted(s, SHMS_USED_BYTES) == bytes);
}

static void expect_contents(void) {
    struct census c = census_of(s);
    uint64_t blocks = 0, kept = 0;
    for (int i = 0; i < ENTRIES; i++) {
        struct shms_entry e;
        int rc = find(s, name(i), &e);
        EXPECT(rc == (entries[i].there ? SHMS_OK : SHMS_MISS));
        EXPECT(!entries[i].there || (e.value_length == entries[i].length && all_are(e.value, i % 251, e.value_length)));
        blocks += entries[i].there;
    }
    for (int k = 0; k < PINS; k++)
        kept += pinned[k].pin >= 0;
    /* The blocks in use are those of the entries, and those that are still read. */
    EXPECT(c.alive == blocks && c.zombies <= kept && c.zombies == shms_pin_zombies(s));
}

static void come_and_go(void) {
    int full = 0;
    uint64_t zombies = 0;
    for (int step = 0; step < STEPS; step++) {
        struct shms_store *writer = random_below(3) ? s : second;
        struct shms_entry e;
        int i = (int)random_below(ENTRIES);
        uint64_t length = random_length();
        if (random_below(10) == 0) {
            pin_or_unpin();
        } else if (random_below(5) < 2) {
            EXPECT(drop(writer, name(i)) == (entries[i].there ? SHMS_OK : SHMS_MISS));
            entries[i].there = false;
        } else {
            int rc = put(writer, name(i), i % 251, length);
            EXPECT(rc == SHMS_OK || rc == SHMS_FULL);
            full += rc == SHMS_FULL;
            if (rc == SHMS_OK) {
                EXPECT(find(s, name(i), &e) == SHMS_OK);
                entries[i].there = true;
                entries[i].length = length;
                entries[i].bytes = shms_heap_capacity(s, SHMS_SLOT_BLOCK(e.word));
            } else
                make_room(writer);
        }
        expect_figures();
        zombies += shms_pin_zombies(s);
        if (step % 100 == 0) {
            expect_sound(s);
            expect_contents();
        }
    }
    EXPECT(full > 0 && zombies > 0);
    for (int k = 0; k < PINS; k++)
        if (pinned[k].pin >= 0)
            shms_pin_clear(reader, pinned[k].pin);
    for (int i = 0; i < ENTRIES; i++)
        drop(s, name(i));
    expect_empty(s);
}

/* The largest value that fits, at each distance from a page's end. */
static void to_the_last_byte(void) {
    uint64_t fixed = SHMS_BLOCK_HEADER + 1 + SHMS_LINE - 1, most = shms_heap_largest(s);
    for (uint64_t less = 0; less < 2 * SHMS_PAGE; less += 511) {
        EXPECT(put(s, "a", 1, most - fixed - less) == SHMS_OK);
        EXPECT(put(s, "b", 1, SHMS_PAGE + 1) == (less < 2 * SHMS_PAGE ? SHMS_FULL : SHMS_OK));
        EXPECT(put(s, "b", 1, 0) == (less < SHMS_PAGE ? SHMS_FULL : SHMS_OK));
        expect_sound(s);
        EXPECT(drop(s, "a") == SHMS_OK && (less < SHMS_PAGE || drop(s, "b") == SHMS_OK));
        make_room(s);
    }
    EXPECT(put(s, "a", 1, most - fixed + 1) == SHMS_TOO_LARGE);
    expect_empty(s);
}

/* A store that is full of small blocks is full of nothing else: each block that goes makes room for one of its class, in
 * whatever span it is. */
static void found_before_full(void) {
    int n = 0;
    while (put(s, name(n), 1, 700) == SHMS_OK)
        n++;
    EXPECT(n > 500);
    for (int i = 0; i < n; i += 11) /* in more spans than a class has hints */
        EXPECT(drop(i % 2 ? second : s, name(i)) == SHMS_OK);
    for (int i = 0; i < n; i += 11) {
        if (put(s, name(i), 2, 700) == SHMS_OK)
            continue;
        make_room(s);
        EXPECT(put(s, name(i), 2, 700) == SHMS_OK);
    }
    make_room(s);
    EXPECT(put(s, "z", 1, 700) == SHMS_FULL);
    expect_sound(s);
    for (int i = 0; i < n; i++)
        EXPECT(drop(s, name(i)) == SHMS_OK);
    make_room(s);
    EXPECT(put(s, "z", 1, s->heap_pages * SHMS_PAGE / 2) == SHMS_OK && drop(s, "z") == SHMS_OK);
    expect_empty(s);
}

/* A word of the header that says how much memory is kept is a hint like any other: whatever it says, what is given back
 * lies within what is free. */
static void absurd_hints(void) {
    static const uint64_t values[] = {0, 1, 0xcccccccccccccccdull, UINT64_MAX / 5 * 4, UINT64_MAX - 3, UINT64_MAX};
    EXPECT(put(s, "before", 'A', 100) == SHMS_OK);
    for (int i = 0; i < 6 * 6 * 6; i++) {
        EXPECT(put(s, "x", 'A', 200000) == SHMS_OK);
        shms_store_relaxed(&s->header->keep, values[i % 6]);
        shms_store_relaxed(&s->header->idle, values[i / 6 % 6]);
        shms_store_relaxed(&s->header->returned, values[i / 36]);
        EXPECT(drop(s, "x") == SHMS_OK);
        struct shms_entry e;
        EXPECT(find(s, "before", &e) == SHMS_OK && all_are(e.value, 'A', 100));
        expect_sound(s);
    }
    EXPECT(drop(s, "before") == SHMS_OK);
    shms_store_relaxed(&s->header->idle, 0);
    expect_empty(s);
}

int main(int argc, char **argv) {
    begin_scenario(argc, argv);
    s = open_store(1 << 20);
    second = open_store(0);
    reader = open_store(0);
    for (int k = 0; k < PINS; k++)
        pinned[k].pin = -1;
    come_and_go();
    to_the_last_byte();
    found_before_full();
    absurd_hints();
    return 0;
}
