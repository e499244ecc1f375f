/* recover.c: taking over what dead clients hold. Any number of processes may recover one client at once.
 *
 * WRITER  For client c of generation g:
 *   1 prove that its process is gone       liveness.c; without proof nothing is done
 *   2 owner (g, live) -> (g, dead)         by compare-and-swap with the generation, so the next owner is never hit
 *   3 for the bucket in each of its records, and for every arena: read the lock word. If it names c, and after that the
 *     owner word still is (g, dead), exchange the whole word [word-then-owner]. A bucket needs no repair. An arena is
 *     rebuilt before its lock is released
 *   4 for the block in each of its records: rebuild the block's arena. The record of a dead client does not count, so
 *     the block becomes free, unless a slot refers to it
 *   5 owner (g, dead) -> (g, free)         only now can the number be claimed again
 * ORDERING [word-then-owner]  The number is not used again before step 5, and step 5 needs (g, dead). If the owner word
 *   still is (g, dead) after the lock word was read, the lock word was the dead client's. If any process has changed
 *   the lock word since, the exchange of the whole word fails. In the other order, owner word first, the slot could be
 *   freed and claimed in between, and a live client's lock would be taken away.
 * CRASH  of a recovering process: the slot stays dead, and the next process begins again. Arenas that it had taken name
 *   its own number, so it is recovered in the same way. It writes no record while recovering. */
#include "engine/recover.h"

#include "engine/arena.h"
#include "engine/expire.h"
#include "engine/lock.h"

/* Exchanges a lock word that names the dead client, for one that names `holder`, or none (0). [word-then-owner] */
static bool transfer_lock(struct shms_client *c, uint64_t dead, _Atomic uint64_t *lock, uint64_t seen,
                          uint32_t holder) {
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
        uint64_t bucket = shms_load_acquire(&c->records[i].bucket) - 1; /* no bucket: 0 - 1 is out of range */
        if (bucket >= s->bucket_count || !shms_bucket_in_use(s, bucket))
            continue;
        _Atomic uint64_t *lock = &s->buckets[bucket].lock;
        /* Its publish may have had no time to note the expiry. The note precedes the release, so I11 holds whenever the
         * bucket is unlocked. */
        shms_expire_suspect(s, bucket);
        for (;;) {
            uint64_t w = shms_load_acquire(lock);
            if (SHMS_LOCK_HOLDER(w) != number || transfer_lock(c, dead, lock, w, 0))
                break;
            if (shms_load_acquire(&c->owner) != dead)
                return false; /* another process has finished the recovery */
        }
    }
    return true;
}

/* Rebuilds the arenas that the client had locked or had a block of. False: an arena was busy, and the slot stays dead
 * for a later recovery. An arena that a stopped process holds must not delay the others. */
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
            return false; /* this process is not a client yet: it can free only slots that left no arena to rebuild */
        if (held ? !transfer_lock(c, dead, lock, w, s->number) : !shms_lock_try(s, lock, 4 * SHMS_SPINS, &seen)) {
            complete = false; /* busy, or another process was faster */
            continue;
        }
        if (held)
            shms_stat(s, SHMS_TAKEOVERS, 1);
        /* An arena that was taken over is rebuilt, even if another process has freed the slot since. */
        if ((held || shms_load_acquire(&c->owner) == dead) && shms_rebuild(s, a) != SHMS_OK)
            complete = false;
        shms_arena_leave(s, a);
    }
    return complete;
}

/* Did it die during an operation? Most processes that end without leaving had none in progress. */
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
    if (SHMS_OWNER_STATE(w) == SHMS_CLIENT_CLAIMING) /* it held nothing */
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
    shms_store_relaxed(&c->attached, shms_os_realtime()); /* when it was found dead; the death itself left no time */
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

/* A lock whose holder's slot is free breaks I12, because a slot is freed after its locks. Only overwritten bytes can
 * cause it. The exchange of the whole word fails if a process changed the lock meanwhile. */
static void release_orphan(struct shms_store *s, _Atomic uint64_t *lock, uint64_t seen) {
    if (!s->number)
        return; /* an arena is taken in the name of a client */
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
    /* L4: the flag is set in the word whose count is slept on, so a release in between is not missed. */
    uint64_t flagged = w | SHMS_LOCK_WAITERS;
    if (w == flagged || shms_cas_acq_rel(lock, &w, flagged))
        shms_os_futex_wait(shms_lock_count(lock), SHMS_LOCK_COUNT(flagged), nanoseconds);
}
