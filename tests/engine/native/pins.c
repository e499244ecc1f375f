/* Reading in place, against the end of the block's life: whoever is last frees the block, in each order of their steps,
 * and it is freed once. Other processes' steps are made between two steps of a call (heap.c and pin.c are compiled here
 * once more). */
#include "harness.h"

static void (*at_exchange)(void), (*at_look)(void), (*at_clear)(void); /* what happens then, once */

static void now(void (**what)(void)) {
    void (*act)(void) = *what;
    *what = NULL;
    if (act)
        act();
}

/* Before the reader marks the life as pinned, or the writer makes a zombie. */
static bool exchange(_Atomic uint64_t *word, uint64_t *expected, uint64_t value) {
    now(&at_exchange);
    return shms_cas_seq_cst(word, expected, value);
}
#undef shms_cas_seq_cst
#define shms_cas_seq_cst(word, expected, value) exchange((word), (expected), (value))
static void unpinned(struct shms_store *s, uint64_t offset, uint64_t life) { /* after the pin was cleared */
    now(&at_clear);
    shms_heap_unpinned(s, offset, life);
}
#define shms_heap_unpinned(s, offset, life) unpinned((s), (offset), (life))
#include "engine/pin.c"
#undef shms_heap_unpinned
static bool pin_any(struct shms_store *s, uint64_t offset, uint64_t life) { /* after the zombie was made */
    now(&at_look);
    return shms_pin_any(s, offset, life);
}
#define shms_pin_any(s, offset, life) pin_any((s), (offset), (life))
#include "engine/heap.c"

static struct shms_store *writer, *reader, *third;
static struct shms_entry x;
static int pins[2];

static uint64_t block(void) { return SHMS_SLOT_BLOCK(x.word); }
static uint64_t word(void) { return shms_load_acquire(shms_word_at(writer, block())); }
static void begin(void) {
    EXPECT(put(writer, "keeps the span", 1, 200) == SHMS_OK && put(writer, "x", 'A', 200) == SHMS_OK);
    EXPECT(find(reader, "x", &x) == SHMS_OK && word() == x.life);
}
/* The block is free, and free once: no two allocations get it. */
static void expect_free(void) {
    struct census c = census_of(writer);
    EXPECT(c.zombies == 0 && c.alive == 1 && shms_pin_zombies(writer) == 0);
    EXPECT(put(writer, "1", 1, 200) == SHMS_OK && put(third, "2", 2, 200) == SHMS_OK);
    EXPECT(put(writer, "3", 3, 200) == SHMS_OK && put(third, "4", 4, 200) == SHMS_OK);
    uint64_t blocks[4];
    for (int i = 0; i < 4; i++) {
        struct shms_entry e;
        char key[2] = {(char)('1' + i), 0};
        EXPECT(find(reader, key, &e) == SHMS_OK && all_are(e.value, i + 1, 200));
        blocks[i] = SHMS_SLOT_BLOCK(e.word);
        for (int k = 0; k < i; k++)
            EXPECT(blocks[k] != blocks[i]);
        EXPECT(drop(writer, key) == SHMS_OK);
    }
    EXPECT(drop(writer, "keeps the span") == SHMS_OK);
    expect_empty(writer);
}

static void ends(void) { EXPECT(drop(writer, "x") == SHMS_OK); }
static void pins_it(void) {
    pins[0] = shms_pin_set(reader, block(), x.life);
    EXPECT(pins[0] >= 0 && word() == (x.life | SHMS_WORD_PINNED));
}
static void unpins(void) { shms_pin_clear(reader, pins[0]); }
static void overwrites(void) { EXPECT(put(writer, "x", 'B', 5000) == SHMS_OK); }

static void in_turn(void) {
    begin();
    pins_it();
    ends();
    EXPECT(word() == shms_zombie_word(x.life) && shms_pin_zombies(writer) == 1 && census_of(writer).zombies == 1);
    EXPECT(counted(writer, SHMS_USED_BLOCKS) == 1); /* a zombie is no entry */
    expect_sound(writer);
    tidy(writer); /* a zombie that is pinned stays */
    EXPECT(word() == shms_zombie_word(x.life) && all_are(x.value, 'A', 200));
    unpins();
    expect_free();

    begin(); /* the pin was cleared in time: a look at the pins, and no zombie */
    pins_it();
    unpins();
    EXPECT(word() == (x.life | SHMS_WORD_PINNED));
    ends();
    expect_free();

    begin(); /* too late */
    ends();
    EXPECT(shms_pin_set(reader, block(), x.life) == -2);
    expect_free();
}

static void interleaved(void) {
    begin(); /* the life ends after the reader wrote its pin and before it marks the word */
    at_exchange = ends;
    EXPECT(shms_pin_set(reader, block(), x.life) == -2);
    EXPECT(!at_exchange);
    expect_free();

    begin(); /* the pin is cleared after the zombie was made and before the writer looks at pins */
    pins_it();
    at_look = unpins;
    ends();
    EXPECT(!at_look);
    expect_free();

    begin(); /* the pin is cleared before the zombie is made */
    pins_it();
    at_exchange = unpins;
    ends();
    EXPECT(!at_exchange);
    expect_free();

    begin(); /* the life ends after the pin was cleared and before the reader looks at the word */
    pins_it();
    at_clear = ends;
    unpins();
    EXPECT(!at_clear);
    expect_free();

    begin(); /* another life of the same block begins in between */
    pins_it();
    at_clear = ends;
    unpins();
    struct shms_entry e;
    char key[8] = "";
    int n = 0;
    do { /* until it gets this block */
        snprintf(key, sizeof key, "n%d", n % 1000);
        EXPECT(put(writer, key, 'C', 200) == SHMS_OK && find(reader, key, &e) == SHMS_OK && n++ < 200);
    } while (SHMS_SLOT_BLOCK(e.word) != block());
    EXPECT(e.life != x.life);
    shms_heap_unpinned(reader, block(), x.life); /* late: of the former life */
    shms_heap_end(third, block(), x.life, false);
    EXPECT(word() == e.life && all_are(e.value, 'C', 200));
    while (n-- > 0) {
        snprintf(key, sizeof key, "n%d", n % 1000);
        EXPECT(drop(writer, key) == SHMS_OK);
    }
    expect_free();
}

static void two_pins(void) {
    for (int same = 0; same < 2; same++) {
        struct shms_store *second = same ? reader : third;
        begin();
        pins_it();
        pins[1] = shms_pin_set(second, block(), x.life);
        EXPECT(pins[1] >= 0);
        overwrites();
        EXPECT(word() == shms_zombie_word(x.life) && census_of(writer).zombies == 1);
        unpins();
        EXPECT(word() == shms_zombie_word(x.life) && all_are(x.value, 'A', 200));
        expect_sound(writer);
        shms_pin_clear(second, pins[1]);
        EXPECT(drop(writer, "x") == SHMS_OK);
        expect_free();
    }
    /* A pin of the former life does not keep the new one. */
    begin();
    ends();
    EXPECT(shms_pin_set(third, block(), x.life) == -2);
    EXPECT(put(writer, "x", 'A', 200) == SHMS_OK && find(reader, "x", &x) == SHMS_OK);
    ends();
    expect_free();
}

/* A client has as many pins as docs/format.md says, each of another life, and all of them again. */
static void all_pins(void) {
    begin();
    int all[SHMS_PINS_MAX];
    char key[16];
    EXPECT(reader->pin_count <= SHMS_PINS_MAX);
    for (int round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < reader->pin_count; i++) {
            struct shms_entry other;
            snprintf(key, sizeof key, "o%u", i);
            EXPECT(put(writer, key, 1, 200) == SHMS_OK && find(reader, key, &other) == SHMS_OK);
            EXPECT((all[i] = shms_pin_set(reader, SHMS_SLOT_BLOCK(other.word), other.life)) >= 0);
            EXPECT(shms_pin_set(reader, SHMS_SLOT_BLOCK(other.word), other.life) == all[i]);
            EXPECT(drop(writer, key) == SHMS_OK);
        }
        EXPECT(shms_pin_set(reader, block(), x.life) == -1);
        EXPECT(shms_pin_zombies(writer) == reader->pin_count);
        for (uint32_t i = 0; i < reader->pin_count; i++) {
            shms_pin_clear(reader, all[i]);
            EXPECT(shms_pin_zombies(writer) == reader->pin_count - i); /* another view is open */
            shms_pin_clear(reader, all[i]);
            EXPECT(shms_pin_zombies(writer) == reader->pin_count - i - 1);
        }
    }
    EXPECT(reader->pins_used == 0);
    ends();
    expect_free();
}

/* Readers that die: before and after the life ends, the only one and one of two. */
static void dies_pinning(struct shms_store *s) { EXPECT(shms_pin_set(s, block(), x.life) >= 0); }
static void deaths(void) {
    begin();
    let_die(dies_pinning);
    EXPECT(word() == (x.life | SHMS_WORD_PINNED));
    ends();
    EXPECT(word() == shms_zombie_word(x.life));
    EXPECT(shms_recover_all(writer, false) == 1);
    expect_free();

    begin();
    pins_it();
    let_die(dies_pinning);
    ends();
    EXPECT(shms_recover_all(writer, false) == 1);
    EXPECT(word() == shms_zombie_word(x.life) && all_are(x.value, 'A', 200));
    unpins();
    expect_free();

    begin();
    pins_it();
    let_die(dies_pinning);
    ends();
    unpins();
    EXPECT(word() == shms_zombie_word(x.life)); /* nobody has found the death yet */
    EXPECT(shms_recover_all(writer, false) == 1);
    expect_free();
}

int main(int argc, char **argv) {
    begin_scenario(argc, argv);
    writer = open_store(1 << 20);
    reader = open_store(0);
    third = open_store(0);
    in_turn();
    interleaved();
    two_pins();
    all_pins();
    deaths();
    return 0;
}
