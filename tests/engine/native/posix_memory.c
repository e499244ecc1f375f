/* memory_posix.c, descriptor.c: a store in /dev/shm and a private one: made, found, written by two, locked into memory,
 * prefaulted, and removed. What other scenarios tell of System V memory they need not tell again; this one goes through the
 * calls that only POSIX memory makes, with every C library that it is built with. */
#include <errno.h>

#include "harness.h"
#include "segment/memory.h"

static char object[64], path[96];

static void remove_object(void) {
    if (getpid() == scenario_pid)
        unlink(path);
}

static struct shms_store *open_posix(uint64_t size, bool named, bool prefault) {
    struct shms_store *s = calloc(1, sizeof *s);
    struct shms_open_request wish = wish_for(size, size ? CREATE : ATTACH);
    struct shms_open_result found;
    wish.backend = SHMS_BACKEND_POSIX;
    wish.object = named ? object : NULL;
    wish.name_kind = named ? 2 : 4;
    wish.prefault = prefault;
    wish.lock_memory = prefault;
    int rc = shms_open(s, &wish, &found);
    if (rc == SHMS_SYSTEM && found.error == EACCES)
        exit(CANNOT_TELL);
    if (rc == SHMS_SYSTEM && !strcmp(found.what, "mlock")) { /* as many bytes as this user may lock */
        fprintf(stderr, "memory may not be locked here\n");
        exit(CANNOT_TELL);
    }
    EXPECT(rc == SHMS_OK);
    s->fork_epoch = shms_fork_epoch;
    shms_attachments_add(s);
    return s;
}

static void both_write(struct shms_store *a, struct shms_store *b) {
    struct shms_entry f;
    for (int i = 0; i < 100; i++) {
        char key[16];
        snprintf(key, sizeof key, "key %d", i);
        EXPECT(put(i & 1 ? a : b, key, i, 5000) == SHMS_OK);
        EXPECT(find(i & 1 ? b : a, key, &f) == SHMS_OK);
    }
    expect_sound(a);
    expect_sound(b);
}

int main(int argc, char **argv) {
    struct shms_memory_state state;
    begin_scenario(argc, argv);
    snprintf(object, sizeof object, "shmstore-native-%d", scenario_key);
    snprintf(path, sizeof path, "/dev/shm/%s", object);
    atexit(remove_object);

    struct shms_store *a = open_posix(1 << 20, true, false), *b = open_posix(0, true, false);
    both_write(a, b);
    EXPECT(a->memory->attached(a) == 2 && a->memory->state(a, &state) == 0);
    EXPECT(a->header->size == 1 << 20 && state.size == a->header->segment_size && state.size > 1 << 20 &&
           state.mode == 0600 && !state.removed);
    EXPECT(a->memory->marked(a, b->number, SHMS_OWNER_GENERATION(b->owner)) == 1);
    close_store(b);
    EXPECT(a->memory->attached(a) == 1);
    EXPECT(shms_destroy(a) == SHMS_OK && access(path, F_OK) != 0 && errno == ENOENT);
    close_store(a);

    a = open_posix(1 << 20, true, true);
    uint8_t there[4096];
    uint64_t pages = a->size / SHMS_PAGE;
    EXPECT(pages <= sizeof there && a->memory->resident(a, 0, pages, there) && all_are(there, 1, pages));
    EXPECT(shms_destroy(a) == SHMS_OK);
    close_store(a);

    a = open_posix(1 << 20, false, false); /* private: sealed against being made shorter */
    EXPECT(ftruncate(a->fd, 4096) != 0 && errno == EPERM);
    EXPECT(put(a, "key", 7, 1000) == SHMS_OK);
    expect_sound(a);
    close_store(a);
    return 0;
}
