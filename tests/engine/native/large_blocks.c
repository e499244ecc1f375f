/* Blocks around and above four gigabytes, whose boundary tags count pages, in a sparse store of 32 GiB. Their values
 * are never written, so hardly any of it is ever there. */
#include "harness.h"

#include <errno.h>

#define STORE (32ull << 30)
#define NAMES 12
#define STEPS 400

static uint64_t state = 7;
static uint64_t random_below(uint64_t n) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return (state >> 33) % n;
}

/* A block of `bytes`; what it got in *got. */
static int reserve_and_publish(struct shms_store *s, const char *key, uint64_t bytes, uint64_t *got) {
    struct shms_op op;
    EXPECT(shms_op_begin(s, &op, key, 1, 0) == SHMS_OK);
    int rc = shms_op_reserve(&op, bytes - SHMS_BLOCK_HEADER - 1 - (SHMS_LINE - 1), SHMS_CODEC_RAW, NULL, 0, 0);
    if (rc == SHMS_OK) {
        *got = shms_arena_block_size(s, shms_arena_of(s, op.block), op.block);
        EXPECT(op.asked == bytes);
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

/* A free run that is larger than asked by less than a block: such a rest cannot come along with a block that counts its
 * pages, so that run is not taken. */
static void a_rest_too_small(struct shms_store *s) {
    const uint64_t asked = 5ull << 30;
    uint64_t got;
    for (uint64_t rest = 0; rest <= 2 * SHMS_BLOCK_MIN; rest += SHMS_GRANULE) {
        EXPECT(reserve_and_publish(s, "a", 3ull << 30, &got) == SHMS_OK);
        EXPECT(reserve_and_publish(s, "b", (2ull << 30) + rest, &got) == SHMS_OK);
        EXPECT(put(s, "c", 1, 7) == SHMS_OK);
        EXPECT(drop(s, "a") == SHMS_OK && drop(s, "b") == SHMS_OK);
        EXPECT(reserve_and_publish(s, "d", asked, &got) == SHMS_OK && got == asked);
        expect_sound(s);
        EXPECT(drop(s, "d") == SHMS_OK && drop(s, "c") == SHMS_OK);
        expect_sound(s);
    }
}

int main(int argc, char **argv) {
    begin_scenario(argc, argv);
    if (!machine_permits()) {
        fprintf(stderr, "no segment of 32 GiB: %s\n", strerror(errno));
        return CANNOT_TELL;
    }
    struct shms_store *s = open_store(STORE);
    a_rest_too_small(s);
    const uint64_t large = SHMS_LARGE_FROM, page = SHMS_PAGE;
    const uint64_t sizes[] = {large - page,      large - 32,       large - 16,   large - 1,        large,
                              large + 1,         large + page - 1, large + page, large + page + 1, 5ull << 30,
                              (5ull << 30) + 16, 9ull << 30,       1ull << 30,   48 << 20,         8192};
    uint64_t have[NAMES] = {0}, got;
    int above = 0, full = 0;
    EXPECT(s->arena_size > 9ull << 30);
    for (int step = 0; step < STEPS; step++) {
        int i = (int)random_below(NAMES);
        char key[2] = {(char)('a' + i), 0};
        if (random_below(3) == 0) {
            EXPECT(drop(s, key) == (have[i] ? SHMS_OK : SHMS_MISS));
            have[i] = 0;
        } else {
            uint64_t asked = sizes[random_below(sizeof sizes / sizeof *sizes)], capacity = shms_arena_capacity(asked);
            int rc = reserve_and_publish(s, key, asked, &got);
            EXPECT(rc == SHMS_OK || rc == SHMS_FULL);
            full += rc == SHMS_FULL;
            if (rc == SHMS_OK) {
                /* Pages above the boundary, granules below it, where a rest too small for a block comes along. */
                EXPECT(asked >= large ? got == capacity : got >= capacity && got < capacity + SHMS_BLOCK_MIN);
                above += got > large;
                have[i] = got;
            }
        }
        uint64_t used = 0, stated = 0;
        for (int k = 0; k < NAMES; k++)
            used += have[k];
        for (uint32_t a = 0; a < s->arena_count; a++)
            stated += shms_load_relaxed(&s->arenas[a].used);
        EXPECT(used == stated);
        expect_sound(s);
        if (step % 50 == 0)
            for (uint32_t a = 0; a < s->arena_count; a++) {
                uint64_t seen;
                EXPECT(shms_arena_enter(s, a, 10, &seen));
                EXPECT(shms_rebuild(s, a) == SHMS_OK);
                shms_arena_leave(s, a);
            }
    }
    EXPECT(above > 20 && full > 5);
    return 0;
}
