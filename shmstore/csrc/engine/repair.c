/* repair.c: the store made sound again, by force of what is still certain.
 *
 * No death needs this: recover.c and rebuild.c leave nothing undone. It is for bytes that no version of this code
 * wrote. The order:
 *   1  I10, I12: pages of the slot table that hold something are marked; locks of nobody are opened
 *   2  per arena, under its lock: a rebuild (I6 to I9), after which each slot's block is one and nobody else's; then
 *      its entries, each judged by its own bytes: hash, tag, lengths, distance (I2, I3), the only one of its key (I5),
 *      noted as due (I11). A slot number is put right; what cannot be read is given up, as an eviction would do it.
 *   3  I4: the reach of a home is raised to its farthest entry, in a lock word that nobody holds.
 * CRASH anywhere: each step is one that puts, evictions and rebuilds take, with the same ending. Calling it again does
 * the rest. */
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

static bool open_lock(struct shms_store *s, _Atomic uint64_t *lock) {
    for (int tries = 0; tries < 4 && !shms_owner_is_sound(s, lock); tries++)
        shms_await(s, lock, shms_load_acquire(lock), 1000000);
    return shms_owner_is_sound(s, lock);
}

/* NULL, or a lock that could not be opened. */
static _Atomic uint64_t *open_locks(struct shms_store *s) {
    for (uint32_t a = 0; a < s->arena_count; a++)
        if (!open_lock(s, &s->arenas[a].lock))
            return &s->arenas[a].lock;
    for (uint64_t page = 0; (page = shms_next_page_in_use(s, page)) < s->table_pages; page++) {
        uint64_t last = shms_min((page + 1) * SHMS_PAGE_BUCKETS, s->bucket_count);
        for (uint64_t b = page * SHMS_PAGE_BUCKETS; b < last; b++)
            if (!open_lock(s, &s->buckets[b].lock))
                return &s->buckets[b].lock;
    }
    return NULL;
}

/* An entry as it is now, its key copied. */
struct entry {
    _Atomic uint64_t *slot;
    uint64_t word, bucket;
    uint32_t number;
    struct shms_found found;
    struct shms_name name;
    uint8_t key[SHMS_KEY_MAX];
};
enum judgement { EMPTY, SOUND, MISPLACED, LOST };

static enum judgement read_entry(struct shms_store *s, uint64_t bucket, uint32_t index, struct entry *e) {
    const uint8_t *key;
    uint32_t length;
    e->slot = &s->buckets[bucket].slots[index];
    e->word = shms_load_acquire(e->slot);
    e->bucket = bucket;
    e->number = (uint32_t)(bucket * SHMS_BUCKET_SLOTS + index);
    if (!e->word)
        return EMPTY;
    int rc = shms_peek(s, bucket, index, &e->found, &key, &length);
    if (rc == SHMS_MISS)
        return EMPTY;
    if (rc != SHMS_OK)
        return LOST;
    e->word = e->found.word;
    shms_copy_racy(e->key, key, shms_min(length, SHMS_KEY_MAX));
    if (!shms_found_still(&e->found))
        return EMPTY; /* changed just now, by somebody whose work is sound */
    shms_name_init(s, &e->name, e->key, length, e->found.kind & SHMS_FLAG_BYTES_KEY);
    uint64_t distance = (bucket + s->bucket_count - e->name.home) % s->bucket_count;
    e->found.distance = (uint32_t)shms_min(distance, UINT32_MAX);
    if (distance > SHMS_REACH_MAX || shms_load_relaxed(&e->found.block->hash) != e->name.hash ||
        SHMS_SLOT_TAG_OF(e->word) != SHMS_SLOT_TAG(e->name.hash, e->name.home))
        return LOST;
    if (!shms_bucket_in_use(s, e->name.home))
        return MISPLACED; /* the page of its lock was never written to */
    return distance > SHMS_LOCK_REACH(shms_load_acquire(&s->buckets[e->name.home].lock)) ? MISPLACED : SOUND;
}

/* REQUIRES the lock of arena a, rebuilt, and the entry in it. */
static bool give_up(struct shms_store *s, uint32_t a, struct entry *e) {
    uint64_t offset = SHMS_SLOT_BLOCK(e->word), word = e->word;
    shms_arena_doom(s, a, offset);
    if (!shms_cas_acq_rel(e->slot, &word, 0)) /* [doom-then-slot] */
        return false;
    if (!shms_arena_free(s, a, offset))
        shms_rebuild(s, a);
    return true;
}

static bool judge(struct shms_store *s, uint32_t a, struct entry *e, enum judgement judgement) {
    struct shms_found first;
    uint32_t others;
    if (judgement == LOST)
        return give_up(s, a, e);
    if (shms_find_locked(s, &e->name, &first, &others) == SHMS_OK && first.number != e->number &&
        shms_load_acquire(first.slot) == first.word)
        return give_up(s, a, e); /* readers find the other one */
    shms_store_relaxed(&e->found.block->slot, e->number);
    uint64_t expiry = shms_load_acquire(&e->found.block->expiry);
    if (expiry) {
        shms_store_release(&s->header->mortal, 1);
        shms_expire_note(s, e->bucket, expiry);
    }
    return false;
}

static int repair_arena(struct shms_store *s, uint32_t a, uint64_t *lost, struct entry *e) {
    int rc = shms_rebuild(s, a);
    for (uint64_t page = 0; rc == SHMS_OK && (page = shms_next_page_in_use(s, page)) < s->table_pages; page++) {
        uint64_t last = shms_min((page + 1) * SHMS_PAGE_BUCKETS, s->bucket_count);
        for (uint64_t bucket = page * SHMS_PAGE_BUCKETS; bucket < last; bucket++)
            for (uint32_t i = 0; i < SHMS_BUCKET_SLOTS; i++) {
                uint64_t offset = SHMS_SLOT_BLOCK(shms_load_acquire(&s->buckets[bucket].slots[i]));
                if (!offset || !shms_block_at(s, offset) || shms_arena_of(s, offset) != a)
                    continue;
                enum judgement judgement = read_entry(s, bucket, i, e);
                if (judgement != EMPTY && SHMS_SLOT_BLOCK(e->word) == offset)
                    *lost += judge(s, a, e, judgement);
            }
    }
    return rc;
}

/* In a word that nobody holds: whoever takes the lock next sees the entry, and leaves a reach that covers it. False: it
 * is held. */
static bool raise_reach(_Atomic uint64_t *lock, uint32_t distance, uint64_t *seen) {
    *seen = shms_load_acquire(lock);
    while (SHMS_LOCK_OWNER(*seen) == 0 && SHMS_LOCK_REACH(*seen) < distance)
        if (shms_cas_acq_rel(lock, seen, (*seen & ~0xff0000ull) | (uint64_t)distance << 16))
            return true;
    return SHMS_LOCK_OWNER(*seen) == 0;
}

/* A put that did not see the misplaced entry made another one of its name meanwhile: that is the one. */
static int drop_former(struct shms_store *s, uint64_t bucket, uint32_t index, uint64_t *lost, _Atomic uint64_t **busy,
                       uint64_t *seen, struct entry *e) {
    uint32_t a = shms_arena_of(s, SHMS_SLOT_BLOCK(e->word));
    *busy = &s->arenas[a].lock;
    if (!shms_lock_try(s, *busy, SHMS_SPINS, seen))
        return SHMS_BUSY;
    if (read_entry(s, bucket, index, e) == MISPLACED && shms_arena_of(s, SHMS_SLOT_BLOCK(e->word)) == a)
        *lost += give_up(s, a, e);
    shms_arena_leave(s, a);
    return SHMS_OK;
}

static int raise_reaches(struct shms_store *s, uint64_t *lost, _Atomic uint64_t **busy, uint64_t *seen, struct entry *e) {
    for (uint64_t page = 0; (page = shms_next_page_in_use(s, page)) < s->table_pages; page++) {
        uint64_t last = shms_min((page + 1) * SHMS_PAGE_BUCKETS, s->bucket_count);
        for (uint64_t bucket = page * SHMS_PAGE_BUCKETS; bucket < last; bucket++)
            for (uint32_t i = 0; i < SHMS_BUCKET_SLOTS; i++) {
                struct shms_found other;
                if (read_entry(s, bucket, i, e) != MISPLACED)
                    continue;
                if (shms_find(s, &e->name, &other) == SHMS_OK && other.number != e->number) {
                    int rc = drop_former(s, bucket, i, lost, busy, seen, e);
                    if (rc != SHMS_OK)
                        return rc;
                    continue;
                }
                if (!shms_bucket_use(s, e->name.home))
                    return SHMS_FULL;
                *busy = &s->buckets[e->name.home].lock;
                if (!raise_reach(*busy, e->found.distance, seen))
                    return SHMS_BUSY;
            }
    }
    return SHMS_OK;
}

/* Slots that name a block of this arena; for the first one also those that name nothing in the heap. */
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
    struct entry *e = malloc(sizeof *e);
    if (!e)
        return SHMS_NO_MEMORY;
    shms_recover_all(s, false);
    mark_pages(s);
    int rc = SHMS_OK;
    open_locks(s); /* which may find somebody dead whose other locks were passed by */
    if ((*busy = open_locks(s))) {
        *seen = shms_load_acquire(*busy);
        rc = SHMS_BUSY;
    }
    mark_pages(s); /* locks that the dead held, by their word, may lie anywhere */
    for (uint32_t a = 0; a < s->arena_count && rc == SHMS_OK; a++) {
        *busy = &s->arenas[a].lock;
        if (!shms_lock_try(s, *busy, SHMS_SPINS, seen)) {
            rc = SHMS_BUSY;
            break;
        }
        uint64_t before = count_slots(s, a), given_up = 0;
        rc = repair_arena(s, a, &given_up, e);
        uint64_t after = count_slots(s, a); /* puts add to it meanwhile; what they replace is no loss */
        *lost += shms_max(given_up, before > after ? before - after : 0);
        shms_arena_leave(s, a);
    }
    if (rc == SHMS_OK)
        rc = raise_reaches(s, lost, busy, seen, e);
    free(e);
    return rc;
}
