/* create.c: how a segment becomes a store.
 *
 * CREATION  A new segment is all zero. The creator
 *   1 magic: 0 -> "SHMSINIT"          by compare-and-swap: from here on the segment is recognisably ours
 *   2 state: 0 -> initialising, by me likewise
 *   3 writes his identity, then everything else; the header's plain fields are written by one process alone,
 *     whoever is named in `state`
 *   4 state: -> ready                 by compare-and-swap: fails if somebody replaced him
 *   5 magic: -> "SHMSTORE"            release; pairs with the acquire load of whoever opens
 * CRASH  before 1: all zero, and the kernel names the creator (shm_cpid): once he is gone, an opener who would
 *   have made exactly this segment starts over; anybody else's zero segment is NotAStore. Between 1 and 4: the
 *   next opener proves the death, moves `state` to himself, removes the segment and makes one of his own, for the
 *   dead one's size and mode were the dead one's. Between 4 and 5: everything is written; the next opener writes
 *   the magic. Nothing is ever half open: until 5 there are no clients and no entries.
 * POSIX memory has no name until 5 is done (memory_posix.c): its creator's death leaves nothing, and nobody waits.
 * Openers wait in naps of a millisecond, up to their timeout; a stopped creator is named in the error. */
#include "segment/create.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#define BLANK_MAX 1000000000ull /* how long a living creator may leave a segment blank */

int shms_open_failed(struct shms_open_result *r, const char *what, int error) {
    r->error = error;
    snprintf(r->what, sizeof r->what, "%s", what);
    return SHMS_SYSTEM;
}

/* REQUIRES: state names me as initialising. Everything but magic and state. */
static bool initialise(struct shms_header *h, const struct shms_geometry *g, const struct shms_open_request *a,
                       const struct shms_identity *me, uint64_t word, uint32_t uid) {
    shms_store_relaxed(&h->creator_start, me->start_time);
    shms_store_release(&h->creator_word, word);
    h->format = SHMS_FORMAT_VERSION;
    h->header_size = SHMS_HEADER_SIZE;
    h->incompatible = h->read_compatible = h->compatible = 0;
    h->segment_size = g->size;
    h->created = shms_os_realtime();
    shms_os_other_namespaces(&h->creator_ipc_ns, &h->creator_time_ns);
    h->creator_pid_ns = me->pid_ns;
    h->creator_pid = me->pid;
    h->creator_uid = uid;
    h->name_kind = a->name_kind;
    h->name_length = a->name_length;
    memcpy((char *)h + SHMS_NAME_OFFSET, a->name, a->name_length);
    h->max_entries = g->max_entries;
    h->pin_bits_offset = g->pin_bits;
    h->clients_offset = g->clients;
    h->client_count = g->client_count;
    h->client_size = g->client_size;
    h->summary_offset = g->summary;
    h->due_offset = g->due;
    h->slots_offset = g->slots;
    h->bucket_count = g->bucket_count;
    h->hints_offset = g->hints;
    h->namespaces_offset = g->namespaces;
    h->namespace_count = g->namespace_count;
    h->arena_count = g->arena_count;
    h->arenas_offset = g->arenas;
    h->heap_offset = g->heap;
    h->arena_size = g->arena_size;
    uint64_t random[6];
    if (!shms_os_random(random, sizeof random))
        return false;
    memcpy(h->uuid, random, 16);
    memcpy(h->hash_key, random + 2, 16);
    h->sequence_multiplier = random[4] | 1;
    h->sequence_xor = random[5];
    for (uint32_t i = 0; i < g->arena_count; i++) {
        struct shms_arena *arena = (struct shms_arena *)((char *)h + g->arenas) + i;
        uint64_t base = g->heap + i * g->arena_size;
        shms_store_relaxed(&arena->base, base);
        shms_store_relaxed(&arena->end, base + g->arena_size);
        shms_store_relaxed(&arena->top, base);
        shms_store_relaxed(&arena->high, base);
        if (a->huge_page || a->prefault || a->lock_memory) /* what was asked for in advance is not given back */
            shms_store_relaxed(&arena->keep, g->arena_size);
    }
    return true;
}

enum shms_creation shms_create_or_wait(struct shms_store *s, const struct shms_geometry *g, int planned,
                              const struct shms_open_request *a, struct shms_open_result *r, const struct shms_memory_state *d, uint64_t waited) {
    struct shms_header *h = (struct shms_header *)s->base;
    struct shms_identity me;
    uint64_t magic = shms_load_acquire(&h->magic), state = shms_load_acquire(&h->state);
    bool can_write = !a->readonly && a->create != 2;
    if (magic == SHMS_MAGIC)
        return SHMS_OWNER_STATE(state) == SHMS_STATE_READY       ? SHMS_CREATION_READY
               : SHMS_OWNER_STATE(state) == SHMS_STATE_DESTROYED ? SHMS_CREATION_GONE
                                                               : SHMS_CREATION_FOREIGN;
    if (magic != 0 && magic != SHMS_MAGIC_INIT)
        return SHMS_CREATION_FOREIGN;
    shms_os_identity(&me);
    bool creator_gone = r->created || s->memory->creator_gone(s, d);
    uint32_t tag = shms_namespace_tag(me.pid_ns);
    if (magic == 0) {
        if (state != 0) /* its creator came between the two loads, unless this is no store */
            return shms_load_acquire(&h->magic) ? SHMS_CREATION_WAIT : SHMS_CREATION_FOREIGN;
        if (!r->created) {
            r->pid = d->creator;
            if (!creator_gone) /* he is about to write the magic, unless this is no store at all */
                return waited > BLANK_MAX ? SHMS_CREATION_FOREIGN : SHMS_CREATION_WAIT;
            if (!can_write || planned != SHMS_OK || d->size != g->size || d->trusted_uid != geteuid())
                return SHMS_CREATION_FOREIGN;
        }
        shms_cas_acq_rel(&h->magic, &magic, SHMS_MAGIC_INIT); /* somebody else may have: the same thing */
    }
    uint64_t mine = SHMS_OWNER(SHMS_OWNER_GENERATION(state) + 1, SHMS_STATE_INITIALISING, tag, me.pid);
    if (SHMS_OWNER_STATE(state) == SHMS_STATE_READY) { /* died between 4 and 5 */
        if (!a->readonly)
            shms_store_release(&h->magic, SHMS_MAGIC);
        return SHMS_CREATION_WAIT;
    }
    if (SHMS_OWNER_STATE(state) == SHMS_STATE_DESTROYED)
        return SHMS_CREATION_GONE;
    if (SHMS_OWNER_STATE(state) == SHMS_STATE_INITIALISING) {
        uint64_t start = shms_load_acquire(&h->creator_word) == state ? shms_load_relaxed(&h->creator_start) : 0;
        bool same_ids = SHMS_OWNER_TAG(state) == tag;
        r->pid = same_ids ? SHMS_OWNER_PID(state) : 0; /* of another pid namespace: here the number is somebody else's */
        /* Whoever makes a store is attached to it as long as he lives. */
        if (!(same_ids ? shms_os_process_life(r->pid, start) == SHMS_GONE : me.pid_ns && s->memory->only_me(s)))
            return SHMS_CREATION_WAIT;
    } else if (state != 0)
        return SHMS_CREATION_FOREIGN;
    else if (!creator_gone) {
        r->pid = d->creator;
        return SHMS_CREATION_WAIT; /* he is about to name himself */
    }
    if (!can_write)
        return SHMS_CREATION_WAIT;
    if (planned != SHMS_OK)
        return SHMS_CREATION_UNPLANNED;
    if (!shms_cas_acq_rel(&h->state, &state, mine)) {
        r->created = 0; /* somebody replaced us: the store will be his */
        return SHMS_CREATION_WAIT;
    }
    if (!r->created) {
        int error = s->memory->remove(s);
        if (error) {
            shms_open_failed(r, s->call, error);
            shms_cas_acq_rel(&h->state, &mine, state); /* not ours to remove: as it was */
            return SHMS_CREATION_FAILED;
        }
        shms_cas_acq_rel(&h->state, &mine, SHMS_OWNER_WITH_STATE(mine, SHMS_STATE_DESTROYED)); /* for who waits here */
        return SHMS_CREATION_GONE;
    }
    if (!initialise(h, g, a, &me, mine, d->trusted_uid)) {
        shms_open_failed(r, "getrandom", errno);
        return SHMS_CREATION_FAILED;
    }
    if (!shms_cas_acq_rel(&h->state, &mine, SHMS_OWNER_WITH_STATE(mine, SHMS_STATE_READY))) { /* [magic-last] */
        r->created = 0;
        return SHMS_CREATION_WAIT;
    }
    shms_store_release(&h->magic, SHMS_MAGIC); /* [magic-last] pairs with the acquire at the top of settle */
    r->created = 1;
    return SHMS_CREATION_READY;
}
