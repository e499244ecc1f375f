/* walk.c: the contract is in walk.h. */
#include "engine/walk.h"

#include "engine/clients.h"
#include "engine/expire.h"

#define SHMS_NOT_OF_USERS (SHMS_FLAG_KEPT | SHMS_FLAG_INSIDE) /* what a walk through all does not visit */
#define SLOTS_NEAR 56u                                        /* of eight buckets */
#define CLIENTS_ASKED 64u                                     /* more are not asked: the table is walked */
#define RETRIES_MAX 100000u                                   /* how often one call may be overtaken by writers */

/* The first slot at or after `slot` in a used page; UINT64_MAX at the end. */
static uint64_t next_used(struct shms_store *s, uint64_t slot) {
    uint64_t bucket = slot / SHMS_BUCKET_SLOTS;
    if (bucket >= s->bucket_count)
        return UINT64_MAX;
    uint64_t page = bucket / SHMS_PAGE_BUCKETS, used = shms_next_page_in_use(s, page);
    if (used == page)
        return slot;
    return used < s->table_pages ? used * SHMS_PAGE_BUCKETS * SHMS_BUCKET_SLOTS : UINT64_MAX;
}

/* Moves *slot to the first slot before `end` that names a block, and looks at *most slots at most. False: there is none,
 * and *slot is where it stopped, or UINT64_MAX at the end of the table. */
static bool next_full(struct shms_store *s, uint64_t *slot, uint64_t end, uint64_t *most) {
    while ((*slot = next_used(s, *slot)) < end) {
        uint64_t bucket = *slot / SHMS_BUCKET_SLOTS, index = *slot % SHMS_BUCKET_SLOTS;
        uint64_t behind = shms_min((bucket / SHMS_PAGE_BUCKETS + 1) * SHMS_PAGE_BUCKETS, s->bucket_count);
        for (; bucket < behind; bucket++, index = 0)
            for (; index < SHMS_BUCKET_SLOTS; index++, ++*slot) {
                if (*slot >= end || *most == 0)
                    return false;
                --*most;
                if (shms_load_acquire(&s->buckets[bucket].slots[index]))
                    return true;
            }
    }
    return false;
}

/* SHMS_MISS: it has expired, or is outdated. SHMS_AGAIN: the slot has changed meanwhile. */
static inline int judge(const struct shms_store *s, const struct shms_entry *e, uint64_t now) {
    return e->expiry && e->expiry <= now ? SHMS_MISS : shms_entry_judge(s, e);
}

/* Is there a block behind each slot that must be read to know whether its entry counts? */
static bool some_do_not_count(struct shms_store *s) {
    return shms_any_expiry(s) || shms_load_relaxed(&s->header->has_kept);
}

/* head: the bytes before each key: 4, or 20 with version and expiry. slots: looked at at most. */
static int copy_keys(struct shms_store *s, struct shms_walk *walk, uint64_t slots, uint32_t head, uint8_t *buffer,
                     uint64_t capacity, uint64_t *filled) {
    uint64_t now = shms_os_now(), overtaken = 0, slot;
    uint32_t prefix_length = walk->prefix_length, kind = walk->kind, found = 0;
    *filled = 0;
    for (slot = walk->cursor; found < walk->most && next_full(s, &slot, walk->end, &slots); slot++) {
        struct shms_entry e;
        const uint8_t *key;
        uint32_t length;
        int rc;
        do {
            rc = shms_peek(s, slot / SHMS_BUCKET_SLOTS, slot % SHMS_BUCKET_SLOTS, &e, &key, &length);
            rc = rc == SHMS_OK ? judge(s, &e, now) : rc;
        } while ((rc == SHMS_BUSY || rc == SHMS_AGAIN) && ++overtaken < RETRIES_MAX);
        if (rc < 0 || rc == SHMS_BUSY || rc == SHMS_AGAIN)
            return rc < 0 ? rc : SHMS_CONTENDED;
        if (rc == SHMS_MISS)
            continue;
        if (kind == SHMS_WALK_ALL ? e.kind & SHMS_NOT_OF_USERS
                                  : (e.kind & SHMS_KEY_FLAGS) != kind || length < prefix_length)
            continue;
        if (*filled + head + length > capacity)
            break;
        uint32_t mark = length | (e.kind & SHMS_KEY_FLAGS ? 1u << 31 : 0);
        memcpy(buffer + *filled, &mark, 4);
        if (head > 4)
            memcpy(buffer + *filled + 4, (uint64_t[]){shms_entry_version(&e), e.expiry}, 16);
        shms_copy_short(buffer + *filled + head, key, length);
        if (!shms_entry_unchanged(&e)) {
            if (++overtaken >= RETRIES_MAX)
                return SHMS_CONTENDED;
            slot--; /* the entry changed while its key was copied: look at the slot again */
            continue;
        }
        if (kind != SHMS_WALK_ALL && memcmp(buffer + *filled + head, walk->prefix, prefix_length) != 0)
            continue;
        *filled += head + length;
        found++;
    }
    walk->cursor = slot < walk->end ? slot : next_used(s, slot);
    return SHMS_OK;
}

int shms_walk(struct shms_store *s, struct shms_walk *walk, uint8_t *buffer, uint64_t capacity, uint64_t *filled) {
    return copy_keys(s, walk, SHMS_WALK_SLOTS, 4, buffer, capacity, filled);
}

int shms_walk_versions(struct shms_store *s, uint64_t *cursor, uint64_t end, uint8_t *buffer, uint64_t capacity,
                       uint64_t *filled) {
    struct shms_walk walk = {*cursor, end, NULL, 0, SHMS_WALK_ALL, UINT32_MAX};
    int rc = copy_keys(s, &walk, UINT64_MAX, 20, buffer, capacity, filled);
    *cursor = walk.cursor;
    return rc;
}

/* ---- where any entry is */

static bool names_a_block(struct shms_store *s, uint64_t slot) {
    uint64_t bucket = slot / SHMS_BUCKET_SLOTS;
    return bucket < s->bucket_count && shms_bucket_in_use(s, bucket) &&
           shms_load_acquire(&s->buckets[bucket].slots[slot % SHMS_BUCKET_SLOTS]);
}

static uint64_t entries_of(const struct shms_client *c) {
    return SHMS_USED(shms_load_acquire(&c->counters[SHMS_USED_BLOCKS]));
}

static bool is_idle(const struct shms_client *c) {
    uint32_t state = SHMS_OWNER_STATE(shms_load_acquire(&c->owner));
    for (uint32_t i = 0; i < SHMS_CLIENT_RECORDS && state >= SHMS_CLIENT_LIVE; i++)
        if (shms_load_acquire(&c->records[i].bucket))
            return false;
    return true;
}

uint64_t shms_likely_slot(struct shms_store *s, uint64_t near) {
    uint64_t slot = near, most = SLOTS_NEAR, entries = 0;
    uint32_t clients = shms_clients_used(s);
    if (next_full(s, &slot, UINT64_MAX, &most) || clients > CLIENTS_ASKED)
        return near;
    for (uint32_t i = 0; i < clients; i++) {
        const struct shms_client *c = shms_client_at(s, i);
        slot = shms_load_relaxed(&c->counters[SHMS_LAST_SLOT]) - 1;
        if (names_a_block(s, slot))
            return slot;
        if (!is_idle(c))
            return near;
        entries += entries_of(c);
    }
    return SHMS_USED(entries) ? near : SHMS_NO_SLOT;
}

void shms_count_begin(struct shms_store *s, bool any, struct shms_count *n) {
    uint64_t start = any ? shms_likely_slot(s, shms_load_relaxed(&s->seen_at)) : 0;
    if (start == SHMS_NO_SLOT) {
        *n = (struct shms_count){.slot = UINT64_MAX, .any = true, .wrapped = true};
        return;
    }
    *n = (struct shms_count){0, start, start, any, start == 0};
}

bool shms_count_some(struct shms_store *s, struct shms_count *n, uint64_t slots) {
    uint64_t now = shms_os_now();
    bool look = some_do_not_count(s);
    for (;; n->slot++) {
        uint64_t end = n->wrapped && n->start ? n->start : UINT64_MAX;
        if (!next_full(s, &n->slot, end, &slots)) {
            if (n->slot < end)
                return false;
            if (n->wrapped)
                return true;
            n->wrapped = true;
            n->slot = UINT64_MAX; /* the loop goes on at 0 */
            continue;
        }
        struct shms_entry e;
        const uint8_t *key;
        uint32_t length;
        uint64_t bucket = n->slot / SHMS_BUCKET_SLOTS;
        uint32_t index = n->slot % SHMS_BUCKET_SLOTS;
        int rc = SHMS_OK;
        for (uint32_t tries = 0; look && tries < SHMS_FIND_TRIES; tries++) {
            rc = shms_peek(s, bucket, index, &e, &key, &length);
            if (rc != SHMS_OK || (rc = e.kind & SHMS_NOT_OF_USERS ? SHMS_MISS : judge(s, &e, now)) != SHMS_AGAIN)
                break;
        }
        if (rc == SHMS_MISS)
            continue;
        n->count++;
        if (n->any) {
            shms_store_relaxed(&s->seen_at, n->slot);
            return true;
        }
    }
}
