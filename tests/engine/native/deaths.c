/* A process is killed after each single write of each operation. Recovery leaves what the operation had before it or
 * what it has after it, no block or page that belongs to nobody, no zombie, and the right counters. The key of the
 * scenario chooses every third step; with SHMSTORE_FULL in the environment it is every step. */
#include <sys/mman.h>

#include "dies_at_step.h"

#include "engine/walk.h"

static struct shms_store *s;
static _Atomic bool *finished; /* the last one was not killed before its end */
static uint64_t wanted;        /* the step at which it is */
static struct shms_entry x;
static int pin;

/* ---- what dies */

static void put_small(struct shms_store *c) { put(c, "x", 'B', 200); }
static void put_shorter(struct shms_store *c) { put(c, "x", 'B', 60); }
static void put_large(struct shms_store *c) { put(c, "x", 'B', 30000); }
static void put_new(struct shms_store *c) { put(c, "new", 'B', 200); }
static void put_of_a_new_class(struct shms_store *c) { put(c, "new", 'B', 1500); }
static void put_new_large(struct shms_store *c) { put(c, "new", 'B', 30000); }
static void put_two(struct shms_store *c) {
    put(c, "new", 'B', 200);
    put(c, "x", 'B', 200);
}
static void put_expiring(struct shms_store *c) {
    struct shms_op op;
    reserve(c, &op, "new", 'B', 200, shms_os_now() + 3600 * SECOND);
    shms_op_publish(&op, SHMS_SET, 0);
    shms_op_end(&op);
}
static void give_up_put(struct shms_store *c) { /* the condition does not hold: a block that is never published */
    struct shms_op op;
    reserve(c, &op, "x", 'B', 200, 0);
    shms_op_publish(&op, SHMS_ADD, 0);
    shms_op_end(&op);
}
static void remove_x(struct shms_store *c) { drop(c, "x"); }
static void remove_and_leave(struct shms_store *c) {
    drop(c, "x");
    shms_heap_leave(c);
}
static void touch_x(struct shms_store *c) { touch(c, "x", shms_os_now() + 3600 * SECOND); }
static void sweep_x(struct shms_store *c) { expire_all(c); }
static void pin_and_unpin(struct shms_store *c) {
    int own = shms_pin_set(c, SHMS_SLOT_BLOCK(x.word), x.life);
    if (own >= 0)
        shms_pin_clear(c, own);
}
static void unpin_the_removed(struct shms_store *c) { /* another client, without steps, removes it meanwhile */
    uint64_t steps = steps_left;
    steps_left = 0;
    int own = shms_pin_set(c, SHMS_SLOT_BLOCK(x.word), x.life);
    struct shms_store *remover = open_store(0);
    EXPECT(own >= 0 && drop(remover, "x") == SHMS_OK);
    close_store(remover);
    steps_left = steps;
    shms_pin_clear(c, own);
}
static void tidy_up(struct shms_store *c) { tidy(c); }

/* ---- how it begins */

static void with_x(uint64_t length) {
    EXPECT(put(s, "x", 'A', length) == SHMS_OK && find(s, "x", &x) == SHMS_OK);
    shms_heap_leave(s); /* so the next client uses the same spans */
}
static void small(void) { with_x(200); }
static void small_pinned(void) {
    with_x(200);
    EXPECT((pin = shms_pin_set(s, SHMS_SLOT_BLOCK(x.word), x.life)) >= 0);
}
static void small_was_pinned(void) {
    small_pinned();
    shms_pin_clear(s, pin);
    pin = -1;
}
static void large(void) { with_x(50000); }
static void large_pinned(void) {
    with_x(50000);
    EXPECT((pin = shms_pin_set(s, SHMS_SLOT_BLOCK(x.word), x.life)) >= 0);
}
static void due(void) {
    struct shms_op op;
    EXPECT(reserve(s, &op, "x", 'A', 200, shms_os_now() + 1) == SHMS_OK);
    EXPECT(shms_op_publish(&op, SHMS_SET, 0) == SHMS_OK);
    shms_op_end(&op);
    shms_heap_leave(s);
    shms_os_nap(3 * MS);
}
static void nothing_but_an_empty_span(void) {
    with_x(200);
    EXPECT(drop(s, "x") == SHMS_OK); /* kept by s */
}

static const struct {
    void (*begin)(void);
    void (*act)(struct shms_store *);
    uint64_t before, after; /* entries */
} cases[] = {
    {small, put_small, 1, 1},
    {small, put_shorter, 1, 1},
    {small, put_large, 1, 1},
    {small, put_new, 1, 2},
    {small, put_of_a_new_class, 1, 2},
    {small, put_new_large, 1, 2},
    {small, put_two, 1, 2},
    {small, put_expiring, 1, 2},
    {small, give_up_put, 1, 1},
    {small, remove_x, 1, 0},
    {small, remove_and_leave, 1, 0},
    {small, touch_x, 1, 1},
    {small, pin_and_unpin, 1, 1},
    {small, unpin_the_removed, 0, 0},
    {small_pinned, put_small, 1, 1},
    {small_pinned, remove_x, 1, 0},
    {small_was_pinned, put_small, 1, 1},
    {small_was_pinned, remove_x, 1, 0},
    {large, put_large, 1, 1},
    {large, put_small, 1, 1},
    {large, remove_x, 1, 0},
    {large_pinned, remove_x, 1, 0},
    {large, unpin_the_removed, 0, 0},
    {due, sweep_x, 1, 0},
    {due, put_new, 1, 2},
    {nothing_but_an_empty_span, tidy_up, 0, 0},
    {nothing_but_an_empty_span, put_new, 0, 1},
};
static uint32_t which;

static void acts_and_dies(struct shms_store *c) {
    steps_left = wanted;
    cases[which].act(c);
    steps_left = 0;
    shms_store_release(finished, true);
}

/* A key has one of two values, whole. */
static void expect_whole(const char *key) {
    struct shms_entry e;
    int rc = find(s, key, &e);
    EXPECT(rc == SHMS_OK || rc == SHMS_MISS);
    EXPECT(rc == SHMS_MISS || all_are(e.value, 'A', e.value_length) || all_are(e.value, 'B', e.value_length));
}

/* Nobody has found the death yet. */
static void expect_not_empty_by_the_counters(void) {
    struct shms_entry e;
    if (find(s, "x", &e) == SHMS_OK || find(s, "new", &e) == SHMS_OK)
        EXPECT(shms_likely_slot(s, 0) != SHMS_NO_SLOT);
}

static void recovered(void) {
    expect_not_empty_by_the_counters();
    EXPECT(shms_recover_all(s, false) == 1);
    struct census c = census_of(s);
    uint64_t entries = counted(s, SHMS_USED_BLOCKS), least = shms_min(cases[which].before, cases[which].after),
             most = shms_max(cases[which].before, cases[which].after);
    if (cases[which].act == put_new && cases[which].begin == due)
        least = 0; /* a put sweeps, too */
    EXPECT(entries >= least && entries <= most && c.alive == entries);
    expect_sound(s);
    expect_whole("x");
    expect_whole("new");
    if (pin >= 0) {
        EXPECT(c.zombies <= 1 && all_are(x.value, 'A', x.value_length));
        shms_pin_clear(s, pin);
        pin = -1;
    } else
        EXPECT(c.zombies == 0);
    drop(s, "x");
    drop(s, "new");
    expect_empty(s);
    EXPECT(put(s, "x", 'C', 200) == SHMS_OK && put(s, "new", 'C', 50000) == SHMS_OK); /* nothing is locked */
    EXPECT(drop(s, "x") == SHMS_OK && drop(s, "new") == SHMS_OK);
    expect_empty(s);
}

int main(int argc, char **argv) {
    begin_scenario(argc, argv);
    finished = mmap(NULL, sizeof *finished, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    EXPECT(finished != MAP_FAILED);
    s = open_store(1 << 20);
    uint64_t stride = getenv("SHMSTORE_FULL") ? 1 : 3;
    for (which = 0; which < sizeof cases / sizeof *cases; which++) {
        shms_store_release(finished, false);
        for (wanted = 1 + (uint64_t)scenario_key % stride; !shms_load_acquire(finished); wanted += stride) {
            pin = -1;
            cases[which].begin();
            let_die(acts_and_dies);
            recovered();
        }
        EXPECT(wanted > 5); /* it has steps */
    }
    return 0;
}
