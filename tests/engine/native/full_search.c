/* The only free run that is large enough stands behind thousands of smaller ones in its list. It is found before the
 * store says that it is full. */
#include "harness.h"

#define RUNS 5000

static char *name(char kind, int i) {
    static char text[16];
    snprintf(text, sizeof text, "%c%06d", kind, i);
    return text;
}

/* A block of exactly `bytes`. */
static int put_block(struct shms_store *s, const char *key, uint64_t bytes) {
    return put(s, key, 'A', bytes - SHMS_BLOCK_HEADER - strlen(key));
}

int main(int argc, char **argv) {
    begin_scenario(argc, argv);
    struct shms_store *s = open_store(16 << 20);
    int n = 0;
    EXPECT(put_block(s, name('l', 0), 1072) == SHMS_OK); /* 1024 to 1072 bytes share a list */
    EXPECT(put_block(s, name('s', RUNS), 48) == SHMS_OK);
    for (int i = 0; i < RUNS; i++) {
        EXPECT(put_block(s, name('r', i), 1024) == SHMS_OK);
        EXPECT(put_block(s, name('s', i), 48) == SHMS_OK); /* keeps its neighbours apart */
    }
    uint64_t sizes[] = {1 << 20, 65536, 4096 - 16, 1072, 512, 48};
    for (int i = 0; i < 6; i++)
        while (put_block(s, name('f', n), sizes[i]) == SHMS_OK)
            n++;
    EXPECT(drop(s, name('l', 0)) == SHMS_OK);
    for (int i = 0; i < RUNS; i++)
        EXPECT(drop(s, name('r', i)) == SHMS_OK);
    EXPECT(put_block(s, name('l', 1), 1072) == SHMS_OK);
    EXPECT(put_block(s, name('l', 2), 1072) == SHMS_FULL);
    expect_sound(s);
    return 0;
}
