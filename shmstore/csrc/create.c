/* create.c: creation, opening and the end of a store.
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
#include "create.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "api.h"
#include "lock.h"
#include "memory.h"
#include "recover.h"

#define NAP 1000000ull
#define BLANK_PATIENCE 1000000000ull /* how long a living creator may leave a segment blank */

static int failed(struct shms_open_found *r, const char *what, int error) {
    r->error = error;
    snprintf(r->what, sizeof r->what, "%s", what);
    return SHMS_SYSTEM;
}

static int corrupt(struct shms_open_found *r, const char *what) {
    snprintf(r->what, sizeof r->what, "%s", what);
    return SHMS_CORRUPT;
}

/* REQUIRES: state names me as initialising. Everything but magic and state. */
static bool initialise(struct shms_header *h, const struct shms_geometry *g, const struct shms_open_wish *a,
                       const struct shms_identity *me, uint64_t who, uint32_t uid) {
    shms_store_relaxed(&h->creator_start, me->start_time);
    shms_store_release(&h->creator_who, who);
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

enum settled { SETTLED_READY, SETTLED_WAIT, SETTLED_GONE, SETTLED_FOREIGN, SETTLED_UNPLANNED, SETTLED_FAILED };

/* Looks at an attached segment once, and initialises it if that is for us to do. planned: whether *g is something. */
static enum settled settle(struct shms_store *s, const struct shms_geometry *g, int planned, const struct shms_open_wish *a,
                           struct shms_open_found *r, const struct shms_memory_state *d, uint64_t waited) {
    struct shms_header *h = (struct shms_header *)s->base;
    struct shms_identity me;
    uint64_t magic = shms_load_acquire(&h->magic), state = shms_load_acquire(&h->state);
    bool can_write = !a->readonly && a->create != 2;
    if (magic == SHMS_MAGIC)
        return SHMS_WHO_STATE(state) == SHMS_STATE_READY       ? SETTLED_READY
               : SHMS_WHO_STATE(state) == SHMS_STATE_DESTROYED ? SETTLED_GONE
                                                               : SETTLED_FOREIGN;
    if (magic != 0 && magic != SHMS_MAGIC_INIT)
        return SETTLED_FOREIGN;
    shms_os_identity(&me);
    bool creator_gone = r->created || s->memory->creator_gone(s, d);
    uint32_t tag = shms_namespace_tag(me.pid_ns);
    if (magic == 0) {
        if (state != 0)
            return SETTLED_FOREIGN;
        if (!r->created) {
            r->pid = d->creator;
            if (!creator_gone) /* he is about to write the magic, unless this is no store at all */
                return waited > BLANK_PATIENCE ? SETTLED_FOREIGN : SETTLED_WAIT;
            if (!can_write || planned != SHMS_OK || d->size != g->size || d->trusted_uid != geteuid())
                return SETTLED_FOREIGN;
        }
        shms_cas_acq_rel(&h->magic, &magic, SHMS_MAGIC_INIT); /* somebody else may have: the same thing */
    }
    uint64_t mine = SHMS_WHO(SHMS_WHO_GENERATION(state) + 1, SHMS_STATE_INITIALISING, tag, me.pid);
    if (SHMS_WHO_STATE(state) == SHMS_STATE_READY) { /* died between 4 and 5 */
        if (!a->readonly)
            shms_store_release(&h->magic, SHMS_MAGIC);
        return SETTLED_WAIT;
    }
    if (SHMS_WHO_STATE(state) == SHMS_STATE_DESTROYED)
        return SETTLED_GONE;
    if (SHMS_WHO_STATE(state) == SHMS_STATE_INITIALISING) {
        r->pid = SHMS_WHO_PID(state);
        uint64_t start = shms_load_acquire(&h->creator_who) == state ? shms_load_relaxed(&h->creator_start) : 0;
        if (SHMS_WHO_TAG(state) != tag || shms_os_process_life(r->pid, start) != SHMS_GONE)
            return SETTLED_WAIT;
    } else if (state != 0)
        return SETTLED_FOREIGN;
    else if (!creator_gone) {
        r->pid = d->creator;
        return SETTLED_WAIT; /* he is about to name himself */
    }
    if (!can_write)
        return SETTLED_WAIT;
    if (planned != SHMS_OK)
        return SETTLED_UNPLANNED;
    if (!shms_cas_acq_rel(&h->state, &state, mine)) {
        r->created = 0; /* somebody replaced us: the store will be his */
        return SETTLED_WAIT;
    }
    if (!r->created) {
        int error = s->memory->remove(s);
        if (error) {
            failed(r, s->call, error);
            shms_cas_acq_rel(&h->state, &mine, state); /* not ours to remove: as it was */
            return SETTLED_FAILED;
        }
        shms_cas_acq_rel(&h->state, &mine, SHMS_WHO_WITH_STATE(mine, SHMS_STATE_DESTROYED)); /* for who waits here */
        return SETTLED_GONE;
    }
    if (!initialise(h, g, a, &me, mine, d->trusted_uid)) {
        failed(r, "getrandom", errno);
        return SETTLED_FAILED;
    }
    if (!shms_cas_acq_rel(&h->state, &mine, SHMS_WHO_WITH_STATE(mine, SHMS_STATE_READY))) { /* [magic-last] */
        r->created = 0;
        return SETTLED_WAIT;
    }
    shms_store_release(&h->magic, SHMS_MAGIC); /* [magic-last] pairs with the acquire at the top of settle */
    r->created = 1;
    return SETTLED_READY;
}

/* The store is ready: is it the one that is wanted? */
static int compare(const struct shms_header *h, const struct shms_geometry *g, const struct shms_open_wish *a,
                   struct shms_open_found *r, const struct shms_memory_state *d) {
    r->format = h->format;
    r->incompatible = h->incompatible;
    r->read_compatible = h->read_compatible;
    r->name_kind = h->name_kind;
    r->name_length = *(volatile const uint32_t *)&h->name_length; /* once: it may change between test and use */
    if (r->name_length > SHMS_NAME_MAX)
        r->name_length = 0;
    memcpy(r->name, (const char *)h + SHMS_NAME_OFFSET, r->name_length);
    r->size = h->segment_size;
    r->max_entries = h->max_entries;
    r->mode = d->mode;
    if (h->format != SHMS_FORMAT_VERSION || (h->incompatible & ~SHMS_KNOWN_INCOMPATIBLE))
        return SHMS_FORMAT;
    if (a->name_kind != 2 && (h->name_kind != a->name_kind || r->name_length != a->name_length ||
                              memcmp(r->name, a->name, a->name_length) != 0))
        return SHMS_COLLISION;
    if (a->uuid_given && memcmp(a->uuid, h->uuid, 16) != 0)
        return SHMS_NOT_FOUND;
    if (a->create == 1 && !r->created)
        return SHMS_EXISTS;
    if (r->created)
        return SHMS_OK;
    const char *differs = a->size_given && r->size != g->size                       ? "size"
                          : a->entries_given && r->max_entries != a->max_entries ? "max_entries"
                          : a->mode_given && r->mode != a->mode                     ? "mode"
                                                                                    : NULL;
    if (differs) {
        snprintf(r->what, sizeof r->what, "%s", differs);
        return SHMS_MISMATCH;
    }
    return SHMS_OK;
}

/* Finds the memory, or makes it: SHMS_OK, or a status; SHMS_AGAIN: somebody was faster. */
static int find_memory(struct shms_store *s, const struct shms_geometry *g, const struct shms_open_wish *a,
                       struct shms_open_found *r) {
    int error = s->memory->find(s, a);
    r->id = s->id;
    if (error == 0)
        return SHMS_OK;
    if (error == ENOEXEC)
        return SHMS_NOT_A_STORE;
    if (error != ENOENT)
        return failed(r, s->call, error);
    if (a->create == 2 || a->readonly)
        return SHMS_NOT_FOUND;
    error = s->memory->make(s, a, g->size);
    r->id = s->id;
    if (error == EEXIST)
        return SHMS_AGAIN;
    if (error)
        return failed(r, s->call, error);
    r->created = 1;
    return SHMS_OK;
}

/* What was asked for beyond a place to write to. */
static int favours(struct shms_store *s, const struct shms_open_wish *a, struct shms_open_found *r) {
    int error = a->prefault ? shms_memory_prefault(s) : 0;
    if (error == 0 && a->lock_memory)
        error = s->memory->lock(s);
    return error ? failed(r, s->call, error) : SHMS_OK;
}

/* What the creator will write to has its pages before. */
static int prepare(struct shms_store *s, const struct shms_geometry *g, const struct shms_open_wish *a,
                   struct shms_open_found *r) {
    if (!shms_commit(s, 0, g->pin_bits + (g->client_count + 63) / 64 * 8) ||
        !shms_commit(s, g->arenas, g->arena_count * sizeof(struct shms_arena)))
        return failed(r, "fallocate", s->short_of);
    return favours(s, a, r);
}

static int attach(struct shms_store *s, const struct shms_memory_state *d, const struct shms_open_wish *a,
                  struct shms_open_found *r) {
    bool only_read;
    int rc = shms_segment_view(s, s->base, d->size, &only_read);
    if (rc != SHMS_OK)
        return rc == SHMS_CORRUPT ? corrupt(r, "a size or offset in the header") : rc;
    s->readonly = a->readonly || only_read;
    r->only_read = only_read;
    memcpy(r->uuid, s->uuid, sizeof r->uuid);
    shms_store_relaxed(&s->looked_at, shms_os_now_coarse());
    if (!r->created && (rc = favours(s, a, r)) != SHMS_OK)
        return rc;
    if (s->readonly) {
        shms_os_identity(&s->identity);
        return SHMS_OK;
    }
    if ((rc = shms_client_claim(s)) != SHMS_OK)
        return rc;
    s->sweep_cursor = s->identity.pid;
    shms_recover_all(s, true);
    return SHMS_OK;
}

/* What is open now goes; so does what was made and turned out to be of no use (a mode that keeps its maker out, no
 * right to lock it). */
static int give_up(struct shms_store *s, struct shms_open_found *r, int rc) {
    if (r->created && rc == SHMS_SYSTEM)
        s->memory->remove(s);
    shms_detach(s);
    return rc;
}

static bool exists(struct shms_store *s, const struct shms_open_wish *a) {
    bool found = s->memory->find(s, a) == 0;
    s->memory->unmap(s);
    return found;
}

static int too_small(const struct shms_open_wish *a, struct shms_open_found *r, int planned) {
    r->minimum = shms_geometry_least(a->max_entries);
    return planned;
}

int shms_open(struct shms_store *s, const struct shms_open_wish *a, struct shms_open_found *r) {
    struct shms_geometry g;
    uint64_t start = shms_os_now();
    memset(r, 0, sizeof *r);
    int planned = shms_geometry_plan(a->huge_page ? SHMS_ALIGN_UP(a->size, a->huge_page) : a->size, a->max_entries, &g);
    for (bool patient = true; patient; shms_os_nap(NAP)) {
        uint64_t waited = shms_os_now() - start;
        patient = waited < a->timeout;
        struct shms_memory_state d;
        shms_memory_choose(s, a);
        if (planned != SHMS_OK && a->create != 2 && (a->create == 1 || !exists(s, a)))
            return too_small(a, r, planned);
        r->created = 0;
        int rc = find_memory(s, &g, a, r);
        if (rc == SHMS_AGAIN)
            continue;
        if (rc != SHMS_OK)
            return give_up(s, r, rc);
        int error = s->memory->state(s, &d);
        if (error)
            return give_up(s, r, failed(r, s->call, error));
        if (d.removed) {
            shms_detach(s);
            continue;
        }
        r->uid = d.trusted_uid;
        r->size = d.size;
        r->mode = d.mode;
        if (a->owner != -2 && r->uid != geteuid() && r->uid != 0 && (int64_t)r->uid != a->owner)
            return give_up(s, r, SHMS_FOREIGN);
        if (r->size < SHMS_HEADER_SIZE)
            return give_up(s, r, SHMS_NOT_A_STORE);
        error = s->memory->map(s, a, d.size, r->created);
        if (error == EINVAL || error == EIDRM) {
            shms_detach(s);
            continue;
        }
        if (error)
            return give_up(s, r, error == ENOEXEC ? SHMS_NOT_A_STORE : failed(r, s->call, error));
        if (r->created && (rc = prepare(s, &g, a, r)) != SHMS_OK)
            return give_up(s, r, rc);
        switch (settle(s, &g, planned, a, r, &d, waited)) {
        case SETTLED_READY:
            error = r->created ? s->memory->publish(s, a) : 0;
            if (error == EEXIST) {
                shms_detach(s);
                continue;
            }
            if (error)
                return give_up(s, r, failed(r, s->call, error));
            rc = compare((struct shms_header *)s->base, &g, a, r, &d);
            if (rc == SHMS_OK && (rc = attach(s, &d, a, r)) == SHMS_OK && (rc = shms_look(s)) == SHMS_OK)
                return SHMS_OK;
            if (rc == SHMS_DESTROYED) { /* somebody removed it under our hands */
                shms_detach(s);
                continue;
            }
            return give_up(s, r, rc);
        case SETTLED_FOREIGN:
            return give_up(s, r, SHMS_NOT_A_STORE);
        case SETTLED_UNPLANNED:
            shms_detach(s);
            return too_small(a, r, planned);
        case SETTLED_FAILED:
            shms_detach(s);
            return SHMS_SYSTEM;
        case SETTLED_GONE:
        case SETTLED_WAIT:
            shms_detach(s);
        }
    }
    return a->create == 2 || a->readonly ? SHMS_NOT_FOUND : SHMS_TIMEOUT;
}

void shms_detach(struct shms_store *s) {
    shms_client_release(s);
    s->memory->unmap(s);
}

static void wake_everybody(struct shms_store *s) {
    for (uint64_t page = 0; (page = shms_next_page_in_use(s, page)) < s->table_pages; page++) {
        uint64_t last = shms_min((page + 1) * SHMS_PAGE_BUCKETS, s->bucket_count);
        for (uint64_t b = page * SHMS_PAGE_BUCKETS; b < last; b++)
            if (shms_load_relaxed(&s->buckets[b].lock) & SHMS_LOCK_WAITERS)
                shms_wake(&s->buckets[b].lock);
    }
    for (uint32_t a = 0; a < s->arena_count; a++)
        shms_wake(&s->arenas[a].lock);
}

static void mark_destroyed(struct shms_store *s) {
    uint64_t state = shms_load_acquire(&s->header->state);
    while (SHMS_WHO_STATE(state) != SHMS_STATE_DESTROYED &&
           !shms_cas_acq_rel(&s->header->state, &state, SHMS_WHO_WITH_STATE(state, SHMS_STATE_DESTROYED)))
        ;
    wake_everybody(s);
}

int shms_destroy(struct shms_store *s) {
    int error = s->memory->remove(s);
    if (error)
        return error == ETIMEDOUT ? SHMS_TIMEOUT : SHMS_SYSTEM;
    mark_destroyed(s);
    return SHMS_OK;
}

int shms_look(struct shms_store *s) {
    struct shms_memory_state d;
    shms_store_relaxed(&s->looked_at, shms_os_now_coarse());
    if (SHMS_WHO_STATE(shms_load_relaxed(&s->header->state)) == SHMS_STATE_DESTROYED)
        return SHMS_DESTROYED;
    s->memory->relight(s);
    if (s->memory->state(s, &d) == 0 && d.removed) {
        if (!s->readonly)
            mark_destroyed(s);
        shms_store_relaxed(&s->looked_at, 0); /* a read-only attachment cannot mark it: every call looks again */
        return SHMS_DESTROYED;
    }
    return SHMS_OK;
}
