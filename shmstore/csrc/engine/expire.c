/* expire.c: sweeping what is due. Contract and argument are in expire.h.
 *
 * Taking out V needs V's arena lock alone, as eviction does: go on only if V's slot refers to V, read first, and
 * then V's home bucket is unlocked (its publisher may not have cleared his record yet) [slot-then-home]; then
 * move the home's count, empty the slot, move the count again, free V. */
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
    while (!shms_cas_acq_rel(due, &w, new)); /* [publish-then-due] pairs with the acquire in sweep */
}

void shms_expire_suspect(struct shms_store *s, uint64_t home) {
    if (!shms_any_expiry(s))
        return;
    uint32_t reach = SHMS_LOCK_REACH(shms_load_acquire(&s->buckets[home].lock));
    for (uint32_t d = 0; d <= reach; d++)
        shms_expire_note(s, (home + d) % s->bucket_count, 1);
}

/* The expiry of the entry in this slot if it could be read in peace: 0 never, or empty, or changing just now. */
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

/* One group: takes out what has expired, and states the earliest expiry that is left. */
static uint64_t sweep(struct shms_store *s, uint64_t group, uint64_t now, bool *everything) {
    _Atomic uint64_t *due = &s->due[group];
    uint64_t before = shms_load_acquire(due), earliest = 0, gone = 0; /* [publish-then-due] */
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
                *everything &= shms_load_relaxed(slot) != word; /* else somebody took it out, or touched it */
            }
            uint64_t ms = expiry / 1000000 + 1;
            earliest = earliest && earliest < ms ? earliest : ms;
        }
    shms_cas_acq_rel(due, &before, SHMS_DUE(earliest, before + 1)); /* fails if a writer was here: look again */
    return gone;
}

void shms_expire_some(struct shms_store *s) {
    uint64_t lines = (s->group_count + WORDS_LOOKED_AT - 1) / WORDS_LOOKED_AT;
    uint64_t line = s->sweep_cursor++ % lines;
    /* A line of due words stands for one page of the slot table. */
    if (!shms_page_in_use(s, line)) {
        s->sweep_cursor = shms_next_page_in_use(s, line);
        return;
    }
    uint64_t now = shms_os_now();
    uint64_t last = shms_min((line + 1) * WORDS_LOOKED_AT, s->group_count);
    for (uint64_t group = line * WORDS_LOOKED_AT; group < last; group++) {
        uint64_t ms = SHMS_DUE_MS(shms_load_relaxed(&s->due[group]));
        if (ms && ms <= now / 1000000) {
            bool everything = true;
            sweep(s, group, now, &everything);
            s->sweep_cursor = line; /* there may be more in this line */
            return;
        }
    }
}

uint64_t shms_expire_all(struct shms_store *s, bool *everything) {
    uint64_t gone = 0, now = shms_os_now();
    for (uint64_t page = 0; (page = shms_next_page_in_use(s, page)) < s->table_pages; page++) {
        uint64_t last = shms_min((page + 1) * WORDS_LOOKED_AT, s->group_count);
        for (uint64_t group = page * WORDS_LOOKED_AT; group < last; group++) {
            uint64_t ms = SHMS_DUE_MS(shms_load_relaxed(&s->due[group]));
            if (ms && ms <= now / 1000000 + 1)
                gone += sweep(s, group, now, everything);
        }
    }
    return gone;
}
