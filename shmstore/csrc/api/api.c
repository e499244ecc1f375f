/* api.c: what cffi binds besides opening and closing: figures, keys, check, repair, waiting. python/ has the hot
 * calls. */
#include "api/api.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/heap.h"
#include "engine/check.h"
#include "engine/compact.h"
#include "engine/expire.h"
#include "api/handle.h"
#include "segment/memory.h"
#include "engine/pin.h"
#include "engine/recover.h"
#include "engine/lock.h"
#include "engine/repair.h"
#include "engine/sleepers.h"
#include "engine/wait.h"
#include "engine/walk.h"

static int usable(int64_t handle, struct shms_handle **h) {
    *h = shms_handle_get(handle);
    return *h ? shms_handle_usable(*h) : SHMS_CLOSED;
}

/* For calls that release the GIL. They cannot make this process a client, because that needs the GIL. After a fork (by
 * a signal handler, since the caller's last look) they fail with SHMS_FORKED, and the caller begins again. */
static int enter(int64_t handle, struct shms_handle **h) {
    *h = shms_handle_enter(handle);
    if (!*h)
        return SHMS_CLOSED;
    shms_fence_seq_cst(); /* the call is counted, then the epoch is read; shms_leave does these in the other order */
    if ((*h)->s->fork_epoch == shms_fork_epoch)
        return SHMS_OK;
    shms_handle_leave(*h);
    return SHMS_FORKED;
}

int shms_w_destroy(int64_t handle) {
    struct shms_handle *h;
    int rc = enter(handle, &h);
    if (rc != SHMS_OK)
        return rc;
    rc = h->s->readonly && !h->s->without_slot ? SHMS_READ_ONLY : shms_destroy(h->s);
    shms_handle_leave(h);
    return rc;
}

int shms_refused(int64_t handle, char *call, uint32_t size) {
    struct shms_handle *h = shms_handle_get(handle);
    snprintf(call, size, "%s", h && h->s->call ? h->s->call : "");
    return h ? h->s->refused : 0;
}

int shms_get_info(int64_t handle, struct shms_info *info) {
    struct shms_handle *h = shms_handle_get(handle);
    struct shms_memory_state d;
    if (!h)
        return SHMS_CLOSED;
    struct shms_header *header = h->s->header;
    memset(info, 0, sizeof *info);
    info->kernel_known = h->s->memory->state(h->s, &d) == 0 && d.known;
    if (info->kernel_known) {
        info->mode = d.mode;
        info->uid = d.uid;
        info->gid = d.gid;
        info->creator_uid = d.trusted_uid;
    }
    info->attached = h->s->memory->attached(h->s);
    info->backend = h->s->memory == &shms_memory_posix ? SHMS_BACKEND_POSIX : SHMS_BACKEND_SYSV;
    info->descriptor = h->s->fd;
    info->key = h->s->key;
    info->id = h->s->id;
    info->size = header->size;
    info->segment_size = h->s->size;
    info->max_entries = header->max_entries;
    info->created = header->created;
    uint64_t used = shms_min(shms_load_relaxed(&header->clients_high), h->s->client_count);
    for (uint32_t i = 0; i < used; i++)
        info->last_writer = shms_max(info->last_writer, shms_load_relaxed(&shms_client_at(h->s, i)->attached));
    info->creator_pid = header->creator_pid;
    info->format = header->format;
    info->name_kind = header->name_kind;
    info->name_length = (uint32_t)shms_min(*(volatile const uint32_t *)&header->name_length, SHMS_NAME_MAX);
    memcpy(info->name, (char *)header + SHMS_NAME_OFFSET, info->name_length);
    info->clients = h->s->client_count;
    info->evicts = shms_evicts(h->s);
    info->readonly = h->s->readonly && !h->s->without_slot;
    info->buckets = h->s->bucket_count;
    info->heap_bytes = h->s->heap_pages * SHMS_PAGE;
    info->incompatible = header->incompatible;
    info->read_compatible = header->read_compatible;
    info->compatible = header->compatible;
    info->requested_size = shms_load_relaxed(&header->requested_size);
    info->requested_max_entries = shms_load_relaxed(&header->requested_max_entries);
    info->requested_max_clients = shms_load_relaxed(&header->requested_max_clients);
    info->requested_at = shms_load_relaxed(&header->requested_at);
    info->requested_by = shms_load_relaxed(&header->requested_by);
    memcpy(info->uuid, h->s->uuid, 16);
    return SHMS_OK;
}

/* Reads counters one by one while other processes change them. Each figure is right at some moment of the call; sums of
 * several need not fit together. Counters of slots that are free count, too: the work of processes that have left. */
int shms_get_stats(int64_t handle, struct shms_stats *stats) {
    struct shms_handle *h;
    int rc = usable(handle, &h);
    if (rc != SHMS_OK)
        return rc;
    struct shms_store *s = h->s;
    uint64_t sum[SHMS_CLIENT_COUNTERS] = {0},
             high = shms_min(shms_load_relaxed(&s->header->clients_high), s->client_count);
    memset(stats, 0, sizeof *stats);
    for (uint32_t i = 0; i < high; i++) {
        struct shms_client *c = shms_client_at(s, i);
        for (uint32_t k = 0; k < SHMS_CLIENT_COUNTERS; k++)
            sum[k] += shms_load_relaxed(&c->counters[k]);
        stats->clients += SHMS_OWNER_STATE(shms_load_relaxed(&c->owner)) == SHMS_CLIENT_LIVE;
    }
    for (uint32_t k = 0; k < SHMS_CLIENT_COUNTERS; k++)
        sum[k] += shms_load_relaxed(&s->own_counters[k]);
    if (s->me)
        shms_heap_leave(s); /* what this process keeps to itself is free, too */
    uint64_t heap = s->heap_pages * SHMS_PAGE;
    stats->entries = SHMS_USED(sum[SHMS_USED_BLOCKS]);
    stats->bytes_used = shms_min(SHMS_USED(sum[SHMS_USED_BYTES]), heap);
    stats->bytes_free = heap - stats->bytes_used;
    stats->largest_free = shms_pages_longest_free(s) * SHMS_PAGE;
    stats->zombies = shms_pin_zombies(s);
    stats->hits = sum[SHMS_HITS];
    stats->misses = sum[SHMS_MISSES];
    stats->puts = sum[SHMS_PUTS];
    stats->deletes = sum[SHMS_DELETES];
    stats->evictions = sum[SHMS_EVICTIONS] + sum[SHMS_EVICTIONS_BY_COUNT];
    stats->evicted_for_memory = sum[SHMS_EVICTIONS];
    stats->evicted_for_entries = sum[SHMS_EVICTIONS_BY_COUNT];
    stats->expirations = sum[SHMS_EXPIRATIONS];
    stats->reader_retries = sum[SHMS_RETRIES];
    stats->takeovers = sum[SHMS_TAKEOVERS];
    stats->moves = sum[SHMS_MOVES];
    return SHMS_OK;
}

void shms_give_up_hints(int64_t handle) {
    struct shms_handle *h;
    if (usable(handle, &h) == SHMS_OK && h->s->me)
        shms_heap_leave(h->s);
}

void shms_count_unreadable(int64_t handle) {
    struct shms_handle *h;
    if (usable(handle, &h) == SHMS_OK) {
        shms_stat(h->s, SHMS_HITS, -1);
        shms_stat(h->s, SHMS_MISSES, 1);
    }
}

/* In another pid namespace the same number means another process. */
static bool pid_is_of_mine(const struct shms_store *s, const struct shms_client *c, uint64_t owner) {
    uint64_t mine = s->identity.pid_ns;
    return mine && SHMS_OWNER_TAG(owner) == shms_namespace_tag(mine) &&
           (SHMS_OWNER_STATE(owner) != SHMS_CLIENT_LIVE || shms_load_relaxed(&c->pid_ns) == mine);
}

static void describe(struct shms_store *s, uint32_t index, uint64_t owner, struct shms_client_info *info) {
    struct shms_client *c = shms_client_at(s, index);
    memset(info, 0, sizeof *info);
    info->number = index + 1;
    info->pid = SHMS_OWNER_PID(owner);
    info->state = SHMS_OWNER_STATE(owner);
    info->alive = (enum shms_life[]){1, 0, 2}[shms_client_life(s, index, owner)];
    info->self = c == s->me;
    info->attached = shms_load_relaxed(&c->attached);
    if (!info->alive || !pid_is_of_mine(s, c, owner) ||
        !shms_os_process_name(info->pid, info->program, sizeof info->program))
        info->program[0] = 0;
}

/* A client may leave during the call. Then its row says what its owner word said when it was read. */
int64_t shms_get_clients(int64_t handle, uint32_t *from, struct shms_client_info *clients, uint32_t room) {
    struct shms_handle *h;
    int rc = usable(handle, &h);
    if (rc != SHMS_OK)
        return rc;
    struct shms_store *s = h->s;
    int64_t count = 0;
    uint64_t high = shms_min(shms_load_relaxed(&s->header->clients_high), s->client_count);
    for (; *from < high && count < room; ++*from) {
        uint64_t w = shms_load_acquire(&shms_client_at(s, *from)->owner);
        if (SHMS_OWNER_STATE(w) != SHMS_CLIENT_FREE)
            describe(s, *from, w, &clients[count++]);
    }
    return count;
}

int shms_next_versions(int64_t handle, uint64_t *cursor, uint64_t end, uint8_t *buffer, uint64_t capacity,
                       uint64_t *filled) {
    struct shms_handle *h;
    int rc = usable(handle, &h);
    *filled = 0;
    return rc == SHMS_OK ? shms_walk_versions(h->s, cursor, end, buffer, capacity, filled) : rc;
}

int shms_w_check(int64_t handle, char *what, uint32_t size) {
    struct shms_handle *h;
    int rc = enter(handle, &h);
    if (rc != SHMS_OK)
        return rc;
    struct shms_check *c = calloc(1, sizeof *c);
    rc = c ? SHMS_AGAIN : SHMS_NO_MEMORY;
    if (c) {
        c->what = what;
        c->size = size;
    }
    shms_fetch_add_acq_rel(&h->s->calls_without_gil, 1);
    while (rc == SHMS_AGAIN)
        rc = shms_handle_closing(h) ? SHMS_CLOSED : shms_check_step(h->s, c);
    shms_fetch_add_acq_rel(&h->s->calls_without_gil, (uint32_t)-1);
    free(c);
    shms_handle_leave(h);
    return rc;
}

int shms_repair_some(int64_t handle, struct shms_repair *repair) {
    struct shms_handle *h;
    _Atomic uint64_t *busy = NULL;
    uint64_t seen = 0;
    int rc = usable(handle, &h);
    if (rc == SHMS_OK)
        rc = shms_handle_may_write(h);
    if (rc != SHMS_OK)
        return rc;
    rc = shms_repair_step(h->s, repair, &busy, &seen);
    if (rc == SHMS_BUSY && busy) {
        shms_handle_note_lock_holder(h, busy);
        if (SHMS_LOCK_HOLDER(seen) - 1 < h->s->client_count) /* not 0, "none" */
            shms_recover_client(h->s, SHMS_LOCK_HOLDER(seen) - 1);
    }
    return rc;
}

int shms_compact_some(int64_t handle, struct shms_compaction *compaction) {
    struct shms_handle *h;
    int rc = usable(handle, &h);
    if (rc == SHMS_OK)
        rc = shms_handle_may_write(h);
    return rc == SHMS_OK ? shms_compact_step(h->s, (struct shms_compact *)compaction) : rc;
}

void shms_compact_leave(int64_t handle, struct shms_compaction *compaction) {
    struct shms_handle *h = shms_handle_get(handle);
    if (h)
        shms_compact_end(h->s, (struct shms_compact *)compaction);
}

/* Without the GIL no slot can be claimed. */
static int refuses_writing(const struct shms_handle *h) { return h->s->without_slot ? SHMS_NO_CLIENT : SHMS_READ_ONLY; }

int64_t shms_w_recover(int64_t handle) {
    struct shms_handle *h;
    int rc = enter(handle, &h);
    if (rc != SHMS_OK)
        return rc;
    int64_t n = h->s->readonly ? refuses_writing(h) : (int64_t)shms_recover_all(h->s, false);
    shms_handle_leave(h);
    return n;
}

int shms_expire_due(int64_t handle, uint64_t *page, uint64_t *gone) {
    enum { GROUPS = 32 }; /* less than a millisecond, if every entry has expired */
    struct shms_handle *h;
    int rc = usable(handle, &h);
    *gone = 0;
    if (rc != SHMS_OK || (rc = shms_handle_may_write(h)) != SHMS_OK)
        return rc;
    uint64_t next = shms_any_expiry(h->s) ? *page : UINT64_MAX;
    bool passed_over = false;
    if (next != UINT64_MAX) {
        int index = shms_record_take(h->s);
        if (index < 0)
            return SHMS_BUSY;
        uint64_t group = next * (SHMS_PAGE_BUCKETS / SHMS_GROUP_BUCKETS);
        bool all = shms_expire_all(h->s, &h->s->me->records[index], &group, GROUPS, gone, &passed_over);
        shms_record_put(h->s, index);
        next = all ? UINT64_MAX : group / (SHMS_PAGE_BUCKETS / SHMS_GROUP_BUCKETS);
    }
    if (!passed_over)
        *page = next;
    else
        shms_handle_note_lock_holder(h, NULL);
    return passed_over ? SHMS_BUSY : SHMS_OK;
}

int shms_w_wait(int64_t handle, const char *key, uint32_t length, uint32_t kind, uint32_t has_after, uint64_t after,
                uint64_t nanoseconds, uint64_t spin, uint64_t *version) {
    struct shms_handle *h;
    struct shms_also also = {shms_pokes(), 0, NULL}; /* before the handle is found open */
    int rc = enter(handle, &h);
    if (rc != SHMS_OK)
        return rc;
    struct shms_key k;
    shms_key_init(h->s, &k, key, length, kind);
    shms_fetch_add_acq_rel(&h->s->calls_without_gil, 1);
    rc = shms_wait(h->s, &k, has_after, after, shms_os_now(), nanoseconds, spin, &also, version);
    shms_fetch_add_acq_rel(&h->s->calls_without_gil, (uint32_t)-1);
    if (rc == SHMS_AGAIN && shms_handle_closing(h))
        rc = SHMS_CLOSED;
    shms_handle_leave(h);
    return rc;
}

uint32_t shms_lock_holder(int64_t handle, struct shms_client_info *holder) {
    struct shms_handle *h = shms_handle_get(handle);
    uint32_t number = h ? shms_load_relaxed(&h->lock_holder) : 0;
    if (!number)
        return 0;
    uint64_t then = shms_load_relaxed(&h->lock_holder_owner);
    uint64_t now = shms_load_acquire(&shms_client_at(h->s, number - 1)->owner);
    describe(h->s, number - 1, now, holder);
    if (SHMS_OWNER_WITH_STATE(now, SHMS_CLIENT_DEAD) == SHMS_OWNER_WITH_STATE(then, SHMS_CLIENT_DEAD) &&
        SHMS_OWNER_STATE(now) != SHMS_CLIENT_FREE)
        return 1;
    holder->pid = SHMS_OWNER_PID(then);
    return 2;
}

uint32_t shms_has_events(int64_t handle) {
    struct shms_handle *h = shms_handle_get(handle);
    return h && shms_handle_has_events(h);
}

uint32_t shms_take_events(int64_t handle, uint64_t *deaths, uint32_t *pid) {
    struct shms_handle *h = shms_handle_get(handle);
    *deaths = h ? shms_load_acquire(&h->s->takeovers) : 0;
    *pid = h ? shms_load_relaxed(&h->s->last_dead_pid) : 0;
    return h && shms_handle_take_events(h);
}

int shms_short_of(int64_t handle) {
    struct shms_handle *h = shms_handle_get(handle);
    return h ? h->s->short_of : 0;
}

int shms_usable(int64_t handle) {
    struct shms_handle *h;
    return usable(handle, &h);
}

/* Uses shms_handle_recheck, which also finds out that this client has lost its slot. A look at the kernel alone would
 * count as the look of this second, and put that off. */
int shms_revalidate_now(int64_t handle) {
    struct shms_handle *h = shms_handle_get(handle);
    if (h)
        shms_store_relaxed(&h->s->validated_at, 0);
    int rc = usable(handle, &h);
    return rc == SHMS_NO_CLIENT && h->s->me ? SHMS_OK : rc; /* the slot is lost, but other threads are still in calls */
}

uint64_t shms_now(void) { return shms_os_now(); }

uint8_t *shms_memory(int64_t handle, uint64_t *size) {
    struct shms_handle *h = shms_handle_get(handle);
    *size = h ? h->s->size : 0;
    return h ? h->s->base : NULL;
}

int32_t shms_key_of_name(const char *name, uint32_t length) {
    uint32_t key = (uint32_t)shms_siphash13(name, length, 0x65726f74736d6873ull, 0x202020745f79656bull);
    return key == 0 ? 1 : key == 0xffffffffu ? -2 : (int32_t)key;
}

uint64_t shms_hash(const char *data, uint32_t length, uint64_t k0, uint64_t k1) {
    return shms_siphash13(data, length, k0, k1);
}
