/* Blocks around and above four gigabytes, in a sparse store of 32 GiB. Their values are never written, so hardly any of
 * it is ever there. */
#include "harness.h"

#include <errno.h>

#define STORE (32ull << 30)
#define NAMES 12
#define STEPS 100

static uint64_t state = 7;
static uint64_t random_below(uint64_t n) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return (state >> 33) % n;
}

/* A block of at least `bytes`; what it got in *got. */
static int reserve_and_publish(struct shms_store *s, const char *key, uint64_t bytes, uint64_t *got) {
    struct shms_op op;
    EXPECT(shms_op_begin(s, &op, key, 1, 0) == SHMS_OK);
    int rc = shms_op_reserve(&op, bytes - SHMS_BLOCK_HEADER - 1 - (SHMS_LINE - 1), SHMS_CODEC_RAW, NULL, 0, 0);
    if (rc == SHMS_OK) {
        *got = shms_heap_capacity(s, op.block);
        EXPECT(op.value + op.value_length <= s->base + op.block + *got);
        rc = shms_op_publish(&op, SHMS_SET, 0);
    }
    shms_op_end(&op);
    return rc;
}

static bool machine_permits(void) {
    int id = shmget(IPC_PRIVATE, STORE, IPC_CREAT | SHM_NORESERVE | 0600);
    if (id >= 0)
        shmctl(id, IPC_RMID, NULL);
    return id >= 0;
}

int main(int argc, char **argv) {
    begin_scenario(argc, argv);
    if (!machine_permits()) {
        fprintf(stderr, "no segment of 32 GiB: %s\n", strerror(errno));
        return CANNOT_TELL;
    }
    struct shms_store *s = open_store(STORE);
    const uint64_t large = 4ull << 30, page = SHMS_PAGE;
    const uint64_t sizes[] = {large - page,      large - 1,  large,      large + 1, large + page, 5ull << 30,
                              (5ull << 30) + 16, 9ull << 30, 1ull << 30, 48 << 20,  8192,         8193};
    uint64_t have[NAMES] = {0}, got;
    int above = 0, full = 0;
    for (int step = 0; step < STEPS; step++) {
        int i = (int)random_below(NAMES);
        char key[2] = {(char)('a' + i), 0};
        if (random_below(3) == 0) {
            EXPECT(drop(s, key) == (have[i] ? SHMS_OK : SHMS_MISS));
            have[i] = 0;
        } else {
            uint64_t asked = sizes[random_below(sizeof sizes / sizeof *sizes)];
            int rc = reserve_and_publish(s, key, asked, &got);
            EXPECT(rc == SHMS_OK || rc == SHMS_FULL);
            full += rc == SHMS_FULL;
            if (rc == SHMS_OK) {
                EXPECT(got == (asked > SHMS_SMALL_MAX ? SHMS_ALIGN_UP(asked, page) : SHMS_SMALL_MAX));
                above += got > large;
                have[i] = got;
            }
        }
        uint64_t used = 0, taken = 0;
        for (int k = 0; k < NAMES; k++) {
            used += have[k];
            taken += have[k] != 0;
        }
        EXPECT(counted(s, SHMS_USED_BYTES) == used && counted(s, SHMS_USED_BLOCKS) == taken);
        if (step % 10 == 0) {
            expect_sound(s);
            EXPECT(census_of(s).alive == taken);
        }
    }
    EXPECT(above > 10 && full > 5);
    for (int i = 0; i < NAMES; i++) {
        char key[2] = {(char)('a' + i), 0};
        drop(s, key);
    }
    expect_empty(s);
    return 0;
}
