/* incr keeps the time to live of the counter. It is held up by a busy bucket before it sees the counter; meanwhile the
 * counter is deleted. When incr goes on it begins a new counter, which must not inherit the old one's expiry. */
#include "harness.h"
#include "base/number.h"

static void put_five(struct shms_store *s, uint64_t expiry) {
    struct shms_op op;
    EXPECT(shms_op_begin(s, &op, "n", 1, 0) == SHMS_OK);
    EXPECT(shms_op_reserve(&op, 1, SHMS_CODEC_MSGPACK, NULL, 0, expiry) == SHMS_OK);
    *op.value = 5;
    EXPECT(shms_op_publish(&op, SHMS_SET, 0) == SHMS_OK);
    shms_op_end(&op);
}

int main(int argc, char **argv) {
    begin_scenario(argc, argv);
    struct shms_store *s = open_store(1 << 20), *other = open_store(0);
    struct shms_entry f;
    struct shms_op op;
    uint64_t seen, soon = shms_os_now() + 3600 * SECOND;
    put_five(s, soon);

    /* Undisturbed, it keeps it. */
    EXPECT(shms_op_begin(s, &op, "n", 1, 0) == SHMS_OK);
    op.keep_expiry = true;
    EXPECT(shms_op_reserve(&op, SHMS_NUMBER_MAX, SHMS_CODEC_MSGPACK, NULL, 0, 0) == SHMS_OK);
    op.number = 2;
    EXPECT(shms_op_publish(&op, SHMS_INCR, 0) == SHMS_OK && op.number == 7);
    shms_op_end(&op);
    EXPECT(find(s, "n", &f) == SHMS_OK && f.expiry == soon);

    EXPECT(shms_op_begin(s, &op, "n", 1, 0) == SHMS_OK);
    op.keep_expiry = true;
    EXPECT(shms_op_reserve(&op, SHMS_NUMBER_MAX, SHMS_CODEC_MSGPACK, NULL, 0, 0) == SHMS_OK);
    op.number = 1;
    op.initial = 100;
    _Atomic uint64_t *home = &s->buckets[op.key.home].lock;
    EXPECT(shms_lock_try(other, home, 10, &seen));
    EXPECT(shms_op_publish(&op, SHMS_INCR, 0) == SHMS_BUSY);
    shms_unlock(other, home);
    EXPECT(drop(other, "n") == SHMS_OK);
    op.number = 1;
    EXPECT(shms_op_publish(&op, SHMS_INCR, 0) == SHMS_OK && op.number == 101);
    shms_op_end(&op);
    EXPECT(find(s, "n", &f) == SHMS_OK && f.expiry == 0);
    expect_sound(s);
    return 0;
}
