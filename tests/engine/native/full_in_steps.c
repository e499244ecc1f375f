/* What a put does before it is refused is bounded, in steps: those of shms_make_room and of the hunt for a run of pages. And
 * room that is there is found within them, in a heap of many parts and with thousands of runs that are too short. */
#include "harness.h"

#include "engine/compact.h"

enum { ROOM = 1, HUNT = 2 };
static uint64_t steps[3];

static int reserve_again(struct shms_op *op, uint64_t length) {
    return shms_op_reserve(op, length, SHMS_CODEC_RAW, NULL, 0, 0);
}

/* As a put of a handle does (python/write.c). The value is not written. */
static int put_in_steps(struct shms_store *s, const char *key, uint64_t length) {
    struct shms_op op;
    EXPECT(shms_op_begin(s, &op, key, (uint32_t)strlen(key), 0) == SHMS_OK);
    int rc = reserve_again(&op, length);
    struct shms_room room = {.bytes = shms_op_bytes(&op, 0)};
    struct shms_hunt hunt = {0};
    steps[ROOM] = steps[HUNT] = 0;
    while (rc == SHMS_FULL && !room.done) {
        uint64_t before = shms_load_relaxed(&s->me->counters[SHMS_EXPIRATIONS]);
        int made = shms_make_room(s, &room);
        steps[ROOM] += shms_load_relaxed(&s->me->counters[SHMS_EXPIRATIONS]) == before;
        rc = made == SHMS_AGAIN ? SHMS_FULL : reserve_again(&op, length);
    }
    for (int made = SHMS_AGAIN; rc == SHMS_FULL && made != SHMS_FULL;) {
        made = shms_hunt_step(s, &hunt, room.bytes);
        steps[HUNT]++;
        rc = made == SHMS_OK ? reserve_again(&op, length) : SHMS_FULL;
    }
    shms_hunt_end(s, &hunt);
    EXPECT(steps[ROOM] <= SHMS_ROOM_STEPS);
    EXPECT(steps[HUNT] <= SHMS_HUNT_STEPS((room.bytes + SHMS_PAGE - 1) / SHMS_PAGE) + 1); /* one says that it is over */
    if (rc == SHMS_OK)
        rc = shms_op_publish(&op, SHMS_SET, 0);
    shms_op_end(&op);
    return rc;
}

static char *name(int n) {
    static char key[16];
    snprintf(key, sizeof key, "%08d", n);
    return key;
}

/* Until none fits. Returns how many. */
static int fill(struct shms_store *s, uint64_t length) {
    int n = 0, rc;
    struct shms_op op;
    do {
        EXPECT(shms_op_begin(s, &op, name(n), 8, 0) == SHMS_OK);
        if ((rc = reserve_again(&op, length)) == SHMS_OK)
            rc = shms_op_publish(&op, SHMS_SET, 0);
        shms_op_end(&op);
        n += rc == SHMS_OK;
    } while (rc == SHMS_OK);
    EXPECT(rc == SHMS_FULL);
    return n;
}

/* Blocks that are full to the last byte, half of them free, and no free page. */
static void half_free(void) {
    struct shms_store *s = open_store(32 << 20);
    int count = fill(s, 512 - 48);
    for (int n = 0; n < count; n += 2)
        EXPECT(drop(s, name(n)) == SHMS_OK);
    EXPECT(put_in_steps(s, "a little larger", 600) == SHMS_OK);
    EXPECT(steps[HUNT] > 0 && shms_load_relaxed(&s->me->counters[SHMS_MOVES]) > 0);
    EXPECT(put_in_steps(s, "the next", 600) == SHMS_OK && steps[ROOM] == 0);
    EXPECT(put_in_steps(s, "much larger", 8 << 20) == SHMS_OK);
    EXPECT(put_in_steps(s, "too large", 20 << 20) == SHMS_FULL);
    expect_sound(s);
    close_store(s);
    remove_segment();
}

/* Nothing is free but what is in the way of nobody. */
static void full(void) {
    struct shms_store *s = open_store(32 << 20);
    fill(s, 512 - 48);
    uint64_t sizes[] = {10, 464, 465, 5000, 9000, 1 << 20, 20 << 20};
    for (int i = 0; i < 7; i++)
        EXPECT(put_in_steps(s, "new", sizes[i]) == SHMS_FULL);
    close_store(s);
    remove_segment();
}

/* Steps that remove what has expired are beside the bound: each makes room. */
static void expired(void) {
    struct shms_store *s = open_store(32 << 20);
    int count = fill(s, 512 - 48);
    uint64_t now = shms_os_now();
    for (int n = 0; n < count; n++)
        EXPECT(touch(s, name(n), now + 1) == SHMS_OK);
    while (shms_os_now() / MS <= now / MS + 1)
        ;
    EXPECT(put_in_steps(s, "small", 100) == SHMS_OK);
    EXPECT(counted(s, SHMS_USED_BLOCKS) > (uint64_t)count / 2); /* it stopped when there was room */
    EXPECT(put_in_steps(s, "large", 26 << 20) == SHMS_OK);
    EXPECT(counted(s, SHMS_USED_BLOCKS) < (uint64_t)count / 10);
    expect_sound(s);
    close_store(s);
    remove_segment();
}

/* A heap of four parts, whose last one alone has room, in thousands of runs of five pages. */
static void many_parts(void) {
    struct shms_store *s = open_store(1 << 30);
    int count = fill(s, 5 * SHMS_PAGE - 200);
    EXPECT(count > 40000);
    struct shms_entry x;
    int dropped = 0;
    for (int n = 0; n < count; n++)
        if (find(s, name(n), &x) == SHMS_OK &&
            SHMS_SLOT_BLOCK(x.word) > s->heap_offset + (s->heap_end - s->heap_offset) / 5 * 4 &&
            (SHMS_SLOT_BLOCK(x.word) / (5 * SHMS_PAGE)) % 2)
            dropped += drop(s, name(n)) == SHMS_OK;
    EXPECT(dropped > 4096); /* more than an allocation looks at */
    EXPECT(put_in_steps(s, "six pages", 6 * SHMS_PAGE - 200) == SHMS_OK);
    EXPECT(steps[HUNT] > 0);
    for (int n = 0; n < 100; n++) {
        char key[16];
        snprintf(key, sizeof key, "more %d", n);
        EXPECT(put_in_steps(s, key, (6 + (uint64_t)n % 10) * SHMS_PAGE - 200) == SHMS_OK);
    }
    EXPECT(put_in_steps(s, "1 MB", 1 << 20) == SHMS_OK);
    EXPECT(put_in_steps(s, "300 MB", 300 << 20) == SHMS_FULL);
    close_store(s);
    remove_segment();
}

int main(int argc, char **argv) {
    begin_scenario(argc, argv);
    half_free();
    full();
    expired();
    many_parts();
    return 0;
}
