/* create.c: how a segment becomes a store
 *
 * WRITER  A new segment is all zero. The creator does these steps:
 *   1 magic: 0 -> "SHMSINIT"          by compare-and-swap: from now on the segment is recognised as a store
 *   2 state: 0 -> initialising        by compare-and-swap, with its own process id
 *   3 writes its identity, then everything else. Only the process named in `state` writes the header's plain fields
 *   4 state: -> ready                 by compare-and-swap: fails if another process has replaced it
 *   5 magic: -> "SHMSTORE"            store with release [magic-last]
 * READER  An opener loads the magic. While it is not "SHMSTORE", the opener sleeps a millisecond and looks again, up to
 *   its timeout. The error names a creator that is stopped.
 * ORDERING [magic-last]  Step 5 pairs with the acquire load of the magic. An opener that sees "SHMSTORE" sees the whole
 *   header. Without it an opener could read offsets that are still zero.
 * CRASH
 *   before 1       The segment is all zero, and the kernel names its creator (shm_cpid). When that process is gone, an
 *                  opener that would have made exactly this segment removes it and makes another one. To any other
 *                  opener a zero segment is not a store.
 *   between 1 and 4  The next opener proves the death, moves `state` to itself, removes the segment and makes a new
 *                  one. It does not go on with the old one, whose size and mode the dead process chose.
 *   between 4 and 5  Everything is written. The next opener writes the magic.
 *   No store is ever half open: before 5 there are no clients and no entries.
 * LIMITS  This is for System V. A POSIX file has no name until 5 is done (memory_posix.c), so the death of its creator
 *   leaves nothing, and no opener waits. */
#include "segment/create.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#define BLANK_MAX 1000000000ull /* for how long a live creator may leave a segment blank */

int shms_open_failed(struct shms_open_result *r, const char *what, int error) {
    r->error = error;
    snprintf(r->what, sizeof r->what, "%s", what);
    return SHMS_SYSTEM;
}

static bool be_new(struct shms_header *h) {
    uint64_t random[6];
    if (!shms_os_random(random, sizeof random))
        return false;
    memcpy(h->uuid, random, 16);
    memcpy(h->hash_key, random + 2, 16);
    h->number_multiplier = random[4] | 1;
    h->number_xor = random[5];
    return true;
}

/* It is the same store, and versions of entries stay: no number is given out again, whatever the old segment still gives out
 * until it is superseded (resize.h). */
static void inherit(struct shms_header *h, const struct shms_header *old) {
    memcpy(h->uuid, old->uuid, sizeof h->uuid);
    memcpy(h->hash_key, old->hash_key, sizeof h->hash_key);
    h->number_multiplier = old->number_multiplier;
    h->number_xor = old->number_xor;
    h->created = old->created;
    shms_store_relaxed(&h->numbers, shms_load_relaxed(&old->numbers) + SHMS_NUMBERS_AHEAD);
    shms_store_relaxed(&h->has_expiry, shms_load_relaxed(&old->has_expiry));
    shms_store_relaxed(&h->has_kept, shms_load_relaxed(&old->has_kept));
    if (old->counters && old->counters <= SHMS_COUNTERS) { /* entries name them by their index */
        h->counters = old->counters;
        h->counters_of_namespaces = old->counters_of_namespaces;
    }
}

/* REQUIRES: `state` names this process as initialising. Writes everything but magic and state. A death inside leaves
 * `state`, and the next opener starts over. */
static bool initialise(struct shms_header *h, const struct shms_geometry *g, const struct shms_open_request *a,
                       const struct shms_identity *me, uint64_t word, uint32_t uid) {
    shms_store_relaxed(&h->creator_start, me->start_time);
    shms_store_release(&h->creator_word, word);
    h->format = SHMS_FORMAT_VERSION;
    h->header_size = SHMS_HEADER_SIZE;
    h->incompatible = h->read_compatible = h->compatible = 0;
    h->segment_size = g->segment_size;
    h->size = g->size;
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
    h->classes_offset = g->classes;
    h->page_bits_offset = g->page_bits;
    h->generations_offset = g->generations;
    h->counters = g->counters;
    h->counters_of_namespaces = g->counters_of_namespaces;
    h->ghosts_offset = g->ghosts;
    h->ghost_sets = g->ghost_sets;
    h->pages_offset = g->pages;
    h->heap_offset = g->heap;
    h->heap_pages = g->heap_pages;
    if (a->predecessor)
        inherit(h, a->predecessor);
    else if (!be_new(h))
        return false;
    if (a->huge_page || a->prefault || a->lock_memory) /* pages that were asked for in advance are not given back */
        shms_store_relaxed(&h->keep, g->heap_pages);
    return true;
}

enum shms_creation shms_create_or_wait(struct shms_store *s, const struct shms_geometry *g, int planned,
                                       const struct shms_open_request *a, struct shms_open_result *r,
                                       const struct shms_memory_state *d, uint64_t waited) {
    struct shms_header *h = (struct shms_header *)s->base;
    struct shms_identity me;
    uint64_t magic = shms_load_acquire(&h->magic), state = shms_load_acquire(&h->state);
    bool can_write = !a->readonly && a->create != 2;
    if (magic == SHMS_MAGIC)
        switch (SHMS_OWNER_STATE(state)) {
        case SHMS_STATE_READY:
            return SHMS_CREATION_READY;
        case SHMS_STATE_DESTROYED:
            return SHMS_CREATION_GONE;
        case SHMS_STATE_SUPERSEDED:
            return shms_load_acquire(&h->successor) ? SHMS_CREATION_SUPERSEDED : SHMS_CREATION_FOREIGN;
        default:
            return SHMS_CREATION_FOREIGN;
        }
    if (magic != 0 && magic != SHMS_MAGIC_INIT)
        return SHMS_CREATION_FOREIGN;
    shms_os_identity(&me);
    bool creator_gone = r->created || s->memory->creator_gone(s, d);
    uint32_t tag = shms_namespace_tag(me.pid_ns);
    if (magic == 0) {
        if (state != 0) /* the creator did step 1 between the two loads, or this is not a store: the magic tells */
            return shms_load_acquire(&h->magic) ? SHMS_CREATION_WAIT : SHMS_CREATION_FOREIGN;
        if (!r->created) {
            r->pid = d->creator;
            if (!creator_gone) /* the creator is about to write the magic, or this is not a store */
                return waited > BLANK_MAX ? SHMS_CREATION_FOREIGN : SHMS_CREATION_WAIT;
            if (!can_write || planned != SHMS_OK || d->size != g->segment_size || d->trusted_uid != geteuid())
                return SHMS_CREATION_FOREIGN;
        }
        shms_cas_acq_rel(&h->magic, &magic, SHMS_MAGIC_INIT); /* step 1; if another process did it, all the better */
    }
    uint64_t mine = SHMS_OWNER(SHMS_OWNER_GENERATION(state) + 1, SHMS_STATE_INITIALISING, tag, me.pid);
    if (SHMS_OWNER_STATE(state) == SHMS_STATE_READY) { /* a death between 4 and 5 */
        if (!a->readonly)
            shms_store_release(&h->magic, SHMS_MAGIC);
        return SHMS_CREATION_WAIT;
    }
    if (SHMS_OWNER_STATE(state) == SHMS_STATE_DESTROYED)
        return SHMS_CREATION_GONE;
    if (SHMS_OWNER_STATE(state) == SHMS_STATE_INITIALISING) {
        uint64_t start = shms_load_acquire(&h->creator_word) == state ? shms_load_relaxed(&h->creator_start) : 0;
        bool same_ids = SHMS_OWNER_TAG(state) == tag;
        r->pid = same_ids ? SHMS_OWNER_PID(state) : 0; /* in another pid namespace the number means another process */
        /* A creator is attached as long as it lives. So it is gone if this process alone is attached. */
        if (!(same_ids ? shms_os_process_life(r->pid, start) == SHMS_GONE : me.pid_ns && s->memory->only_me(s)))
            return SHMS_CREATION_WAIT;
    } else if (state != 0)
        return SHMS_CREATION_FOREIGN;
    else if (!creator_gone) {
        r->pid = d->creator;
        return SHMS_CREATION_WAIT; /* the creator is about to do step 2 */
    }
    if (!can_write)
        return SHMS_CREATION_WAIT;
    if (planned != SHMS_OK)
        return SHMS_CREATION_UNPLANNED;
    /* Step 2 of the creator, or the takeover by an opener: one process wins. */
    if (!shms_cas_acq_rel(&h->state, &state, mine)) {
        r->created = 0; /* another process was faster: the store will be its own */
        return SHMS_CREATION_WAIT;
    }
    if (!r->created) {
        int error = s->memory->remove(s);
        if (error) {
            shms_open_failed(r, s->call, error);
            shms_cas_acq_rel(&h->state, &mine, state); /* this process may not remove it: put the word back */
            return SHMS_CREATION_FAILED;
        }
        /* Openers that wait see this and begin again. */
        shms_cas_acq_rel(&h->state, &mine, SHMS_OWNER_WITH_STATE(mine, SHMS_STATE_DESTROYED));
        return SHMS_CREATION_GONE;
    }
    if (!initialise(h, g, a, &me, mine, d->trusted_uid)) {
        shms_open_failed(r, "getrandom", errno);
        return SHMS_CREATION_FAILED;
    }
    /* Step 4. It fails if an opener took this process for dead; then that opener removes the segment. */
    if (!shms_cas_acq_rel(&h->state, &mine, SHMS_OWNER_WITH_STATE(mine, SHMS_STATE_READY))) { /* [magic-last] */
        r->created = 0;
        return SHMS_CREATION_WAIT;
    }
    shms_store_release(&h->magic, SHMS_MAGIC); /* [magic-last] pairs with the first load of shms_create_or_wait */
    r->created = 1;
    return SHMS_CREATION_READY;
}
