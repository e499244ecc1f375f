/* resize.c: the contract, steps and deaths are in resize.h. */
#include "engine/resize.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/carry.h"
#include "engine/freeze.h"
#include "engine/heap.h"
#include "engine/op.h"
#include "engine/open.h"
#include "engine/policy.h"
#include "engine/recover.h"
#include "engine/sleepers.h"
#include "segment/create.h"
#include "segment/memory.h"

#define SLOTS_AT_ONCE 20000u
#define NAP 50000ull
#define PATIENCE 50000000ull      /* for how long writers wait for one that is stopped; doubled each time, */
#define PATIENCE_MAX 500000000ull /* up to this */

struct shms_resize {
    struct shms_store *s, *to;
    struct shms_open_request a;
    struct shms_open_result *result;
    struct shms_geometry g;
    uint32_t number; /* of the client that resizes, */
    uint64_t owner;  /* and its owner word */
    struct shms_freeze freeze;
    uint64_t cursor;             /* next slot of the old table */
    uint64_t first;              /* numbers given out in the old segment before step 3 */
    uint64_t found;              /* in step 5: entries of the old segment whose key the new one had already */
    uint64_t patience, deadline; /* for how long it drains; 0: it did not yet */
    uint32_t epoch;              /* the process that began it */
    bool began, made, frozen, done, left;
    struct shms_carried entry;
};

/* ---- steps 1 and 2 */

static int make(struct shms_resize *z) {
    struct shms_store *s = z->s, *to = z->to;
    const struct shms_geometry *g = &z->g;
    struct shms_open_result *r = z->result;
    struct shms_memory_state d;
    bool only_read;
    int error = to->memory->make(to, &z->a, g->segment_size);
    if (error)
        return shms_open_failed(r, to->call, error);
    r->created = 1;
    if ((error = to->memory->inherit(to, s)) != 0)
        return shms_open_failed(r, to->call, error);
    uint64_t number = to->id >= 0 ? (uint64_t)to->id + 1 : 0;
    if (!number && !shms_os_random(&number, sizeof number))
        return shms_open_failed(r, "getrandom", EIO);
    if ((error = to->memory->state(to, &d)) != 0 || (error = to->memory->map(to, &z->a, g->segment_size, true)) != 0)
        return shms_open_failed(r, to->call, error);
    if (!shms_commit(to, 0, g->classes + SHMS_CLASSES * sizeof(struct shms_class)) ||
        !shms_commit(to, g->ghosts, g->ghost_sets * SHMS_GHOST_WAYS * 2))
        return shms_open_failed(r, "fallocate", to->short_of);
    memcpy(((struct shms_header *)to->base)->uuid, s->uuid, sizeof s->uuid); /* before the note: it can be recognised */
    z->a.successor = number;
    shms_store_release(&s->header->successor, number);
    if (z->a.prefault && (error = shms_memory_prefault(to)) != 0)
        return shms_open_failed(r, to->call, error);
    if (shms_create_or_wait(to, g, SHMS_OK, &z->a, r, &d, 0) != SHMS_CREATION_READY)
        return SHMS_SYSTEM;
    if (to->id >= 0)
        ((struct shms_header *)to->base)->root = s->root ? s->root : (uint64_t)s->id + 1;
    int rc = shms_segment_view(to, to->base, g->segment_size, &only_read);
    return rc == SHMS_OK ? shms_client_claim_number(to, z->number, z->owner) : rc;
}

static int plan(struct shms_store *s, const struct shms_open_request *a, struct shms_open_result *r,
                struct shms_geometry *g) {
    struct shms_memory_state d;
    int error = s->memory->state(s, &d);
    if (error || !d.known)
        return shms_open_failed(r, error ? s->call : "shmctl", error ? error : EIDRM);
    r->uid = d.trusted_uid;
    r->mode = d.mode;
    if (d.trusted_uid != geteuid())
        return SHMS_FOREIGN;
    int rc = shms_geometry_plan(a->size, a->max_entries, s->client_count, shms_evicts(s),
                                a->huge_page ? a->huge_page : SHMS_PAGE, g);
    if (rc == SHMS_TOO_SMALL)
        r->minimum = shms_geometry_least(a->max_entries, shms_evicts(s));
    return rc;
}

int shms_resize_begin(struct shms_store *s, const struct shms_open_request *a, struct shms_open_result *r,
                      struct shms_resize **ret, uint32_t *resizer) {
    struct shms_geometry g;
    memset(r, 0, sizeof *r);
    *ret = NULL;
    int rc = plan(s, a, r, &g);
    if (rc != SHMS_OK)
        return rc;
    struct shms_resize *z = calloc(1, sizeof *z);
    struct shms_store *to = calloc(1, sizeof *to);
    if (!z || !to || !shms_attachments_add(to)) {
        free(z);
        free(to);
        return SHMS_NO_MEMORY;
    }
    z->s = s;
    z->to = to;
    z->a = *a;
    z->a.successor = 0;
    z->result = r;
    z->g = g;
    z->number = s->number;
    z->owner = s->owner;
    z->patience = PATIENCE;
    z->a.predecessor = s->header;
    z->a.mode = 0600; /* until it inherits */
    z->a.max_clients = s->client_count;
    z->a.evicts = shms_evicts(s);
    shms_memory_choose(to, &z->a);
    z->epoch = shms_fork_epoch;
    rc = shms_freeze_begin(s, &z->freeze, resizer);
    if (rc == SHMS_BUSY && *resizer - 1 < s->client_count && shms_recover_client(s, *resizer - 1))
        rc = shms_freeze_begin(s, &z->freeze, resizer);
    z->began = rc == SHMS_OK;
    z->first = shms_load_relaxed(&s->header->numbers);
    if (rc == SHMS_OK)
        *ret = z;
    else
        shms_resize_end(z);
    return rc;
}

/* ---- steps 3 and 5 */

/* No counter was ever moved or given to a namespace, and no entry names one: all are 0. */
static bool no_generations(const struct shms_header *h) {
    return !(shms_load_acquire(&h->has_expiry) & SHMS_HAS_GENERATIONS) && !shms_load_acquire(&h->namespaces) &&
           !shms_load_acquire(&h->outdated); /* moved before the resize word is looked at [counter-then-frozen] */
}

/* Counters of a page without memory are 0. If /dev/shm is full, a look at such a page would be SIGBUS. */
static bool any_counter(struct shms_store *s, uint64_t offset) {
    uint8_t present = 1;
    return !s->sparse || (s->memory->resident(s, offset, 1, &present) ? present : shms_commit(s, offset, SHMS_PAGE));
}

/* The counters of generations, which the copied entries name. */
static bool carry_generations(struct shms_resize *z) {
    struct shms_store *s = z->s, *to = z->to;
    uint64_t count = shms_min(s->counters, to->counters), page = SHMS_PAGE / 8;
    if (no_generations(s->header))
        return true;
    for (uint64_t first = 0; first < count; first += page) {
        if (!any_counter(s, (uint64_t)((uint8_t *)&s->generations[first] - s->base)))
            continue;
        if (!shms_commit(to, (uint64_t)((uint8_t *)&to->generations[first] - to->base), SHMS_PAGE))
            return false;
        for (uint64_t i = first; i < shms_min(first + page, count); i++) {
            uint64_t word = shms_load_acquire(&s->generations[i]);
            if (word != shms_load_relaxed(&to->generations[i]))
                shms_store_release(&to->generations[i], word);
        }
    }
    shms_store_relaxed(&to->header->namespaces, shms_load_relaxed(&s->header->namespaces));
    shms_store_relaxed(&to->header->outdated,
                       shms_load_relaxed(&s->header->outdated) + 1); /* there may be some to sweep */
    return true;
}

/* [found] Every entry of the new segment whose key the old one has is found by the walk in step 5, once. So if as many are
 * found as the new one had before it, it has no others. What the new one evicted or swept meanwhile was not found, or need
 * not be, and costs a walk in vain. The figures of the old segment would tell nothing: they count what has expired. */
static uint64_t entries_of(struct shms_store *s) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < shms_clients_used(s); i++)
        sum += SHMS_USED(shms_load_relaxed(&shms_client_at(s, i)->counters[SHMS_USED_BLOCKS]));
    return SHMS_USED(sum);
}

static uint32_t frequency_of(const struct shms_store *s, uint64_t slot) {
    return shms_evicts(s) ? shms_load_relaxed(&s->hints[slot]) & SHMS_HINT_FREQUENCY : 0;
}

/* Was this entry evicted from a cache that is smaller now? Copying it again would evict entries that were copied before. */
static bool was_evicted(const struct shms_resize *z, uint64_t slot) {
    const struct shms_client *c = z->to->me;
    return shms_evicts(z->to) &&
           shms_load_relaxed(&c->counters[SHMS_EVICTIONS]) + shms_load_relaxed(&c->counters[SHMS_EVICTIONS_BY_COUNT]) !=
               0 &&
           !frequency_of(z->s, slot) && !(z->entry.x.kind & SHMS_FLAG_KEPT);
}

static int carry(struct shms_resize *z, uint64_t slot) {
    int rc = shms_carry(z->to, &z->entry, frequency_of(z->s, slot));
    bool may_go = shms_evicts(z->to) && !(z->entry.x.kind & SHMS_FLAG_KEPT);
    return (rc == SHMS_FULL || rc == SHMS_TABLE_FULL) && may_go ? SHMS_OK : rc;
}

/* Step 3. Step 5 finds what changes at this moment. */
static int carry_early(struct shms_resize *z, uint64_t slot) {
    int rc = carry(z, slot);
    return rc == SHMS_MISS || rc == SHMS_BUSY ? SHMS_OK : rc;
}

/* Step 5, for one entry of the old segment, which does not change any more. */
static int carry_difference(struct shms_resize *z, uint64_t slot) {
    struct shms_store *to = z->to;
    struct shms_key k;
    struct shms_entry there;
    shms_key_init(to, &k, z->entry.key, z->entry.key_length, z->entry.x.kind & SHMS_KEY_FLAGS);
    int rc = shms_find(to, &k, &there);
    if (rc == SHMS_MISS && was_evicted(z, slot))
        return SHMS_OK;
    z->found += rc == SHMS_OK;
    if (rc != SHMS_OK || shms_entry_version(&there) != shms_entry_version(&z->entry.x))
        return carry(z, slot);
    if (there.expiry == z->entry.x.expiry)
        return SHMS_OK;
    struct shms_op op;
    rc = shms_op_begin(to, &op, z->entry.key, z->entry.key_length, z->entry.x.kind & SHMS_KEY_FLAGS);
    if (rc == SHMS_OK)
        rc = shms_op_touch(&op, z->entry.x.expiry, 0);
    shms_op_end(&op);
    return rc == SHMS_MISS ? SHMS_OK : rc; /* it has expired meanwhile */
}

/* Looks at up to `most` slots of the table of *from, from z->cursor on. SHMS_AGAIN: there are more. */
static int walk(struct shms_resize *z, struct shms_store *from, uint64_t most,
                int (*each)(struct shms_resize *, uint64_t)) {
    uint64_t all = from->bucket_count * SHMS_BUCKET_SLOTS, page_slots = SHMS_PAGE_BUCKETS * SHMS_BUCKET_SLOTS;
    while (z->cursor < all && most) {
        uint64_t page = z->cursor / page_slots, used = shms_next_page_in_use(from, page);
        if (used != page) {
            z->cursor = used * page_slots;
            continue;
        }
        uint64_t end = shms_min((page + 1) * page_slots, all);
        for (; z->cursor < end && most; z->cursor++, most--) {
            int rc = shms_carry_look(from, z->cursor, &z->entry);
            rc = rc == SHMS_OK ? each(z, z->cursor) : rc == SHMS_MISS || (rc == SHMS_BUSY && !z->frozen) ? SHMS_OK : rc;
            if (rc != SHMS_OK)
                return rc;
        }
    }
    return z->cursor < all ? SHMS_AGAIN : SHMS_OK;
}

/* Removes from the new segment what the old one does not have. */
static int remove_absent(struct shms_resize *z, uint64_t slot) {
    struct shms_key k;
    struct shms_entry there;
    struct shms_op op;
    shms_key_init(z->s, &k, z->entry.key, z->entry.key_length, z->entry.x.kind & SHMS_KEY_FLAGS);
    if (shms_find(z->s, &k, &there) == SHMS_OK)
        return SHMS_OK;
    int rc = shms_op_begin(z->to, &op, z->entry.key, z->entry.key_length, z->entry.x.kind & SHMS_KEY_FLAGS);
    if (rc == SHMS_OK)
        rc = shms_op_remove(&op, 0);
    shms_op_end(&op);
    return rc == SHMS_MISS ? SHMS_OK : rc;
}

/* ---- steps 4 to 9 */

/* Waits until no client holds this lock. A client that takes it later sees that the store is frozen. If the holder does not
 * exist, the bytes were overwritten by mistake, and no client would release the lock. */
static int drain(struct shms_store *s, _Atomic uint64_t *lock, uint64_t end) {
    for (uint32_t holder; (holder = SHMS_LOCK_HOLDER(shms_load_seq_cst(lock))) != 0;) { /* [lock-then-frozen] */
        if (holder > s->client_count ||
            SHMS_OWNER_STATE(shms_load_acquire(&shms_client_at(s, holder - 1)->owner)) == SHMS_CLIENT_FREE)
            break;
        if (shms_recover_client(s, holder - 1))
            continue;
        if (shms_os_now() > end)
            return SHMS_TIMEOUT;
        shms_os_nap(NAP);
    }
    return SHMS_OK;
}

/* No lock is held in a page that is not in use: its bit is set before, also by a seq_cst exchange. */
static int drain_all(struct shms_store *s, uint64_t timeout, _Atomic uint64_t **busy) {
    uint64_t end = shms_os_now() + timeout;
    for (uint64_t page = 0; (page = shms_next_page_in_use(s, page)) < s->table_pages; page++) {
        uint64_t last = shms_min((page + 1) * SHMS_PAGE_BUCKETS, s->bucket_count);
        for (uint64_t b = page * SHMS_PAGE_BUCKETS; b < last; b++) {
            int rc = drain(s, *busy = &s->buckets[b].lock, end);
            if (rc != SHMS_OK)
                return rc;
        }
    }
    *busy = NULL;
    return SHMS_OK;
}

/* Step 6. The identity of a live client does not change. One that is claiming its slot holds nothing. */
static int carry_clients(struct shms_resize *z) {
    struct shms_store *s = z->s, *to = z->to;
    uint32_t used = shms_clients_used(s);
    if (!shms_commit(to, (uint64_t)(to->clients - to->base), (uint64_t)used * to->client_size))
        return SHMS_FULL;
    for (uint32_t i = 0; i < used; i++) {
        struct shms_client *c = shms_client_at(s, i), *n = shms_client_at(to, i);
        uint64_t owner = shms_load_acquire(&c->owner);
        bool live = SHMS_OWNER_STATE(owner) == SHMS_CLIENT_LIVE;
        for (uint32_t k = 0; k < SHMS_CLIENT_COUNTERS; k++) {
            bool evictions = k == SHMS_EVICTIONS || k == SHMS_EVICTIONS_BY_COUNT; /* those of the resize count */
            if (k != SHMS_USED_BLOCKS && k != SHMS_USED_BYTES)
                shms_store_relaxed(&n->counters[k],
                                   shms_load_relaxed(&c->counters[k]) +
                                       (evictions && n == to->me ? shms_load_relaxed(&n->counters[k]) : 0));
            else if (n != to->me)
                shms_store_relaxed(&n->counters[k], SHMS_USED_OF(owner, 0));
        }
        shms_store_relaxed(&n->start_time, shms_load_relaxed(&c->start_time));
        shms_store_relaxed(&n->pid_ns, shms_load_relaxed(&c->pid_ns));
        shms_store_relaxed(&n->net_ns, shms_load_relaxed(&c->net_ns));
        shms_store_relaxed(&n->attached, shms_load_relaxed(&c->attached));
        shms_store_relaxed(&n->liveness, SHMS_CARRIED);
        shms_fence_acquire();
        if (shms_load_acquire(&c->owner) != owner) { /* another client claims the slot: once more */
            i--;
            continue;
        }
        if (n != to->me)
            shms_store_release(&n->owner, live ? owner : SHMS_OWNER_WITH_STATE(owner, SHMS_CLIENT_FREE));
    }
    shms_store_release(&to->header->clients_high, used);
    return SHMS_OK;
}

/* Step 9: frees the client slots that were given up in the old segment since step 6. An owner that follows gives up its slot
 * there, too. The mark SHMS_CARRIED tells the two cases apart: the owner that follows clears it, or this loop. */
static void drop_leavers(struct shms_resize *z) {
    for (uint32_t i = 0; i < shms_clients_used(z->to); i++) {
        struct shms_client *n = shms_client_at(z->to, i);
        uint64_t w = shms_load_acquire(&n->owner), carried = SHMS_CARRIED;
        if (SHMS_OWNER_STATE(w) == SHMS_CLIENT_LIVE &&
            shms_load_acquire(&shms_client_at(z->s, i)->owner) == SHMS_OWNER_WITH_STATE(w, SHMS_CLIENT_FREE) &&
            shms_cas_acq_rel(&n->liveness, &carried, 0))
            shms_cas_acq_rel(&n->owner, &w, SHMS_OWNER_WITH_STATE(w, SHMS_CLIENT_FREE));
    }
}

/* The new segment is left as its other clients will find it: this process follows, too. */
static void leave(struct shms_resize *z) {
    struct shms_store *to = z->to;
    if (to->me) {
        shms_policy_tell(to);
        shms_heap_leave(to);
        to->memory->unmark(to);
    }
    to->me = NULL;
    to->number = 0;
}

/* A writer that is stopped holds a lock. The others go on for as long as they waited; then the next step begins once more
 * with 4. */
static int thaw(struct shms_resize *z, uint64_t timeout) {
    uint64_t now = shms_os_now();
    if (!shms_freeze_undo(z->s, &z->freeze))
        return SHMS_BUSY;
    z->deadline = z->deadline ? z->deadline : now + timeout;
    if (now >= z->deadline)
        return SHMS_TIMEOUT;
    shms_os_nap(z->patience);
    z->patience = shms_min(2 * z->patience, PATIENCE_MAX);
    return SHMS_AGAIN;
}

static int finish(struct shms_resize *z, uint64_t timeout, _Atomic uint64_t **busy) {
    struct shms_store *s = z->s, *to = z->to;
    if (!shms_freeze(s, &z->freeze))
        return SHMS_BUSY;
    shms_fence_seq_cst(); /* [counter-then-frozen] */
    int rc = drain_all(s, z->patience, busy);
    if (rc == SHMS_TIMEOUT)
        return thaw(z, timeout);
    z->frozen = true;
    z->cursor = z->found = 0;
    if (rc == SHMS_OK && !carry_generations(z))
        rc = SHMS_FULL;
    uint64_t carried = entries_of(to);
    if (rc == SHMS_OK)
        rc = walk(z, s, UINT64_MAX, carry_difference);
    z->cursor = 0;
    if (rc == SHMS_OK && carried != z->found) /* some were deleted since, or have expired: [found] */
        rc = walk(z, to, UINT64_MAX, remove_absent);
    if (rc == SHMS_OK)
        rc = carry_clients(z);
    if (rc != SHMS_OK)
        return rc;
    if (shms_load_acquire(&s->header->numbers) >= z->first + SHMS_NUMBERS_AHEAD)
        return SHMS_BUSY; /* R4 */
    leave(z);
    int error = to->memory->inherit(to, s); /* it may have changed meanwhile */
    if (error || (error = to->memory->publish(to, &z->a)) != 0)
        return shms_open_failed(z->result, to->call, error);
    if (!shms_freeze_commit(s, &z->freeze)) /* [commit] */
        return SHMS_BUSY;
    z->done = true;
    drop_leavers(z);
    shms_wake_everybody(s);
    s->memory->settle(s, shms_load_acquire(&s->header->successor));
    return SHMS_OK;
}

static int step(struct shms_resize *z, uint64_t timeout, _Atomic uint64_t **busy) {
    int rc = z->made ? SHMS_OK : make(z);
    z->made = true;
    if (rc == SHMS_OK && z->cursor == 0 && !carry_generations(z))
        rc = SHMS_FULL;
    if (rc == SHMS_OK)
        rc = walk(z, z->s, SLOTS_AT_ONCE, carry_early);
    if (rc == SHMS_OK)
        rc = finish(z, timeout, busy);
    return rc == SHMS_FULL && z->to->short_of ? shms_open_failed(z->result, "fallocate", z->to->short_of) : rc;
}

/* Gives it up, unless it is done, and leaves the new segment. That may free all its memory, which takes a while. */
static void leave_memory(struct shms_resize *z) {
    struct shms_store *s = z->s, *to = z->to;
    if (z->left)
        return;
    z->left = true;
    if (z->epoch != shms_fork_epoch)
        to->me = NULL; /* a forked child has no part in it */
    else if (z->began && !z->done) {
        shms_freeze_end(s, z->freeze.word);
        leave(z);
        if (z->a.successor)
            s->memory->discard(s, z->a.successor);
        to->root = 0; /* the new segment alone */
        to->memory->remove(to);
    }
    to->memory->unmap(to);
}

int shms_resize_step(struct shms_resize *z, uint64_t timeout, _Atomic uint64_t **busy) {
    int rc = z->epoch == shms_fork_epoch ? step(z, timeout, busy) : SHMS_FORKED;
    if (rc != SHMS_AGAIN)
        leave_memory(z);
    return rc;
}

void shms_resize_end(struct shms_resize *z) {
    leave_memory(z);
    shms_attachments_remove(z->to);
    free(z->to);
    free(z);
}
