/* Two processes open with create=True, and the second comes when the first has made the segment and is about to write
 * its name into it. One of them has the store then, and the other one is told that it exists: never both. */
#include "harness.h"
#include "segment/memory.h"

static bool second_comes, first_looks_dead;
static void second(void);

/* create.c once more, with the second process in front of the first exchange of the state word. */
static bool is_state(_Atomic uint64_t *word) {
    return (uintptr_t)word % SHMS_PAGE == offsetof(struct shms_header, state);
}
static bool exchange(_Atomic uint64_t *word, uint64_t *expected, uint64_t value) {
    if (second_comes && is_state(word)) {
        second_comes = false;
        second();
    }
    return shms_cas_acq_rel(word, expected, value);
}
static enum shms_life life(uint32_t pid, uint64_t start) {
    return first_looks_dead ? SHMS_GONE : shms_os_process_life(pid, start);
}
static bool creator_gone(struct shms_store *s, const struct shms_memory_state *state) {
    return life(state->creator, 0) == SHMS_GONE;
}
static void choose(struct shms_store *s, const struct shms_open_request *a) {
    static struct shms_memory memory;
    shms_memory_choose(s, a);
    memory = *s->memory;
    memory.creator_gone = creator_gone;
    s->memory = &memory;
}
#undef shms_cas_acq_rel
#define shms_cas_acq_rel(word, expected, value) exchange((word), (expected), (value))
#define shms_os_process_life(pid, start) life((pid), (start))
#define shms_memory_choose choose
#include "segment/create.c"
#include "engine/open.c"

static struct shms_store b;
static int b_rc;

static void second(void) {
    struct shms_open_request wish = wish_for(2 << 20, CREATE);
    struct shms_open_result found;
    wish.timeout = 20 * MS;
    b_rc = shms_open(&b, &wish, &found);
}

static void tell(bool robbed) {
    struct shms_store a;
    struct shms_open_request wish = wish_for(4 << 20, CREATE);
    struct shms_open_result found;
    wish.size_given = 1;
    second_comes = true;
    first_looks_dead = robbed;
    int a_rc = shms_open(&a, &wish, &found);
    EXPECT(!second_comes);
    if (robbed) { /* the second held the first for dead and finished the creation */
        EXPECT(b_rc == SHMS_OK && a_rc == SHMS_EXISTS);
        expect_sound(&b);
    } else {
        EXPECT(a_rc == SHMS_OK && found.created && a.header->size == 4 << 20);
        EXPECT(b_rc == SHMS_TIMEOUT || b_rc == SHMS_EXISTS);
        expect_sound(&a);
    }
    struct shms_store *s = robbed ? &b : &a;
    first_looks_dead = false;
    EXPECT(shms_destroy(s) == SHMS_OK);
    shms_detach(s);
}

int main(int argc, char **argv) {
    begin_scenario(argc, argv);
    tell(false);
    tell(true);
    return 0;
}
