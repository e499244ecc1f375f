/* expire.c: sweeping expired entries. The due word is explained in expire.h.
 *
 * WRITER  Taking an entry out needs only the lock of its block's arena:
 *   1 the slot still refers to the block, in the life that was looked at, and the expiry has passed
 *   2 move the count of the home bucket's word; go on only if no client held the bucket
 *   3 note the block as retiring; empty the slot; move the count again, which wakes waiters; free the block
 * ORDERING [slot-then-home]  The slot is read before the home's word. The publisher holds the home bucket until it has
 *   cleared its record. So if the entry was in the slot and the bucket is not held afterwards, no record names the
 *   block, and it can be freed. A publisher that takes the bucket after step 2 finds the arena locked and tries again
 *   later, or finds the slot empty.
 * CRASH  The arena's lock names the dead client, and the rebuild finds the entry in its slot or frees its block. */
#include "engine/expire.h"

#include "engine/arena.h"
#include "engine/lock.h"
#include "engine/rebuild.h"

#define WORDS_LOOKED_AT 8u

void shms_expire_note(struct shms_store *s, uint64_t bucket, uint64_t expiry) {
    _Atomic uint64_t *due = &s->due[bucket / SHMS_GROUP_BUCKETS];
    uint64_t ms = expiry / 1000000 + 1, w = shms_load_relaxed(due), new;
    do
        new = SHMS_DUE(SHMS_DUE_MS(w) && SHMS_DUE_MS(w) < ms ? SHMS_DUE_MS(w) : ms, w + 1);
    while (!shms_cas_acq_rel(due, &w, new)); /* [publish-then-due] pairs with the first load in sweep */
}

void shms_expire_suspect(struct shms_store *s, uint64_t home) {
    if (!shms_any_expiry(s))
        return;
    uint32_t reach = SHMS_LOCK_REACH(shms_load_acquire(&s->buckets[home].lock));
    for (uint32_t d = 0; d <= reach; d++)
        shms_expire_note(s, (home + d) % s->bucket_count, 1);
}

/* The expiry of the entry in this slot, by the steps of a reader (table.h). 0: it never expires, or the slot is empty
 * or is changing. */
static uint64_t peek(struct shms_store *s, _Atomic uint64_t *slot, uint64_t *word, uint64_t *sequence) {
    *word = shms_load_acquire(slot);
    struct shms_block *b = *word ? shms_block_at(s, SHMS_SLOT_BLOCK(*word)) : NULL;
    if (!b)
        return 0;
    *sequence = shms_load_acquire(&b->sequence);
    if (shms_load_acquire(slot) != *word)
        return 0;
    uint64_t expiry = shms_load_relaxed(&b->expiry);
    shms_fence_acquire(); /* [block-life] */
    return shms_load_relaxed(&b->sequence) == *sequence ? expiry : 0;
}

static bool take_out(struct shms_store *s, _Atomic uint64_t *slot, uint32_t number, uint64_t word, uint64_t sequence) {
    uint64_t offset = SHMS_SLOT_BLOCK(word), seen;
    uint32_t a = shms_arena_of(s, offset);
    struct shms_block *b = shms_block_at(s, offset);
    if (!shms_arena_enter(s, a, SHMS_SPINS, &seen))
        return false;
    bool done = false;
    uint64_t expiry = shms_load_relaxed(&b->expiry);
    if (shms_load_acquire(slot) == word && shms_load_relaxed(&b->sequence) == sequence &&
        shms_load_relaxed(&b->slot) == number && expiry && expiry <= shms_os_now()) {
        _Atomic uint64_t *home = &s->buckets[shms_home_of(s, shms_load_relaxed(&b->hash))].lock;
        if (shms_bucket_in_use(s, shms_home_of(s, shms_load_relaxed(&b->hash))) &&
            SHMS_LOCK_HOLDER(shms_lock_touch(home)) == 0) { /* [slot-then-home] */
            shms_arena_retire(s, a, offset);
            done = shms_cas_acq_rel(slot, &word, 0); /* [retire-then-slot] */
            shms_lock_touch(home);
            if (done && !shms_arena_free(s, a, offset))
                shms_rebuild(s, a);
        }
    }
    shms_arena_leave(s, a);
    if (done)
        shms_stat(s, SHMS_EXPIRATIONS, 1);
    return done;
}

/* Sweeps one group: removes what has expired, and sets the due word to the earliest expiry that is left. */
static uint64_t sweep(struct shms_store *s, uint64_t group, uint64_t now, bool *everything) {
    _Atomic uint64_t *due = &s->due[group];
    uint64_t before = shms_load_acquire(due), earliest = 0, gone = 0; /* [publish-then-due] before any look at a slot */
    uint64_t last = shms_min((group + 1) * SHMS_GROUP_BUCKETS, s->bucket_count);
    for (uint64_t bucket = group * SHMS_GROUP_BUCKETS; bucket < last; bucket++)
        for (uint32_t i = 0; i < SHMS_BUCKET_SLOTS; i++) {
            _Atomic uint64_t *slot = &s->buckets[bucket].slots[i];
            uint64_t word, sequence, expiry = peek(s, slot, &word, &sequence);
            if (!expiry)
                continue;
            if (expiry <= now) {
                if (take_out(s, slot, (uint32_t)(bucket * SHMS_BUCKET_SLOTS + i), word, sequence)) {
                    gone++;
                    continue;
                }
                *everything &= shms_load_relaxed(slot) != word; /* still there: a lock was busy */
            }
            uint64_t ms = expiry / 1000000 + 1;
            earliest = earliest && earliest < ms ? earliest : ms;
        }
    /* The exchange fails if a writer made a note meanwhile. Then the due word stays as it is, early enough. */
    shms_cas_acq_rel(due, &before, SHMS_DUE(earliest, before + 1)); /* failed: the next sweep looks again */
    return gone;
}

void shms_expire_some(struct shms_store *s) {
    uint64_t group = s->sweep_cursor < s->group_count ? s->sweep_cursor : s->sweep_cursor % s->group_count;
    uint64_t line = group / WORDS_LOOKED_AT;
    /* A line of due words stands for one page of the slot table. */
    if (!shms_page_in_use(s, line)) {
        uint64_t next = shms_next_page_in_use(s, line) * WORDS_LOOKED_AT;
        s->sweep_cursor = next < s->group_count ? next : 0;
        return;
    }
    uint64_t now = shms_os_now();
    uint64_t last = shms_min((line + 1) * WORDS_LOOKED_AT, s->group_count);
    bool everything = true;
    for (; group < last; group++) {
        uint64_t ms = SHMS_DUE_MS(shms_load_relaxed(&s->due[group]));
        if (ms && ms <= now / 1000000) {
            sweep(s, group, now, &everything); /* what a busy lock kept in the table stays due until the next round */
            last = group + 1;
        }
    }
    s->sweep_cursor = last;
}

uint64_t shms_expire_step(struct shms_store *s, uint64_t *page, uint64_t pages, bool *everything) {
    uint64_t gone = 0, now = shms_os_now();
    for (; pages && (*page = shms_next_page_in_use(s, *page)) < s->table_pages; pages--, ++*page) {
        uint64_t last = shms_min((*page + 1) * WORDS_LOOKED_AT, s->group_count);
        for (uint64_t group = *page * WORDS_LOOKED_AT; group < last; group++) {
            uint64_t ms = SHMS_DUE_MS(shms_load_relaxed(&s->due[group]));
            if (ms && ms <= now / 1000000 + 1)
                gone += sweep(s, group, now, everything);
        }
    }
    return gone;
}

uint64_t shms_expire_all(struct shms_store *s, bool *everything) {
    uint64_t page = 0;
    return shms_expire_step(s, &page, UINT64_MAX, everything);
}
