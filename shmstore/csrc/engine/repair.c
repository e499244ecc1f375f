/* repair.c: makes a store sound again, from what is still certain
 *
 * No death needs this: recover.c and rebuild.c leave nothing undone. It is for bytes that no version of this code
 * wrote.
 *
 * WRITER
 *   1 I10, I12: mark pages of the slot table that hold something; release orphaned locks
 *   2 For each arena, under its lock: rebuild it (I6 to I9). Then every slot names a block, and no two name the same.
 *     Judge each entry by its own bytes: hash, tag, lengths and distance (I2, I3), the only one of its key (I5), noted
 *     as due (I11). A wrong slot number is corrected. An entry that cannot be read is removed as a sweep would remove
 *     it
 *   3 I4: raise the reach of each home bucket to its farthest entry, while no client holds the bucket
 * CRASH  Each step is one that puts, sweeps and rebuilds take, and a death in it is recovered in the same way. Calling
 *   shms_repair again does the rest. */
#include "engine/repair.h"

#include <stdlib.h>

#include "engine/arena.h"
#include "engine/check.h"
#include "engine/expire.h"
#include "engine/lock.h"
#include "engine/recover.h"
#include "engine/table.h"

static void mark_pages(struct shms_store *s) {
    for (uint64_t page = 0; (page = shms_next_unmarked(s, page)) < s->table_pages; page++)
        shms_page_use(s, page);
}

static bool make_lock_sound(struct shms_store *s, _Atomic uint64_t *lock) {
    for (int tries = 0; tries < 4 && !shms_holder_is_sound(s, lock); tries++)
        shms_await(s, lock, shms_load_acquire(lock), 1000000);
    return shms_holder_is_sound(s, lock);
}

/* NULL, or the first lock whose holder still is no client. */
static _Atomic uint64_t *make_locks_sound(struct shms_store *s) {
    for (uint32_t a = 0; a < s->arena_count; a++)
        if (!make_lock_sound(s, &s->arenas[a].lock))
            return &s->arenas[a].lock;
    for (uint64_t page = 0; (page = shms_next_page_in_use(s, page)) < s->table_pages; page++) {
        uint64_t last = shms_min((page + 1) * SHMS_PAGE_BUCKETS, s->bucket_count);
        for (uint64_t b = page * SHMS_PAGE_BUCKETS; b < last; b++)
            if (!make_lock_sound(s, &s->buckets[b].lock))
                return &s->buckets[b].lock;
    }
    return NULL;
}

/* An entry that is being judged, with a copy of its key. */
struct candidate {
    _Atomic uint64_t *slot;
    uint64_t word, bucket;
    uint32_t number;
    struct shms_entry entry;
    struct shms_key key;
    uint8_t bytes[SHMS_KEY_MAX];
};
enum state { EMPTY, SOUND, MISPLACED, LOST };

static enum state read_entry(struct shms_store *s, uint64_t bucket, uint32_t index, struct candidate *c) {
    const uint8_t *key;
    uint32_t length;
    c->slot = &s->buckets[bucket].slots[index];
    c->word = shms_load_acquire(c->slot);
    c->bucket = bucket;
    c->number = (uint32_t)(bucket * SHMS_BUCKET_SLOTS + index);
    if (!c->word)
        return EMPTY;
    int rc = shms_peek(s, bucket, index, &c->entry, &key, &length);
    if (rc == SHMS_MISS)
        return EMPTY;
    if (rc != SHMS_OK)
        return LOST;
    c->word = c->entry.word;
    shms_copy_racy(c->bytes, key, shms_min(length, SHMS_KEY_MAX));
    if (!shms_entry_unchanged(&c->entry))
        return EMPTY; /* another process has changed it just now, so it is sound */
    shms_key_init(s, &c->key, c->bytes, length, c->entry.kind & SHMS_FLAG_BYTES_KEY);
    uint64_t distance = (bucket + s->bucket_count - c->key.home) % s->bucket_count;
    c->entry.distance = (uint32_t)shms_min(distance, UINT32_MAX);
    if (distance > SHMS_REACH_MAX || shms_load_relaxed(&c->entry.block->hash) != c->key.hash ||
        SHMS_SLOT_TAG_OF(c->word) != SHMS_SLOT_TAG(c->key.hash, c->key.home))
        return LOST;
    if (!shms_bucket_in_use(s, c->key.home))
        return MISPLACED; /* the page with its home bucket was never used, so its reach is 0 */
    return distance > SHMS_LOCK_REACH(shms_load_acquire(&s->buckets[c->key.home].lock)) ? MISPLACED : SOUND;
}

/* REQUIRES: the lock of arena a, which has been rebuilt and contains the entry. True: the entry was removed. */
static bool remove_entry(struct shms_store *s, uint32_t a, struct candidate *c) {
    uint64_t offset = SHMS_SLOT_BLOCK(c->word), word = c->word;
    shms_arena_retire(s, a, offset);
    if (!shms_cas_acq_rel(c->slot, &word, 0)) /* [retire-then-slot] pairs with mark_slots */
        return false;
    if (!shms_arena_free(s, a, offset))
        shms_rebuild(s, a);
    return true;
}

static bool repair_entry(struct shms_store *s, uint32_t a, struct candidate *c, enum state state) {
    struct shms_entry first;
    uint32_t others;
    if (state == LOST)
        return remove_entry(s, a, c);
    if (shms_find_locked(s, &c->key, &first, &others) == SHMS_OK && first.number != c->number &&
        shms_load_acquire(first.slot) == first.word)
        return remove_entry(s, a, c); /* a second entry of the key: readers find the first one */
    shms_store_relaxed(&c->entry.block->slot, c->number);
    uint64_t expiry = shms_load_acquire(&c->entry.block->expiry);
    if (expiry) {
        shms_store_release(&s->header->has_expiry, 1);
        shms_expire_note(s, c->bucket, expiry);
    }
    return false;
}

static int repair_arena(struct shms_store *s, uint32_t a, uint64_t *lost, struct candidate *c) {
    int rc = shms_rebuild(s, a);
    for (uint64_t page = 0; rc == SHMS_OK && (page = shms_next_page_in_use(s, page)) < s->table_pages; page++) {
        uint64_t last = shms_min((page + 1) * SHMS_PAGE_BUCKETS, s->bucket_count);
        for (uint64_t bucket = page * SHMS_PAGE_BUCKETS; bucket < last; bucket++)
            for (uint32_t i = 0; i < SHMS_BUCKET_SLOTS; i++) {
                uint64_t offset = SHMS_SLOT_BLOCK(shms_load_acquire(&s->buckets[bucket].slots[i]));
                if (!offset || !shms_block_at(s, offset) || shms_arena_of(s, offset) != a)
                    continue;
                enum state state = read_entry(s, bucket, i, c);
                if (state != EMPTY && SHMS_SLOT_BLOCK(c->word) == offset)
                    *lost += repair_entry(s, a, c, state);
            }
    }
    return rc;
}

/* Raises the reach only while no client holds the bucket: the next holder then sees the entry, and keeps a reach that
 * covers it. False: the bucket is held. */
static bool raise_reach(_Atomic uint64_t *lock, uint32_t distance, uint64_t *seen) {
    *seen = shms_load_acquire(lock);
    while (SHMS_LOCK_HOLDER(*seen) == 0 && SHMS_LOCK_REACH(*seen) < distance)
        if (shms_cas_acq_rel(lock, seen, (*seen & ~0xff0000ull) | (uint64_t)distance << 16))
            return true;
    return SHMS_LOCK_HOLDER(*seen) == 0;
}

/* A put that could not see the misplaced entry has made another one for its key since. The newer one is kept. */
static int drop_former(struct shms_store *s, uint64_t bucket, uint32_t index, uint64_t *lost, _Atomic uint64_t **busy,
                       uint64_t *seen, struct candidate *c) {
    uint32_t a = shms_arena_of(s, SHMS_SLOT_BLOCK(c->word));
    *busy = &s->arenas[a].lock;
    if (!shms_lock_try(s, *busy, SHMS_SPINS, seen))
        return SHMS_BUSY;
    if (read_entry(s, bucket, index, c) == MISPLACED && shms_arena_of(s, SHMS_SLOT_BLOCK(c->word)) == a)
        *lost += remove_entry(s, a, c);
    shms_arena_leave(s, a);
    return SHMS_OK;
}

static int raise_reaches(struct shms_store *s, uint64_t *lost, _Atomic uint64_t **busy, uint64_t *seen,
                         struct candidate *c) {
    for (uint64_t page = 0; (page = shms_next_page_in_use(s, page)) < s->table_pages; page++) {
        uint64_t last = shms_min((page + 1) * SHMS_PAGE_BUCKETS, s->bucket_count);
        for (uint64_t bucket = page * SHMS_PAGE_BUCKETS; bucket < last; bucket++)
            for (uint32_t i = 0; i < SHMS_BUCKET_SLOTS; i++) {
                struct shms_entry other;
                if (read_entry(s, bucket, i, c) != MISPLACED)
                    continue;
                if (shms_find(s, &c->key, &other) == SHMS_OK && other.number != c->number) {
                    int rc = drop_former(s, bucket, i, lost, busy, seen, c);
                    if (rc != SHMS_OK)
                        return rc;
                    continue;
                }
                if (!shms_bucket_use(s, c->key.home))
                    return SHMS_FULL;
                *busy = &s->buckets[c->key.home].lock;
                if (!raise_reach(*busy, c->entry.distance, seen))
                    return SHMS_BUSY;
            }
    }
    return SHMS_OK;
}

/* Slots that name a block of this arena; for arena 0 also those that name nothing in the heap. */
static uint64_t count_slots(struct shms_store *s, uint32_t a) {
    uint64_t count = 0;
    for (uint64_t page = 0; (page = shms_next_page_in_use(s, page)) < s->table_pages; page++) {
        uint64_t last = shms_min((page + 1) * SHMS_PAGE_BUCKETS, s->bucket_count);
        for (uint64_t bucket = page * SHMS_PAGE_BUCKETS; bucket < last; bucket++)
            for (uint32_t i = 0; i < SHMS_BUCKET_SLOTS; i++) {
                uint64_t w = shms_load_acquire(&s->buckets[bucket].slots[i]), offset = SHMS_SLOT_BLOCK(w);
                bool inside = offset >= s->heap_offset && offset < s->heap_end;
                count += w && (inside ? shms_arena_of(s, offset) == a : a == 0);
            }
    }
    return count;
}

int shms_repair(struct shms_store *s, uint64_t *lost, _Atomic uint64_t **busy, uint64_t *seen) {
    struct candidate *c = malloc(sizeof *c);
    if (!c)
        return SHMS_NO_MEMORY;
    shms_recover_all(s, false);
    mark_pages(s);
    int rc = SHMS_OK;
    make_locks_sound(s); /* a first time: it may find a dead client whose other locks were already passed */
    if ((*busy = make_locks_sound(s))) {
        *seen = shms_load_acquire(*busy);
        rc = SHMS_BUSY;
    }
    mark_pages(s); /* once more: other processes have been writing since the first time */
    for (uint32_t a = 0; a < s->arena_count && rc == SHMS_OK; a++) {
        *busy = &s->arenas[a].lock;
        if (!shms_lock_try(s, *busy, SHMS_SPINS, seen)) {
            rc = SHMS_BUSY;
            break;
        }
        uint64_t before = count_slots(s, a), removed = 0;
        rc = repair_arena(s, a, &removed, c);
        uint64_t after = count_slots(s, a); /* puts may add slots meanwhile; an entry that a put replaces is not lost */
        *lost += shms_max(removed, before > after ? before - after : 0);
        shms_arena_leave(s, a);
    }
    if (rc == SHMS_OK)
        rc = raise_reaches(s, lost, busy, seen, c);
    free(c);
    return rc;
}
