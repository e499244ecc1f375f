/* half_seen.c: who opens reads the magic of a blank segment, and then its creator writes magic and state. What is read
 * is a store in the making, not something foreign. */
#include "harness.h"

#include "segment/create.h"
#include "segment/memory.h"

static struct shms_header *header;
static bool written;

static uint64_t load(const void *p, uint64_t value) {
    if (p == &header->magic && value == 0 && !written) { /* between the load of the magic and that of the state */
        written = true;
        shms_store_release(&header->magic, SHMS_MAGIC_INIT);
        shms_store_release(&header->state, SHMS_OWNER(1, SHMS_STATE_INITIALISING, 0, getpid()));
    }
    return value;
}

#undef shms_load_acquire
#define shms_load_acquire(p) load((p), atomic_load_explicit((p), memory_order_acquire))
#include "segment/create.c"

int main(int argc, char **argv) {
    begin_scenario(argc, argv);
    struct shms_open_request wish = wish_for(1 << 20, ATTACH);
    struct shms_geometry g;
    struct shms_open_result found = {0};
    struct shms_memory_state state;
    struct shms_store *s = calloc(1, sizeof *s);
    EXPECT(shms_geometry_plan(wish.size, 0, 0, false, SHMS_PAGE, &g) == SHMS_OK);
    shms_memory_choose(s, &wish);
    s->id = shmget(scenario_key, wish.size, IPC_CREAT | IPC_EXCL | 0600);
    s->base = shmat(s->id, NULL, 0);
    header = (struct shms_header *)s->base;
    EXPECT(s->base != (void *)-1 && s->memory->state(s, &state) == 0);
    EXPECT(shms_create_or_wait(s, &g, SHMS_OK, &wish, &found, &state, 0) == SHMS_CREATION_WAIT && written);
    shms_store_release(&header->magic, 0); /* and this is nobody's: a state, and no magic */
    EXPECT(shms_create_or_wait(s, &g, SHMS_OK, &wish, &found, &state, 0) == SHMS_CREATION_FOREIGN);
    shmdt(s->base);
    free(s);
    return 0;
}
