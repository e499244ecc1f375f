/* Before SHMS_FULL, a put looks at what could serve it: at every block that is large enough, also if its hint is lost, and
 * at spans of smaller blocks only until it finds one in use. Counted are the steps, of 4,096 looks each. */
#include "harness.h"

enum { SMALL = 40000 };

static uint64_t steps(struct shms_store *s, uint64_t bytes) {
    struct shms_room room = {.bytes = bytes, .part = SHMS_ROOM_OF_HINTS};
    uint64_t count = 1;
    while (shms_make_room(s, &room) == SHMS_AGAIN)
        count++;
    return count;
}

/* As after the death of a process that kept these blocks for itself. */
static void lose_hints(struct shms_store *s) {
    for (uint64_t page = 0; page < shms_pages_high(s); page++) {
        struct shms_span span;
        if (shms_span_at(s, page, &span))
            for (int half = 0; half < 2; half++)
                shms_store_relaxed(&s->pages[page].map[half], 0);
    }
    memset(s->own, 0, sizeof s->own);
}

int main(int argc, char **argv) {
    begin_scenario(argc, argv);
    struct shms_store *s = open_store(8 << 20);
    char key[16];
    EXPECT(put(s, "large", 1, 5000) == SHMS_OK && put(s, "keeps its span", 1, 5000) == SHMS_OK);
    for (int i = 0; i < SMALL; i++) {
        snprintf(key, sizeof key, "%d", i);
        EXPECT(put(s, key, 1, 10) == SHMS_OK);
    }
    int rc = SHMS_OK;
    for (int i = 0; rc == SHMS_OK; i++) {
        snprintf(key, sizeof key, "f%d", i);
        rc = put(s, key, 1, 100000);
    }
    for (int i = 0; rc == SHMS_FULL && i < 1000; i++) {
        snprintf(key, sizeof key, "g%d", i);
        if (put(s, key, 1, 5000) != SHMS_OK)
            break;
    }
    for (int i = 0; i < SMALL; i += 2) {
        snprintf(key, sizeof key, "%d", i);
        EXPECT(drop(s, key) == SHMS_OK);
    }
    EXPECT(steps(s, 0) >= SMALL / 4096); /* every block */
    EXPECT(steps(s, 5000) <= 3);         /* a look or two at each span of the small ones */
    EXPECT(drop(s, "large") == SHMS_OK);
    lose_hints(s);
    EXPECT(put(s, "new", 1, 5000) == SHMS_FULL);
    steps(s, 5000);
    EXPECT(put(s, "new", 1, 5000) == SHMS_OK); /* in the block of "large", whose hint was lost */

    for (int i = 1; i < SMALL; i += 2) { /* now the spans of small blocks are empty, and nobody noticed */
        snprintf(key, sizeof key, "%d", i);
        struct shms_op op;
        shms_store_relaxed(&s->is_closing, 1);
        EXPECT(shms_op_begin(s, &op, key, (uint32_t)strlen(key), 0) == SHMS_OK && shms_op_remove(&op, 0) == SHMS_OK);
        shms_op_end(&op);
        shms_store_relaxed(&s->is_closing, 0);
    }
    EXPECT(put(s, "huge", 1, 1 << 20) == SHMS_FULL);
    steps(s, 1 << 20);
    EXPECT(put(s, "huge", 1, 1 << 20) == SHMS_OK);
    expect_sound(s);
    close_store(s);
    return 0;
}
