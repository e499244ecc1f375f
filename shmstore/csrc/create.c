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
 * Openers wait in naps of a millisecond, up to their timeout; a stopped creator is named in the error. */
#include "create.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <unistd.h>

#include "api.h"
#include "lock.h"
#include "recover.h"

#define NAP 1000000ull
#define BLANK_PATIENCE 1000000000ull /* how long a living creator may leave a segment blank */

static int failed(struct shms_open_found *r, const char *what) {
    r->error = errno;
    snprintf(r->what, sizeof r->what, "%s", what);
    return SHMS_SYSTEM;
}

static int corrupt(struct shms_open_found *r, const char *what) {
    snprintf(r->what, sizeof r->what, "%s", what);
    return SHMS_CORRUPT;
}

/* REQUIRES: state names me as initialising. Everything but magic and state. */
static bool initialise(struct shms_header *h, const struct shms_geometry *g, const struct shms_open_wish *a,
                       const struct shms_identity *me, uint64_t who, int id) {
    struct shmid_ds d;
    shms_store_relaxed(&h->creator_start, me->start_time);
    shms_store_release(&h->creator_who, who);
    h->format = SHMS_FORMAT_VERSION;
    h->header_size = SHMS_HEADER_SIZE;
    h->incompatible = h->read_compatible = h->compatible = 0;
    h->segment_size = g->size;
    h->created = shms_os_realtime();
    h->creator_ipc_ns = me->ipc_ns;
    h->creator_pid_ns = me->pid_ns;
    h->creator_time_ns = me->time_ns;
    h->creator_pid = me->pid;
    h->creator_uid = shmctl(id, IPC_STAT, &d) == 0 ? d.shm_perm.cuid : (uint32_t)geteuid();
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
    }
    return true;
}

enum settled { SETTLED_READY, SETTLED_WAIT, SETTLED_GONE, SETTLED_FOREIGN, SETTLED_UNPLANNED, SETTLED_FAILED };

/* Looks at an attached segment once, and initialises it if that is for us to do. planned: whether *g is something. */
static enum settled settle(struct shms_header *h, const struct shms_geometry *g, int planned, const struct shms_open_wish *a,
                           struct shms_open_found *r, const struct shmid_ds *d, uint64_t waited) {
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
    bool creator_gone = r->created || shms_os_process_life((uint32_t)d->shm_cpid, 0) == SHMS_GONE;
    uint32_t tag = shms_namespace_tag(me.pid_ns);
    if (magic == 0) {
        if (state != 0)
            return SETTLED_FOREIGN;
        if (!r->created) {
            r->pid = (uint32_t)d->shm_cpid;
            if (!creator_gone) /* he is about to write the magic, unless this is no store at all */
                return waited > BLANK_PATIENCE ? SETTLED_FOREIGN : SETTLED_WAIT;
            if (!can_write || planned != SHMS_OK || d->shm_segsz != g->size || d->shm_perm.cuid != geteuid())
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
        r->pid = (uint32_t)d->shm_cpid;
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
        if (shmctl(r->id, IPC_RMID, NULL) != 0 && errno != EINVAL && errno != EIDRM) {
            failed(r, "shmctl");
            shms_cas_acq_rel(&h->state, &mine, state); /* not ours to remove: as it was */
            return SETTLED_FAILED;
        }
        shms_cas_acq_rel(&h->state, &mine, SHMS_WHO_WITH_STATE(mine, SHMS_STATE_DESTROYED)); /* for who waits here */
        return SETTLED_GONE;
    }
    if (!initialise(h, g, a, &me, mine, r->id)) {
        failed(r, "getrandom");
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
                   struct shms_open_found *r, const struct shmid_ds *d) {
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
    r->mode = d->shm_perm.mode & 0777;
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

/* The segment's identifier, made if need be; -1 with a status in *rc (SHMS_AGAIN: somebody was faster). */
static int find_segment(const struct shms_geometry *g, const struct shms_open_wish *a, struct shms_open_found *r,
                        int *rc) {
    int id = shmget(a->key, 0, 0);
    if (id >= 0)
        return id;
    if (errno != ENOENT)
        *rc = failed(r, "shmget");
    else if (a->create == 2 || a->readonly)
        *rc = SHMS_NOT_FOUND;
    else if ((id = shmget(a->key, g->size, IPC_CREAT | IPC_EXCL | SHM_NORESERVE | (int)a->mode)) >= 0)
        r->created = 1;
    else
        *rc = errno == EEXIST ? SHMS_AGAIN : failed(r, "shmget");
    return id;
}

static int attach(struct shms_store *s, uint8_t *base, const struct shmid_ds *d, const struct shms_open_wish *a,
                  struct shms_open_found *r) {
    bool only_read;
    memset(s, 0, sizeof *s);
    s->beacon = -1;
    int rc = shms_segment_view(s, base, d->shm_segsz, &only_read);
    if (rc != SHMS_OK)
        return rc == SHMS_CORRUPT ? corrupt(r, "a size or offset in the header") : rc;
    s->id = r->id;
    s->key = a->key;
    s->readonly = a->readonly || only_read;
    r->only_read = only_read;
    shms_os_identity(&s->identity);
    shms_store_relaxed(&s->looked_at, shms_os_now_coarse());
    s->sweep_cursor = s->identity.pid;
    if (s->readonly)
        return SHMS_OK;
    if ((rc = shms_client_claim(s)) != SHMS_OK)
        return rc;
    shms_recover_all(s, true);
    return SHMS_OK;
}

/* A mode that keeps its maker out is noticed after the segment was made. */
static int give_up(struct shms_open_found *r, const char *what) {
    int rc = failed(r, what);
    if (r->created)
        shmctl(r->id, IPC_RMID, NULL);
    return rc;
}

int shms_open(struct shms_store *s, const struct shms_open_wish *a, struct shms_open_found *r) {
    struct shms_geometry g;
    uint64_t start = shms_os_now();
    memset(r, 0, sizeof *r);
    int planned = shms_geometry_plan(a->size, a->max_entries, &g);
    for (bool patient = true; patient; shms_os_nap(NAP)) {
        uint64_t waited = shms_os_now() - start;
        patient = waited < a->timeout;
        struct shmid_ds d;
        int rc = SHMS_OK;
        if (planned != SHMS_OK && a->create != 2 && (a->create == 1 || shmget(a->key, 0, 0) < 0)) {
            r->minimum = shms_geometry_least(a->max_entries);
            return planned;
        }
        r->created = 0;
        r->id = find_segment(&g, a, r, &rc);
        if (rc == SHMS_AGAIN)
            continue;
        if (rc != SHMS_OK)
            return rc;
        if (shmctl(r->id, IPC_STAT, &d) != 0) {
            if (errno == EINVAL || errno == EIDRM)
                continue;
            return give_up(r, "shmctl");
        }
        r->uid = d.shm_perm.cuid;
        r->size = d.shm_segsz;
        r->mode = d.shm_perm.mode & 0777;
        if (a->owner != -2 && r->uid != geteuid() && r->uid != 0 && (int64_t)r->uid != a->owner)
            return SHMS_FOREIGN;
        if (r->size < SHMS_HEADER_SIZE)
            return SHMS_NOT_A_STORE;
        void *base = shmat(r->id, NULL, a->readonly ? SHM_RDONLY : 0);
        if (base == (void *)-1) {
            if (errno == EINVAL || errno == EIDRM)
                continue;
            return give_up(r, "shmat");
        }
        switch (settle(base, &g, planned, a, r, &d, waited)) {
        case SETTLED_READY:
            rc = compare(base, &g, a, r, &d);
            if (rc == SHMS_OK && (rc = attach(s, base, &d, a, r)) == SHMS_OK && (rc = shms_look(s)) == SHMS_OK)
                return SHMS_OK;
            if (rc == SHMS_DESTROYED) { /* somebody removed it under our hands */
                shms_detach(s);
                continue;
            }
            shmdt(base);
            return rc;
        case SETTLED_FOREIGN:
            shmdt(base);
            return SHMS_NOT_A_STORE;
        case SETTLED_UNPLANNED:
            r->minimum = shms_geometry_least(a->max_entries);
            shmdt(base);
            return planned;
        case SETTLED_FAILED:
            shmdt(base);
            return SHMS_SYSTEM;
        case SETTLED_GONE:
        case SETTLED_WAIT:
            shmdt(base);
        }
    }
    return a->create == 2 || a->readonly ? SHMS_NOT_FOUND : SHMS_TIMEOUT;
}

void shms_detach(struct shms_store *s) {
    shms_client_release(s);
    if (s->base)
        shmdt(s->base);
    s->base = NULL;
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
    if (shmctl(s->id, IPC_RMID, NULL) != 0 && errno != EINVAL && errno != EIDRM)
        return SHMS_SYSTEM;
    mark_destroyed(s);
    return SHMS_OK;
}

int shms_look(struct shms_store *s) {
    struct shmid_ds d;
    shms_store_relaxed(&s->looked_at, shms_os_now_coarse());
    if (SHMS_WHO_STATE(shms_load_relaxed(&s->header->state)) == SHMS_STATE_DESTROYED)
        return SHMS_DESTROYED;
    int rc = shmctl(s->id, IPC_STAT, &d);
    if ((rc != 0 && (errno == EINVAL || errno == EIDRM)) ||
        (rc == 0 && (d.shm_perm.mode & SHM_DEST) && !s->private_store)) {
        if (!s->readonly)
            mark_destroyed(s);
        shms_store_relaxed(&s->looked_at, 0); /* a read-only attachment cannot mark it: every call looks again */
        return SHMS_DESTROYED;
    }
    if (s->me && s->beacon >= 0 && !shms_os_descriptor_is_socket(s->beacon, s->beacon_inode)) {
        s->beacon = shms_os_beacon_light(s->uuid, s->number, SHMS_WHO_GENERATION(s->entry));
        s->beacon_inode = shms_os_descriptor_inode(s->beacon);
        shms_store_relaxed(&s->me->beacon, s->beacon >= 0);
    }
    return SHMS_OK;
}
