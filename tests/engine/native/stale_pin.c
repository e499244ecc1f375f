/* A reader announces a pin too late: the life has ended, and the memory of the block belongs to another value by now, whose
 * bytes look like words of that life. The reader, and whoever finds it dead, leave them alone. So do they with a block that
 * another reader has in view. */
#include "harness.h"

static struct shms_store *writer, *viewer, *late;
static struct shms_entry x, z;
static int view;
static uint64_t at; /* of X's word, in the value of Y */
static uint8_t *value;

/* X and Z share a span with others, and Z is a zombie. Then X's span is closed, and Y has its pages. */
static void begin(void) {
    EXPECT(put(writer, "Z", 'Z', 1000) == SHMS_OK && find(viewer, "Z", &z) == SHMS_OK);
    EXPECT((view = shms_pin_set(viewer, SHMS_SLOT_BLOCK(z.word), z.life)) >= 0);
    EXPECT(put(writer, "W", 'W', 200) == SHMS_OK && put(writer, "X", 'X', 200) == SHMS_OK);
    EXPECT(find(late, "X", &x) == SHMS_OK);
    EXPECT(drop(writer, "Z") == SHMS_OK && drop(writer, "W") == SHMS_OK && drop(writer, "X") == SHMS_OK);
    shms_heap_leave(writer);
    tidy(writer);
    struct shms_span span;
    uint64_t block = SHMS_SLOT_BLOCK(x.word), length = shms_pages_longest_free(writer) * SHMS_PAGE - 200;
    EXPECT(!shms_span_of(writer, block, &span));
    EXPECT(put(writer, "Y", 'Y', length) == SHMS_OK);
    struct shms_entry y;
    EXPECT(find(writer, "Y", &y) == SHMS_OK);
    value = (uint8_t *)y.value;
    EXPECT(block > SHMS_SLOT_BLOCK(y.word) + 200 && block + 200 < SHMS_SLOT_BLOCK(y.word) + length);
    at = (uint64_t)(writer->base + block - value);
}

static void expect_unharmed(uint64_t word) {
    EXPECT(memcmp(value + at, &word, 8) == 0 && all_are(value, 'Y', at) && all_are(value + at + 8, 'Y', 200));
    EXPECT(all_are(z.value, 'Z', 1000) && shms_load_acquire(&z.block->word) == shms_zombie_word(z.life));
    EXPECT(shms_pin_zombies(writer) == 1);
    expect_sound(writer);
}

static void announces(struct shms_store *s) {
    shms_fetch_or_acq_rel(&s->pin_bits[(s->number - 1) / 64], 1ull << ((s->number - 1) % 64));
    shms_store_relaxed(&s->me->pins[0].block, SHMS_SLOT_BLOCK(x.word));
    shms_store_release(&s->me->pins[0].life, x.life);
}

int main(int argc, char **argv) {
    begin_scenario(argc, argv);
    writer = open_store(128 << 10);
    viewer = open_store(0);
    late = open_store(0);
    begin();
    uint64_t words[] = {shms_zombie_word(x.life), shms_free_word(writer, 3), 0, UINT64_MAX, x.life | 3, 2};
    for (int i = 0; i < 6; i++) {
        memcpy(value + at, &words[i], 8);
        EXPECT(shms_pin_set(late, SHMS_SLOT_BLOCK(x.word), x.life) == -2 && late->pins_used == 0);
        expect_unharmed(words[i]);
        let_die(announces);
        EXPECT(shms_recover_all(writer, false) == 1);
        expect_unharmed(words[i]);
    }
    for (int i = 0; i < 1000; i++) { /* whatever is free is used: not the block in view */
        char key[8];
        snprintf(key, sizeof key, "%d", i);
        if (put(writer, key, 'n', 1 + (uint64_t)i % 1500) == SHMS_FULL)
            break;
        EXPECT(i < 999);
    }
    EXPECT(all_are(z.value, 'Z', 1000));
    EXPECT(drop(writer, "Y") == SHMS_OK);
    shms_pin_clear(viewer, view);
    EXPECT(shms_load_acquire(&z.block->word) != shms_zombie_word(z.life) && shms_pin_zombies(writer) == 0);
    expect_sound(writer);
    return 0;
}
