/* recover.c: emptying the hands of the dead; any number of processes may do it at once.
 *
 * STEPS for client c of generation g
 *   1 prove that its process is gone            (liveness.c; nothing is done without proof)
 *   2 entry (g, live) -> (g, dead)              compare-and-swap: with the generation, or a new tenant is hit
 *   3 for the bucket in each of its records, and for every arena: read the lock word; it names c, and after
 *     that the entry still is (g, dead): move the whole word on [word-then-owner]. A bucket needs no repair; an
 *     arena is rebuilt before its lock is let go.
 *   4 for the block in each of its records: rebuild the block's arena; the record does not count any more, so
 *     the block is free, unless a slot has it.
 *   5 entry (g, dead) -> (g, free)              only now can the number be claimed again
 * WHY 3 IS SAFE  The number is not reused before 5, and 5 needs (g, dead). If the entry still is (g, dead) after
 *   the word was read, the word was the dead client's, and the whole-word exchange fails if anybody moved it.
 * CRASH of a finder: the entry stays dead and the next finder does it all again; arenas that the finder held
 *   name him, and he is recovered likewise. No finder writes a record. */
#include "engine/recover.h"

#include "engine/arena.h"
#include "engine/expire.h"
#include "engine/lock.h"

/* Moves a lock word that names the dead to `owner`; [word-then-owner]. */
static bool transfer_lock(struct shms_client *c, uint64_t dead, _Atomic uint64_t *lock, uint64_t seen, uint32_t holder) {
    if (shms_load_acquire(&c->owner) != dead)
        return false;
    uint64_t new = (seen & ~0xffffull & ~(holder ? 0 : SHMS_LOCK_WAITERS)) + SHMS_LOCK_ONE;
    if (!shms_cas_acq_rel(lock, &seen, new | holder))
        return false;
    if (!holder && (seen & SHMS_LOCK_WAITERS))
        shms_wake(lock);
    return true;
}

static bool release_buckets(struct shms_store *s, struct shms_client *c, uint32_t number, uint64_t dead) {
    for (uint32_t i = 0; i < SHMS_CLIENT_RECORDS; i++) {
        uint64_t bucket = shms_load_acquire(&c->records[i].bucket) - 1; /* 0 - 1 is out of range */
        if (bucket >= s->bucket_count || !shms_bucket_in_use(s, bucket))
            continue;
        _Atomic uint64_t *lock = &s->buckets[bucket].lock;
        shms_expire_suspect(s, bucket); /* before the unlock: then I11 holds whenever the bucket is unlocked */
        for (;;) {
            uint64_t w = shms_load_acquire(lock);
            if (SHMS_LOCK_HOLDER(w) != number || transfer_lock(c, dead, lock, w, 0))
                break;
            if (shms_load_acquire(&c->owner) != dead)
                return false; /* somebody else finished the job */
        }
    }
    return true;
}

/* Rebuilds the arenas that the dead held or had a block of; false if one was busy: the entry stays dead until
 * somebody gets round. One arena behind a stopped process's lock must not keep the others. */
static bool rebuild_arenas(struct shms_store *s, struct shms_client *c, uint32_t number, uint64_t dead) {
    uint32_t wanted = 0;
    bool complete = true;
    uint64_t seen;
    for (uint32_t i = 0; i < SHMS_CLIENT_RECORDS; i++) {
        uint64_t block = shms_load_acquire(&c->records[i].block);
        if (block >= s->heap_offset && block < s->heap_end)
            wanted |= 1u << shms_arena_of(s, block);
    }
    for (uint32_t a = 0; a < s->arena_count; a++) {
        _Atomic uint64_t *lock = &s->arenas[a].lock;
        uint64_t w = shms_load_acquire(lock);
        bool held = SHMS_LOCK_HOLDER(w) == number;
        if (!held && !(wanted >> a & 1))
            continue;
        if (!s->number)
            return false; /* no client yet: only places that left nothing like this can be freed */
        if (held ? !transfer_lock(c, dead, lock, w, s->number) : !shms_lock_try(s, lock, 4 * SHMS_SPINS, &seen)) {
            complete = false; /* busy, or another finder was faster */
            continue;
        }
        if (held)
            shms_stat(s, SHMS_TAKEOVERS, 1);
        /* What was taken over from the dead is rebuilt, even if another finder has freed the entry since. */
        if ((held || shms_load_acquire(&c->owner) == dead) && shms_rebuild(s, a) != SHMS_OK)
            complete = false;
        shms_arena_leave(s, a);
    }
    return complete;
}

/* Did it die in the midst of something? Most processes that go without a word had nothing in hand. */
static bool left_something(struct shms_store *s, struct shms_client *c, uint32_t number) {
    for (uint32_t i = 0; i < SHMS_CLIENT_RECORDS; i++)
        if (shms_load_relaxed(&c->records[i].bucket) || shms_load_relaxed(&c->records[i].block))
            return true;
    for (uint32_t a = 0; a < s->arena_count; a++)
        if (SHMS_LOCK_HOLDER(shms_load_relaxed(&s->arenas[a].lock)) == number)
            return true;
    return false;
}

bool shms_recover_client(struct shms_store *s, uint32_t index) {
    struct shms_client *c = shms_client_at(s, index);
    uint64_t w = shms_load_acquire(&c->owner);
    if (SHMS_OWNER_STATE(w) == SHMS_CLIENT_FREE || (c == s->me && w == s->owner))
        return false;
    if (shms_client_life(s, index, w) != SHMS_GONE)
        return false;
    if (SHMS_OWNER_STATE(w) == SHMS_CLIENT_CLAIMING) /* it owned nothing */
        return shms_cas_acq_rel(&c->owner, &w, SHMS_OWNER_WITH_STATE(w, SHMS_CLIENT_FREE));
    uint64_t dead = SHMS_OWNER_WITH_STATE(w, SHMS_CLIENT_DEAD);
    bool first = false;
    if (w != dead) {
        first = shms_cas_acq_rel(&c->owner, &w, dead);
        if (!first && w != dead)
            return false;
    }
    if (first && left_something(s, c, index + 1)) {
        shms_store_relaxed(&s->last_dead_pid, SHMS_OWNER_PID(w));
        shms_fetch_add_acq_rel(&s->takeovers, 1);
    }
    if (!release_buckets(s, c, index + 1, dead) || !rebuild_arenas(s, c, index + 1, dead))
        return false;
    shms_store_relaxed(&c->attached, shms_os_realtime()); /* since then it is free; the death itself left no time */
    return shms_cas_acq_rel(&c->owner, &dead, SHMS_OWNER_WITH_STATE(dead, SHMS_CLIENT_FREE));
}

uint32_t shms_recover_all(struct shms_store *s, bool quick) {
    uint32_t recovered = 0;
    uint64_t high = shms_min(shms_load_acquire(&s->header->clients_high), s->client_count);
    for (uint32_t i = 0; i < high; i++) {
        uint64_t w = shms_load_acquire(&shms_client_at(s, i)->owner);
        if (SHMS_OWNER_STATE(w) == SHMS_CLIENT_FREE || (quick && !shms_client_obviously_gone(s, i, w)))
            continue;
        recovered += shms_recover_client(s, i);
    }
    return recovered;
}

bool shms_recover_adopted(struct shms_store *s, uint32_t index, uint64_t owner) {
    struct shms_client *c = shms_client_at(s, index);
    return release_buckets(s, c, index + 1, owner) && rebuild_arenas(s, c, index + 1, owner);
}

/* A lock whose owner's place is free breaks I12: the place is given up only after its locks. No process does
 * that, scribbled bytes do; the whole-word exchange makes sure that nobody released it meanwhile. */
static void release_orphan(struct shms_store *s, _Atomic uint64_t *lock, uint64_t seen) {
    for (uint32_t a = 0; a < s->arena_count; a++)
        if (lock == &s->arenas[a].lock) {
            uint64_t new = ((seen & ~0xffffull) + SHMS_LOCK_ONE) | s->number;
            if (shms_cas_acq_rel(lock, &seen, new)) {
                shms_rebuild(s, a);
                shms_arena_leave(s, a);
            }
            return;
        }
    uint64_t new = (seen & ~(0xffffull | SHMS_LOCK_WAITERS)) + SHMS_LOCK_ONE;
    if (shms_cas_acq_rel(lock, &seen, new))
        shms_wake(lock);
}

void shms_await(struct shms_store *s, _Atomic uint64_t *lock, uint64_t seen, uint64_t nanoseconds) {
    for (int i = 0; i < 8; i++) {
        uint64_t w = shms_load_acquire(lock);
        if (SHMS_LOCK_HOLDER(w) == 0 || SHMS_LOCK_COUNT(w) != SHMS_LOCK_COUNT(seen))
            return;
        shms_os_yield();
    }
    uint64_t w = shms_load_acquire(lock);
    uint32_t holder = SHMS_LOCK_HOLDER(w);
    if (holder == 0)
        return;
    if (holder > s->client_count ||
        SHMS_OWNER_STATE(shms_load_acquire(&shms_client_at(s, holder - 1)->owner)) == SHMS_CLIENT_FREE) {
        release_orphan(s, lock, w);
        return;
    }
    shms_recover_client(s, holder - 1);
    w = shms_load_acquire(lock);
    if (SHMS_LOCK_HOLDER(w) != holder)
        return;
    uint64_t flagged = w | SHMS_LOCK_WAITERS; /* L4 */
    if (w == flagged || shms_cas_acq_rel(lock, &w, flagged))
        shms_os_futex_wait(shms_lock_count(lock), SHMS_LOCK_COUNT(flagged), nanoseconds);
}
