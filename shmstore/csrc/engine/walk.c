/* walk.c: the contract is in walk.h. */
#include "engine/walk.h"

#include "engine/expire.h"

#define RETRIES_MAX 100000u /* how often one call may be overtaken by writers */

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

static inline bool gone(const struct shms_entry *e, uint64_t now) { return e->expiry && e->expiry <= now; }

/* head: the bytes before each key: 4, or 20 with version and expiry. */
static int copy_names(struct shms_store *s, uint64_t *cursor, uint64_t end, const void *prefix, uint32_t prefix_length,
                      uint32_t kind, uint32_t head, uint8_t *buffer, uint64_t capacity, uint64_t *filled) {
    uint64_t now = shms_os_now(), overtaken = 0, slot;
    *filled = 0;
    for (slot = *cursor; (slot = next_used(s, slot)) < end; slot++) {
        struct shms_entry e;
        const uint8_t *key;
        uint32_t length;
        int rc;
        do
            rc = shms_peek(s, slot / SHMS_BUCKET_SLOTS, slot % SHMS_BUCKET_SLOTS, &e, &key, &length);
        while (rc == SHMS_BUSY && ++overtaken < RETRIES_MAX);
        if (rc < 0 || rc == SHMS_BUSY)
            return rc < 0 ? rc : SHMS_CONTENDED;
        if (rc == SHMS_MISS || gone(&e, now))
            continue;
        if (kind != SHMS_WALK_ALL && ((e.kind & SHMS_FLAG_BYTES_KEY) != kind || length < prefix_length))
            continue;
        if (*filled + head + length > capacity) {
            *cursor = slot;
            return SHMS_OK;
        }
        uint32_t mark = length | (e.kind & SHMS_FLAG_BYTES_KEY ? 1u << 31 : 0);
        memcpy(buffer + *filled, &mark, 4);
        if (head > 4)
            memcpy(buffer + *filled + 4, (uint64_t[]){e.sequence, e.expiry}, 16);
        shms_copy_short(buffer + *filled + head, key, length);
        if (!shms_entry_unchanged(&e)) {
            if (++overtaken >= RETRIES_MAX)
                return SHMS_CONTENDED;
            slot--; /* the entry changed while its key was copied: look at the slot again */
            continue;
        }
        if (kind != SHMS_WALK_ALL && memcmp(buffer + *filled + head, prefix, prefix_length) != 0)
            continue;
        *filled += head + length;
    }
    *cursor = slot;
    return SHMS_OK;
}

int shms_walk(struct shms_store *s, uint64_t *cursor, const void *prefix, uint32_t prefix_length, uint32_t kind,
              uint8_t *buffer, uint64_t capacity, uint64_t *filled) {
    return copy_names(s, cursor, UINT64_MAX, prefix, prefix_length, kind, 4, buffer, capacity, filled);
}

int shms_walk_versions(struct shms_store *s, uint64_t *cursor, uint64_t end, uint8_t *buffer, uint64_t capacity,
                       uint64_t *filled) {
    return copy_names(s, cursor, end, NULL, 0, SHMS_WALK_ALL, 20, buffer, capacity, filled);
}

uint64_t shms_walk_count(struct shms_store *s, bool any_will_do) {
    uint64_t count = 0, now = shms_os_now();
    bool any_expiry = shms_any_expiry(s);
    for (uint64_t slot = 0; (slot = next_used(s, slot)) != UINT64_MAX; slot++) {
        struct shms_entry e;
        const uint8_t *key;
        uint32_t length;
        if (!shms_load_acquire(&s->buckets[slot / SHMS_BUCKET_SLOTS].slots[slot % SHMS_BUCKET_SLOTS]))
            continue;
        if (any_expiry &&
            shms_peek(s, slot / SHMS_BUCKET_SLOTS, slot % SHMS_BUCKET_SLOTS, &e, &key, &length) == SHMS_OK &&
            gone(&e, now))
            continue;
        count++;
        if (any_will_do)
            break;
    }
    return count;
}
