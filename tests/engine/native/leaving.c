/* leaving.c: a process that ends gives its place up, but not beneath a call that is inside: check and recover use it
 * without a record, and other handles share it. A call that was on its way in notices that, and makes the process a
 * client again. */
#include "harness.h"

int main(int argc, char **argv) {
    begin_scenario(argc, argv);
    struct shms_store *observer = open_store(1 << 20);
    struct shms_open_request wish = wish_for(0, ATTACH);
    struct shms_open_result found;
    int status;
    char what[200];
    wish.shares = 1;
    int64_t handle = shms_adopt(shms_open_begin(&wish, &found, &status));
    int64_t other = shms_adopt(shms_open_begin(&wish, &found, &status));
    struct shms_handle *inside = shms_handle_enter(other);
    EXPECT(inside && inside->s->me && inside->s == shms_handle_get(handle)->s);
    struct shms_client *place = inside->s->me;

    shms_leave(handle);
    EXPECT(inside->s->me == place && SHMS_OWNER_STATE(shms_load_relaxed(&place->owner)) == SHMS_CLIENT_LIVE);
    EXPECT(shms_w_check(handle, what, sizeof what) == SHMS_OK);
    shms_handle_leave(inside);

    shms_leave(handle);
    EXPECT(!inside->s->me && SHMS_OWNER_STATE(shms_load_relaxed(&place->owner)) == SHMS_CLIENT_FREE);
    EXPECT(shms_w_check(handle, what, sizeof what) == SHMS_FORKED);
    EXPECT(shms_usable(handle) == SHMS_OK && inside->s->me);
    EXPECT(shms_w_check(handle, what, sizeof what) == SHMS_OK);
    shms_close(handle);
    EXPECT(shms_w_check(other, what, sizeof what) == SHMS_OK);
    shms_close(other);
    expect_sound(observer);
    close_store(observer);
    return 0;
}
