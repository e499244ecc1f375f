/* check.c: verifies the invariants of layout.h, one arena at a time under its lock
 *
 * READER  1 follow the chain of blocks and free runs from the arena's base to its top; note each block
 *         2 follow the lists of free runs
 *         3 mark the blocks that operation records and the zombie list name
 *         4 look at every slot that names a block of this arena; mark that block; verify the entry
 *         5 every block of step 1 must have been marked
 * ORDERING [records-then-slots]  While the arena's lock is held, none of its blocks is allocated, freed or taken out of
 *   its slot. But a block may still be published out of a record. So records come before slots, as in a rebuild.
 * LIMITS  A read-only attachment takes no lock. What it saw of an arena counts only if the lock word did not change. If
 *   writers are faster, it verifies the entries alone, each by its sequence, and leaves the chain and the lists out. */
#include "engine/check.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/arena.h"
#include "engine/lock.h"
#include "segment/memory.h"
#include "engine/recover.h"
#include "engine/table.h"

#define READ_ONLY_TRIES 4u

struct chain {
    struct shms_store *s;
    uint32_t arena;
    bool entries_only; /* there is no chain: writers change it meanwhile */
    uint64_t *blocks;  /* offsets, rising; the lowest bit: marked */
    uint64_t count, room, runs;
    char *what;
    size_t size;
    uint8_t key[SHMS_KEY_MAX]; /* a copy: a read-only attachment holds no lock, so the block may be reused */
};

#define BROKEN(c, ...) (snprintf((c)->what, (c)->size, __VA_ARGS__), SHMS_CORRUPT)

static struct shms_block *block_of(struct chain *c, uint64_t offset) {
    return (struct shms_block *)(c->s->base + offset);
}

/* From base to top: I6, I7 (no two free runs touch), I8. */
static int follow_chain(struct chain *c) {
    struct shms_store *s = c->s;
    struct shms_arena *arena = &s->arenas[c->arena];
    uint64_t at = shms_arena_base(s, c->arena), top = shms_load_relaxed(&arena->top), used = 0;
    bool after_free = false;
    if (top < at || top > shms_arena_end(s, c->arena))
        return BROKEN(c, "I6: the top of arena %u lies outside of it", c->arena);
    while (at < top) {
        if (top - at < SHMS_BLOCK_MIN || at % SHMS_GRANULE)
            return BROKEN(c, "I6: the chain of arena %u does not end at its top", c->arena);
        uint32_t tag = shms_load_relaxed(&block_of(c, at)->tag);
        if (!(tag & SHMS_TAG_FREE) && (bool)(tag & SHMS_TAG_PREV_FREE) != after_free)
            return BROKEN(c, "I6: the block at %#llx is wrong about its neighbour", (unsigned long long)at);
        if (tag & SHMS_TAG_FREE) {
            uint64_t bytes = shms_load_relaxed(&block_of(c, at)->lengths);
            if (after_free || bytes < SHMS_BLOCK_MIN || bytes % SHMS_GRANULE || bytes >= top - at)
                return BROKEN(c, "I7: the free run at %#llx touches another one or the top", (unsigned long long)at);
            if (shms_load_relaxed((_Atomic uint64_t *)(s->base + at + bytes - 8)) != bytes)
                return BROKEN(c, "I6: the free run at %#llx ends with another size", (unsigned long long)at);
            c->runs++;
            after_free = true;
            at += bytes;
            continue;
        }
        uint64_t bytes = shms_arena_block_size(s, c->arena, at);
        if (!bytes)
            return BROKEN(c, "I6: what stands at %#llx is neither block nor free run", (unsigned long long)at);
        if (c->count == c->room) {
            uint64_t room = c->room ? 2 * c->room : 1024;
            uint64_t *blocks = realloc(c->blocks, room * sizeof *blocks);
            if (!blocks)
                return SHMS_NO_MEMORY;
            c->blocks = blocks;
            c->room = room;
        }
        c->blocks[c->count++] = at;
        used += bytes;
        after_free = false;
        at += bytes;
    }
    if (used != shms_load_relaxed(&arena->used) || c->count != shms_load_relaxed(&arena->blocks))
        return BROKEN(c, "I8: arena %u states %llu bytes in %llu blocks, its chain has %llu in %llu", c->arena,
                      (unsigned long long)shms_load_relaxed(&arena->used),
                      (unsigned long long)shms_load_relaxed(&arena->blocks), (unsigned long long)used,
                      (unsigned long long)c->count);
    return SHMS_OK;
}

/* The lists of free runs and their bits: I7. */
static int follow_lists(struct chain *c) {
    struct shms_store *s = c->s;
    struct shms_arena *arena = &s->arenas[c->arena];
    uint64_t met = 0;
    for (uint32_t fl = 0; fl < SHMS_FL; fl++) {
        uint16_t map = shms_load_relaxed(&arena->sl_map[fl]);
        if ((shms_load_relaxed(&arena->fl_map) >> fl & 1) != (map != 0))
            return BROKEN(c, "I7: the maps of arena %u disagree", c->arena);
        for (uint32_t sl = 0; sl < SHMS_SL; sl++) {
            uint64_t run = shms_load_relaxed(&arena->heads[fl][sl]), before = 0;
            if ((map >> sl & 1) != (run != 0))
                return BROKEN(c, "I7: a list of arena %u is not in its map", c->arena);
            for (; run; before = run, run = shms_load_relaxed(&block_of(c, run)->hash)) {
                if (++met > c->runs || !shms_block_at(s, run) || shms_arena_of(s, run) != c->arena ||
                    !(shms_load_relaxed(&block_of(c, run)->tag) & SHMS_TAG_FREE) ||
                    shms_load_relaxed(&block_of(c, run)->expiry) != before)
                    return BROKEN(c, "I7: a list of arena %u holds what is no free run", c->arena);
            }
        }
    }
    return met == c->runs ? SHMS_OK : BROKEN(c, "I7: a free run of arena %u is in no list", c->arena);
}

/* Marks a block of the chain. False: the chain has no such block. *met: it was marked before. */
static bool mark_met(struct chain *c, uint64_t offset, bool *met) {
    uint64_t low = 0, high = c->count;
    while (low < high) {
        uint64_t middle = (low + high) / 2;
        if ((c->blocks[middle] & ~1ull) < offset)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == c->count || (c->blocks[low] & ~1ull) != offset)
        return false;
    *met = c->blocks[low] & 1;
    c->blocks[low] |= 1;
    return true;
}

static int visit_owners(struct chain *c) {
    struct shms_store *s = c->s;
    bool met;
    for (uint32_t i = 0; i < shms_min(shms_load_acquire(&s->header->clients_high), s->client_count); i++) {
        struct shms_client *client = shms_client_at(s, i);
        if (SHMS_OWNER_STATE(shms_load_acquire(&client->owner)) == SHMS_CLIENT_FREE)
            continue;
        for (uint32_t k = 0; k < SHMS_CLIENT_RECORDS; k++)
            mark_met(c, shms_load_acquire(&client->records[k].block), &met);
    }
    uint64_t zombie = shms_load_relaxed(&s->arenas[c->arena].zombies), count = 0;
    for (; zombie; zombie = shms_load_relaxed(&block_of(c, zombie)->hash))
        if (++count > c->count || !mark_met(c, zombie, &met))
            return BROKEN(c, "I9: the zombie list of arena %u holds what is no block", c->arena);
    return count == shms_load_relaxed(&s->arenas[c->arena].zombie_count)
               ? SHMS_OK
               : BROKEN(c, "I8: arena %u miscounts its zombies", c->arena);
}

/* A writer notes the due time after publishing and before it releases the home bucket. So the entry is judged only
 * while the bucket is not held, and the due word is read again after that was seen. */
static bool due_in_time(struct shms_store *s, uint64_t bucket, uint64_t home, uint64_t expiry) {
    if (!expiry)
        return true; /* the due word is not read: its page may never have been committed */
    for (int look = 0; look < 2; look++) {
        uint64_t ms = SHMS_DUE_MS(shms_load_acquire(&s->due[bucket / SHMS_GROUP_BUCKETS]));
        if (ms && ms <= expiry / 1000000 + 1)
            return true;
        if (SHMS_LOCK_HOLDER(shms_load_acquire(&s->buckets[home].lock)))
            return true;
    }
    return false;
}

/* Is the entry the one that was looked at, so that a finding about it counts? */
static bool still_there(const struct shms_entry *e) {
    return shms_load_acquire(e->slot) == e->word && shms_entry_unchanged(e);
}

/* One entry of this arena: I2, I3, I4, I5, I11. */
static int visit_entry(struct chain *c, uint64_t bucket, uint32_t index, uint64_t w) {
    struct shms_store *s = c->s;
    uint64_t offset = SHMS_SLOT_BLOCK(w), slot = bucket * SHMS_BUCKET_SLOTS + index;
    bool met;
    if (!c->entries_only && !mark_met(c, offset, &met))
        return BROKEN(c, "I2: slot %llu names no block", (unsigned long long)slot);
    struct shms_entry e, first;
    const uint8_t *key;
    uint32_t length, others;
    int rc = shms_peek(s, bucket, index, &e, &key, &length);
    if (rc != SHMS_OK || e.word != w)
        return rc == SHMS_CORRUPT || (rc == SHMS_BUSY && !c->entries_only)
                   ? BROKEN(c, "I2: the block of slot %llu has impossible lengths", (unsigned long long)slot)
                   : SHMS_OK;
    struct shms_key k;
    shms_copy_short(c->key, key, shms_min(length, SHMS_KEY_MAX)); /* it is not longer, but compilers do not know that */
    if (!shms_entry_unchanged(&e))
        return SHMS_OK;
    shms_key_init(s, &k, c->key, length, e.kind & SHMS_FLAG_BYTES_KEY);
    if ((shms_load_relaxed(&e.block->hash) != k.hash || shms_load_relaxed(&e.block->slot) != slot) && still_there(&e))
        return BROKEN(c, "I3: the block of slot %llu has another hash or slot", (unsigned long long)slot);
    if (SHMS_SLOT_TAG_OF(w) != SHMS_SLOT_TAG(k.hash, k.home) && still_there(&e))
        return BROKEN(c, "I2: slot %llu has the wrong tag", (unsigned long long)slot);
    uint64_t distance = (bucket + s->bucket_count - k.home) % s->bucket_count;
    if (distance > SHMS_LOCK_REACH(shms_load_acquire(&s->buckets[k.home].lock)) && still_there(&e))
        return BROKEN(c, "I4: slot %llu lies beyond the reach of its home", (unsigned long long)slot);
    if (shms_find_locked(s, &k, &first, &others) == SHMS_OK && first.number != slot && still_there(&e) &&
        still_there(&first))
        return BROKEN(c, "I5: slots %llu and %u hold the same key", (unsigned long long)slot, first.number);
    if (!due_in_time(s, bucket, k.home, shms_load_acquire(&e.block->expiry)) && still_there(&e))
        return BROKEN(c, "I11: the entry in slot %llu expires before its group is due", (unsigned long long)slot);
    return SHMS_OK;
}

static int visit_slots(struct chain *c) {
    struct shms_store *s = c->s;
    for (uint64_t page = 0; (page = shms_next_page_in_use(s, page)) < s->table_pages; page++) {
        uint64_t last = shms_min((page + 1) * SHMS_PAGE_BUCKETS, s->bucket_count);
        for (uint64_t bucket = page * SHMS_PAGE_BUCKETS; bucket < last; bucket++)
            for (uint32_t i = 0; i < SHMS_BUCKET_SLOTS; i++) {
                uint64_t w = shms_load_acquire(&s->buckets[bucket].slots[i]);
                if (!w)
                    continue;
                if (!shms_block_at(s, SHMS_SLOT_BLOCK(w)))
                    return BROKEN(c, "I2: a slot of bucket %llu points out of the heap", (unsigned long long)bucket);
                if (shms_arena_of(s, SHMS_SLOT_BLOCK(w)) != c->arena)
                    continue;
                int rc = visit_entry(c, bucket, i, w);
                if (rc != SHMS_OK)
                    return rc;
            }
    }
    for (uint64_t i = 0; i < c->count; i++) /* none with entries_only */
        if (!(c->blocks[i] & 1))
            return BROKEN(c, "I9: the block at %#llx is in no slot and no record", (unsigned long long)c->blocks[i]);
    return SHMS_OK;
}

/* I12, for a lock whose word does not change while it is looked at. */
bool shms_holder_is_sound(struct shms_store *s, _Atomic uint64_t *lock) {
    uint64_t w = shms_load_acquire(lock);
    uint32_t holder = SHMS_LOCK_HOLDER(w);
    return !holder ||
           (holder <= s->client_count &&
            SHMS_OWNER_STATE(shms_load_acquire(&shms_client_at(s, holder - 1)->owner)) >= SHMS_CLIENT_LIVE) ||
           shms_load_acquire(lock) != w;
}

static int check_holder(struct shms_store *s, _Atomic uint64_t *lock, char *what, size_t size) {
    if (shms_holder_is_sound(s, lock))
        return SHMS_OK;
    snprintf(what, size, "I12: a lock names client %u, and no client has this number",
             SHMS_LOCK_HOLDER(shms_load_acquire(lock)));
    return SHMS_CORRUPT;
}

static int check_locks(struct shms_store *s, char *what, size_t size) {
    for (uint32_t a = 0; a < s->arena_count; a++)
        if (check_holder(s, &s->arenas[a].lock, what, size) != SHMS_OK)
            return SHMS_CORRUPT;
    for (uint64_t page = 0; (page = shms_next_page_in_use(s, page)) < s->table_pages; page++) {
        uint64_t last = shms_min((page + 1) * SHMS_PAGE_BUCKETS, s->bucket_count);
        for (uint64_t b = page * SHMS_PAGE_BUCKETS; b < last; b++)
            if (check_holder(s, &s->buckets[b].lock, what, size) != SHMS_OK)
                return SHMS_CORRUPT;
    }
    return SHMS_OK;
}

/* I10. Reading a page that is not in memory would bring it there, so the kernel is asked first. A writer may mark the
 * page after the first look, so the summary is read again before the page counts as unmarked. */
uint64_t shms_next_unmarked(struct shms_store *s, uint64_t from) {
    enum { AT_ONCE = 256 };
    uint8_t resident[AT_ONCE];
    for (uint64_t first = from; first < s->table_pages; first += AT_ONCE) {
        uint64_t pages = shms_min(AT_ONCE, s->table_pages - first);
        if (!s->memory->resident(s, (uint64_t)((uint8_t *)s->buckets - s->base) + first * SHMS_PAGE, pages, resident))
            break;
        for (uint64_t page = first; page < first + pages; page++) {
            if (!(resident[page - first] & 1) || shms_page_in_use(s, page))
                continue;
            _Atomic uint64_t *words = (_Atomic uint64_t *)&s->buckets[page * SHMS_PAGE_BUCKETS];
            uint64_t last = shms_min(s->bucket_count - page * SHMS_PAGE_BUCKETS, SHMS_PAGE_BUCKETS) * (SHMS_LINE / 8);
            for (uint64_t i = 0; i < last; i++)
                if (shms_load_acquire(&words[i]) && !shms_page_in_use(s, page))
                    return page;
        }
    }
    return s->table_pages;
}

static int check_unmarked(struct shms_store *s, char *what, size_t size) {
    uint64_t page = shms_next_unmarked(s, 0);
    if (page == s->table_pages)
        return SHMS_OK;
    snprintf(what, size, "I10: page %llu of the slot table is in use and not in the summary", (unsigned long long)page);
    return SHMS_CORRUPT;
}

/* A read-only attachment cannot take the lock. It notes the word of a free lock, and what it sees counts if the word is
 * the same afterwards (leave). False: the lock was held all the time; *seen names the holder. */
static bool enter(struct shms_store *s, uint32_t a, uint64_t *seen) {
    if (!s->readonly)
        return shms_arena_enter(s, a, SHMS_SPINS, seen);
    uint64_t first = shms_load_acquire(&s->arenas[a].lock);
    for (uint32_t spins = SHMS_SPINS;; spins--) {
        *seen = shms_load_acquire(&s->arenas[a].lock);
        if (SHMS_LOCK_HOLDER(*seen) == 0 || spins == 0)
            return SHMS_LOCK_HOLDER(*seen) == 0 || *seen != first; /* another holder: the arena is in use, see leave */
        shms_pause();
    }
}

static bool leave(struct shms_store *s, uint32_t a, uint64_t seen) {
    if (!s->readonly) {
        shms_arena_leave(s, a);
        return true;
    }
    shms_fence_acquire();
    return SHMS_LOCK_HOLDER(seen) == 0 && shms_load_relaxed(&s->arenas[a].lock) == seen;
}

/* SHMS_BUSY: the lock was not had. SHMS_AGAIN: a writer had it meanwhile. */
static int check_arena(struct shms_store *s, uint32_t a, char *what, size_t size, uint64_t *seen) {
    struct chain c = {.s = s, .arena = a, .what = what, .size = size};
    if (!enter(s, a, seen))
        return SHMS_BUSY;
    int rc = follow_chain(&c);
    if (rc == SHMS_OK)
        rc = follow_lists(&c);
    if (rc == SHMS_OK)
        rc = visit_owners(&c);
    if (rc == SHMS_OK)
        rc = visit_slots(&c);
    free(c.blocks);
    return leave(s, a, *seen) ? rc : SHMS_AGAIN;
}

int shms_check(struct shms_store *s, char *what, size_t size, _Atomic uint64_t **busy, uint64_t *seen) {
    if (!s->readonly)
        shms_recover_all(s, false);
    if (check_unmarked(s, what, size) != SHMS_OK)
        return SHMS_CORRUPT;
    for (uint32_t a = 0; a < s->arena_count; a++) {
        *busy = &s->arenas[a].lock;
        int rc = check_arena(s, a, what, size, seen);
        for (uint32_t tries = 1; rc == SHMS_AGAIN && tries < READ_ONLY_TRIES; tries++)
            rc = check_arena(s, a, what, size, seen);
        if (rc == SHMS_AGAIN) {
            struct chain c = {.s = s, .arena = a, .what = what, .size = size, .entries_only = true};
            rc = visit_slots(&c);
        }
        if (rc != SHMS_OK)
            return rc;
    }
    return check_locks(s, what, size);
}
