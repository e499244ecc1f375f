/* wait.c: sleeping on the count of a key's home bucket
 *
 * READER  1 load the home bucket's word
 *         2 look at the key; return if it has changed
 *         3 set the waiters flag in the word, if its count still is that of step 1
 *         4 sleep while the count is that of step 1
 * WRITER  Every change of a key is made under the lock of its home bucket. Releasing it moves that count.
 * ORDERING  Flag and count are in one word (L4). A writer that moves the count either sees the flag, and wakes; or it
 *   came before step 3, and then step 3 fails or the sleep of step 4 does not begin. A change before step 1 is seen in
 *   step 2.
 * OTHER ENDS  Nothing changes the bucket, but the sleep ends:
 *   an eviction of a tag, a clear of a namespace   The entry has generations. Then the sleep is on the word of evictions, too
 *     (generations.h). Where the kernel has no futex_waitv, such a sleep lasts a tenth of a second at most.
 *   destroy, resize, an owner that leaves          shms_wake_everybody moves the count. [told-then-flags]
 *   the owner of a lock dies, the handle is closed this process is poked (sleepers.h)
 *   a signal                                       The system call ends. One that comes just before it does not end it.
 * CRASH  of a writer before its wake, or of an evicting process before its own: no process is woken. The same holds when the
 *   memory is removed by other means than destroy. So callers sleep for a second, then for twice as long each time, and for a
 *   minute at most.
 * LIMITS  A read-only attachment cannot set the flag. It looks again every two milliseconds. */
#include "engine/wait.h"

#include "engine/generations.h"
#include "engine/lock.h"
#include "engine/sleepers.h"

#define NAP 2000000ull
#define OUTDATED_WITHIN 100000000ull /* where an eviction of a tag wakes no waiter, waiters look this often */
#define LOOKS_BETWEEN_CLOCKS 64
#define LOOKS_PER_YIELD 32 /* about 50 microseconds */

static int look(struct shms_store *s, const struct shms_key *k, bool has_after, uint64_t after, uint64_t *version,
                uint64_t *expiry, bool *tagged) {
    struct shms_entry e;
    int rc = shms_find(s, k, &e);
    if (rc < 0)
        return rc;
    uint64_t now_version = rc == SHMS_OK ? shms_entry_version(&e) : 0;
    *expiry = rc == SHMS_OK ? e.expiry : 0;
    *tagged = rc == SHMS_OK && e.extension; /* it may end without a write to its bucket */
    if (rc == SHMS_BUSY || (now_version == 0 && !has_after) || (has_after && now_version == after))
        return SHMS_AGAIN;
    *version = now_version;
    return SHMS_OK;
}

/* Watches the lock word alone for about a microsecond: true when it has changed and no client holds it. So the entry's
 * cache lines stay with the writer until there is something to see. */
static bool watch(_Atomic uint64_t *lock, uint64_t was) {
    for (int i = 0; i < LOOKS_BETWEEN_CLOCKS; i++) {
        shms_pause();
        uint64_t w = lock ? shms_load_acquire(lock) : was;
        if (w != was && SHMS_LOCK_HOLDER(w) == 0)
            return true;
    }
    return false;
}

int shms_wait_look(struct shms_store *s, const struct shms_key *k, bool has_after, uint64_t after, uint64_t *version) {
    uint64_t expiry;
    bool tagged;
    return look(s, k, has_after, after, version, &expiry, &tagged);
}

/* L4: other processes may set the flag or release the bucket meanwhile. Only the count must be the one in w. */
static bool announce(_Atomic uint64_t *lock, uint64_t w) {
    uint64_t seen = w;
    bool announced = (w & SHMS_LOCK_WAITERS) != 0;
    while (!announced && SHMS_LOCK_COUNT(seen) == SHMS_LOCK_COUNT(w))
        announced = shms_cas_acq_rel(lock, &seen, seen | SHMS_LOCK_WAITERS);
    return announced;
}

uint32_t shms_wait_count(struct shms_store *s, uint64_t bucket) {
    return shms_bucket_in_use(s, bucket) ? SHMS_LOCK_COUNT(shms_load_acquire(&s->buckets[bucket].lock)) : 0;
}

int shms_wait_announce(struct shms_store *s, const struct shms_key *k, bool has_after, uint64_t after,
                       uint64_t *version, uint32_t *count, uint64_t *left, bool *tagged) {
    bool has_word = s->readonly ? shms_bucket_in_use(s, k->home) : shms_bucket_use(s, k->home);
    _Atomic uint64_t *lock = &s->buckets[k->home].lock;
    for (;;) {
        uint64_t w = has_word ? shms_load_acquire(lock) : 0, expiry, now = shms_os_now();
        uint32_t evictions = shms_evictions(s);
        if (SHMS_OWNER_STATE(shms_load_relaxed(&s->header->state)) == SHMS_STATE_DESTROYED)
            return SHMS_DESTROYED;
        int rc = look(s, k, has_after, after, version, &expiry, tagged);
        if (rc != SHMS_AGAIN)
            return rc;
        *count = SHMS_LOCK_COUNT(w);
        *left = !expiry ? 0 : expiry > now ? expiry - now : 1;
        if (*tagged && s->readonly)
            *left = *left ? shms_min(*left, OUTDATED_WITHIN) : OUTDATED_WITHIN;
        if (!has_word && !s->readonly)
            *left = *left ? shms_min(*left, NAP) : NAP; /* there is no memory for the bucket's word */
        if (s->readonly || ((!has_word || announce(lock, w)) && (!*tagged || shms_await_eviction(s, &evictions))))
            return SHMS_AGAIN;
    }
}

/* SHMS_OK, or how the store has ended. */
static int ended(struct shms_store *s) {
    uint32_t state = SHMS_OWNER_STATE(shms_load_acquire(&s->header->state));
    return state == SHMS_STATE_DESTROYED ? SHMS_DESTROYED : state == SHMS_STATE_SUPERSEDED ? SHMS_SUPERSEDED : SHMS_OK;
}

static bool any_left(struct shms_store *s, const struct shms_also *also) {
    for (uint32_t i = 0; i < also->count; i++)
        if (!shms_owner_stays(s, also->owners[i]))
            return true;
    return false;
}

/* REQUIRES: the flag was set in w. evictions: NULL, or the word of evictions with its flag. False: a signal, or pokes. */
static bool sleep_on(struct shms_store *s, _Atomic uint64_t *lock, uint64_t w, const uint32_t *evictions, uint64_t left,
                     uint32_t pokes) {
    struct shms_sleeper me = {NULL, lock};
    if (!shms_sleeper_join(&me, pokes))
        return false;
    bool woken;
    if (evictions && shms_os_waits_for_several()) {
        _Atomic uint32_t *words[] = {shms_lock_count(lock), &s->header->evictions};
        woken = shms_os_futex_wait_any(words, (uint32_t[]){SHMS_LOCK_COUNT(w), *evictions}, 2, left);
    } else {
        left = evictions ? shms_min(left, OUTDATED_WITHIN) : left;
        woken = shms_os_futex_wait(shms_lock_count(lock), SHMS_LOCK_COUNT(w), left);
    }
    shms_sleeper_leave(&me);
    return woken;
}

int shms_wait(struct shms_store *s, const struct shms_key *k, bool has_after, uint64_t after, uint64_t start,
              uint64_t nanoseconds, uint64_t spin, const struct shms_also *also, uint64_t *version) {
    uint64_t end = start + nanoseconds, now = start, expiry;
    bool may_sleep = s->readonly ? shms_bucket_in_use(s, k->home) : shms_bucket_use(s, k->home);
    _Atomic uint64_t *lock = &s->buckets[k->home].lock;
    bool tagged;
    for (uint64_t changes = 0, looks = 0;;) {
        uint64_t w = may_sleep ? shms_load_acquire(lock) : 0;
        uint32_t evictions = shms_evictions(s);
        int rc = ended(s);
        if (rc == SHMS_OK)
            rc = look(s, k, has_after, after, version, &expiry, &tagged);
        if (rc != SHMS_AGAIN)
            return rc;
        if (spin && watch(may_sleep ? lock : NULL, w) && ++changes % LOOKS_BETWEEN_CLOCKS)
            continue;
        if (spin && ++looks % LOOKS_PER_YIELD == 0)
            shms_os_yield(); /* the awaited writer may need this very core */
        now = shms_os_now();
        if (now >= end || shms_pokes() != also->pokes)
            return SHMS_AGAIN;
        if (spin && now - start < spin)
            continue;
        spin = 0;
        uint64_t left = end - now;
        if (expiry)
            left = shms_min(left, expiry > now ? expiry - now : 1);
        if (s->readonly || !may_sleep) {
            if (any_left(s, also))
                return SHMS_AGAIN;
            shms_os_nap(shms_min(left, NAP));
            may_sleep = shms_bucket_in_use(s, k->home);
            continue; /* and look a last time, if the time is up */
        }
        if (!announce(lock, w) || (tagged && !shms_await_eviction(s, &evictions)))
            continue;
        shms_fence_seq_cst(); /* [told-then-flags] */
        if (ended(s) != SHMS_OK)
            continue;
        if (any_left(s, also) || !sleep_on(s, lock, w, tagged ? &evictions : NULL, left, also->pokes))
            return SHMS_AGAIN; /* a signal: its handler must run first */
    }
}
