/* A writer is killed when it has taken a block out of its slot and not yet ended the block's life. A reader that
 * found the block before, and is half way through its value, must not take what comes to lie there for the rest. */
#include "dies_at_exchange.h"

#define LENGTH 983u

static void overwrites(struct shms_store *s) { put(s, "x", 'B', LENGTH); }
static void removes(struct shms_store *s) { drop(s, "x"); }
static void sweeps(struct shms_store *s) {
    EXPECT(touch(s, "x", shms_os_now() + 1) == SHMS_OK);
    shms_os_nap(3 * MS);
    expire_all(s);
}

static void dies(struct shms_store *s, void (*act)(struct shms_store *)) {
    struct shms_entry f;
    EXPECT(find(s, "x", &f) == SHMS_OK);
    deadly = f.slot;
    act(s);
}
static void dies_overwriting(struct shms_store *s) { dies(s, overwrites); }
static void dies_removing(struct shms_store *s) { dies(s, removes); }
static void dies_sweeping(struct shms_store *s) { dies(s, sweeps); }

/* What happens while the reader has no core: the memory finds no new owner, or one that wrote a value over all of it, or
 * one who wrote only its header, and a neighbour. */
static void nobody(struct shms_store *s) { (void)s; }
static void another_value(struct shms_store *s) { EXPECT(put(s, "new", 'Z', LENGTH) == SHMS_OK); }
static void an_unwritten_value(struct shms_store *s) {
    struct shms_op op;
    EXPECT(shms_op_begin(s, &op, "new", 3, 0) == SHMS_OK);
    EXPECT(shms_op_reserve(&op, LENGTH, SHMS_CODEC_RAW, NULL, 0, 0) == SHMS_OK);
    EXPECT(put(s, "newer", 'Z', 500) == SHMS_OK);
}

static void tell(void (*death)(struct shms_store *), void (*meanwhile)(struct shms_store *)) {
    struct shms_store *s = open_store(1 << 20);
    struct shms_entry f;
    uint8_t copy[LENGTH];
    EXPECT(put(s, "before", 'A', 1000) == SHMS_OK);
    EXPECT(put(s, "x", 'A', LENGTH) == SHMS_OK);
    EXPECT(put(s, "behind", 'A', 1000) == SHMS_OK);
    EXPECT(drop(s, "before") == SHMS_OK);
    EXPECT(find(s, "x", &f) == SHMS_OK && f.value_length == LENGTH);
    let_die(death);
    shms_copy_racy(copy, f.value, LENGTH / 2);
    EXPECT(shms_recover_all(s, false) == 1);
    meanwhile(s);
    shms_copy_racy(copy + LENGTH / 2, f.value + LENGTH / 2, LENGTH - LENGTH / 2);
    EXPECT(!shms_entry_unchanged(&f) || all_are(copy, 'A', LENGTH));
    expect_sound(s);
    EXPECT(shms_destroy(s) == SHMS_OK);
    close_store(s);
}

int main(int argc, char **argv) {
    void (*deaths[])(struct shms_store *) = {dies_overwriting, dies_removing, dies_sweeping};
    void (*meanwhile[])(struct shms_store *) = {nobody, another_value, an_unwritten_value};
    begin_scenario(argc, argv);
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 3; k++)
            tell(deaths[i], meanwhile[k]);
    return 0;
}
