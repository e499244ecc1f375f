/* recover.c: taking over what dead clients hold. Any number of processes may recover one client at once, and a process
 * need not be a client to do it.
 *
 * WRITER  For client c of generation g:
 *   1 prove that its process is gone       liveness.c; without proof nothing is done
 *   2 owner (g, live) -> (g, dead)         by compare-and-swap with the generation, so the next owner is never hit
 *   3 for each of its records: read it, then read the owner word again [record-then-owner]. Then
 *       page         finish or undo the opening or closing of the span (span.h)
 *       block        its life still is that of the record, and its slot does not name it: end the life
 *       old          the same; or it is a zombie of that life already: free it if no client pins it
 *       counters     the slot names `block`, or names `old` no more, and c still holds the home bucket: the used
 *                    counters := those of the record
 *   4 for the bucket of each record: if its lock word names c, and after that the owner word still is (g, dead),
 *     exchange the whole word [word-then-owner]
 *   5 for each block that its pins name, or named last: free it if it is a zombie that no client pins (pin.h)
 *     a resize that it began is given up (freeze.h)
 *   6 owner (g, dead) -> (g, free)         only now can the number be claimed again
 * ORDERING
 *   [record-then-owner]  If the owner word still is (g, dead), what was read is the dead client's: the next owner writes
 *     to the records after it has changed the word, and each of its stores there is a release. Every act is an exchange
 *     of a life, of a number, or of a used counter with its owner's generation, none of which is given out twice. So a
 *     finder that is slower than that changes nothing either.
 *   [word-then-owner]  The number is not used again before step 6, and step 6 needs (g, dead). If the owner word
 *     still is (g, dead) after the lock word was read, the lock word was the dead client's. If any process has changed
 *     the lock word since, the exchange of the whole word fails. In the other order, owner word first, the slot could be
 *     freed and claimed in between, and a live client's lock would be taken away.
 *   Step 3 comes before 4: as long as the dead client holds the home bucket, no other writer changes the slot, so the slot
 *     tells whether the exchange was made. A finder that is slower than that may see what another writer has done to the
 *     slot since. It ends no life because of that which is not over, but it must not count: so the lock is looked at
 *     after the slot.
 * CRASH  of a recovering process: the slot stays dead, and the next process begins again.
 * LIMITS  Costs what the dead client held: nine records and its pins. Nothing walks the slot table. */
#include "engine/recover.h"

#include "engine/expire.h"
#include "engine/freeze.h"
#include "engine/heap.h"
#include "engine/lock.h"
#include "engine/pin.h"
#include "engine/policy.h"

/* Does the slot that the block states name the block? */
static bool slot_names(struct shms_store *s, uint64_t offset) {
    uint32_t slot = shms_load_relaxed(&((struct shms_block *)(s->base + offset))->slot);
    uint64_t bucket = slot / SHMS_BUCKET_SLOTS;
    return bucket < s->bucket_count && shms_bucket_in_use(s, bucket) &&
           SHMS_SLOT_BLOCK(shms_load_acquire(&s->buckets[bucket].slots[slot % SHMS_BUCKET_SLOTS])) == offset;
}

static bool has_life(struct shms_store *s, uint64_t offset, uint64_t life) {
    return offset && shms_block_at(s, offset) && SHMS_WORD_LIFE(shms_load_acquire(shms_word_at(s, offset))) == life;
}

/* The life is looked at again after the slot: another finder may have ended it, and the block may be an entry by now. */
static bool is_published(struct shms_store *s, uint64_t offset, uint64_t life) {
    return has_life(s, offset, life) && slot_names(s, offset) && has_life(s, offset, life);
}

static bool is_taken_out(struct shms_store *s, uint64_t offset, uint64_t life) {
    return has_life(s, offset, life) && !slot_names(s, offset);
}

/* Has the dead client, which has this number, held the bucket up to now? [word-then-owner] */
static bool still_holds(struct shms_store *s, uint32_t number, uint64_t dead, uint64_t bucket) {
    return bucket < s->bucket_count && shms_bucket_in_use(s, bucket) &&
           SHMS_LOCK_HOLDER(shms_load_acquire(&s->buckets[bucket].lock)) == number &&
           shms_load_acquire(&shms_client_at(s, number - 1)->owner) == dead;
}

/* Several finders may do this. The value after the dead client's exchange is the same for all. A finder that is slower than
 * the next owner of the slot finds that one's generation, even if the figure is the old one again. */
static void finish_count(_Atomic uint64_t *counter, uint64_t after) {
    uint64_t seen = shms_load_relaxed(counter);
    while (seen != after && SHMS_USED_SAME_OWNER(seen, after) && !shms_cas_acq_rel(counter, &seen, after))
        ;
}

/* The entry of this block is in its slot; its hint may lack the bit that it died before setting, or after clearing. */
static void found(struct shms_store *s, uint64_t offset) {
    if (shms_evicts(s))
        shms_policy_found(s, shms_load_relaxed(&((struct shms_block *)(s->base + offset))->slot));
}

static void settle_record(struct shms_store *s, uint32_t number, uint64_t dead, uint32_t index) {
    struct shms_client *c = shms_client_at(s, number - 1);
    struct shms_record *r = &c->records[index];
    uint64_t bucket = shms_load_acquire(&r->bucket) - 1;
    uint64_t page = shms_load_acquire(&r->page), block = shms_load_acquire(&r->block), old = shms_load_acquire(&r->old);
    uint64_t life = shms_load_relaxed(&r->life), other = shms_load_relaxed(&r->other);
    uint64_t blocks = shms_load_relaxed(&r->blocks), bytes = shms_load_relaxed(&r->bytes);
    shms_fence_acquire();
    if (shms_load_acquire(&c->owner) != dead) /* [record-then-owner] */
        return;
    if (page)
        shms_span_settle(s, page, other, blocks);
    bool published = is_published(s, block, life), taken_out = is_taken_out(s, old, other);
    if (!page && (published || (!block && taken_out)) && still_holds(s, number, dead, bucket)) {
        finish_count(&c->counters[SHMS_USED_BLOCKS], blocks);
        finish_count(&c->counters[SHMS_USED_BYTES], bytes);
    }
    if (published)
        found(s, block);
    else if (block && shms_block_at(s, block))
        shms_heap_end(s, block, life, false);
    if (taken_out)
        shms_heap_end(s, old, other, false);
    else if (has_life(s, old, other))
        found(s, old);
    else if (old && shms_block_at(s, old))
        shms_heap_unpinned(s, old, other); /* it died, or a former finder did, between the two exchanges of an end */
}

/* Exchanges a lock word that names the dead client. [word-then-owner] */
static bool release_lock(struct shms_store *s, struct shms_client *c, uint64_t dead, _Atomic uint64_t *lock,
                         uint64_t seen) {
    if (shms_load_acquire(&c->owner) != dead)
        return false;
    uint64_t new = (seen & ~(0xffffull | SHMS_LOCK_WAITERS)) + SHMS_LOCK_ONE;
    if (!shms_cas_acq_rel(lock, &seen, new))
        return false;
    shms_stat(s, SHMS_TAKEOVERS, 1);
    if (seen & SHMS_LOCK_WAITERS)
        shms_wake(s, lock);
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
            uint64_t w = shms_load_seq_cst(lock); /* [take-then-owner] */
            if (SHMS_LOCK_HOLDER(w) != number) {
                shms_wake(s, lock); /* it may have died between its release and its wake */
                break;
            }
            if (release_lock(s, c, dead, lock, w))
                break;
            if (shms_load_acquire(&c->owner) != dead)
                return false; /* another process has finished the recovery */
        }
    }
    return true;
}

/* Is it in an operation, or did it die in one? Most processes that end without leaving had none in progress. */
static bool states_something(struct shms_client *c) {
    for (uint32_t i = 0; i <= SHMS_CLIENT_RECORDS; i++) {
        struct shms_record *r = &c->records[i];
        if (shms_load_relaxed(&r->bucket) || shms_load_relaxed(&r->block) || shms_load_relaxed(&r->old) ||
            shms_load_relaxed(&r->page))
            return true;
    }
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
        first = shms_cas_seq_cst(&c->owner, &w, dead); /* [take-then-owner] */
        if (!first && w != dead)
            return false;
    }
    if (first && states_something(c)) {
        shms_store_relaxed(&s->last_dead_pid, SHMS_OWNER_PID(w));
        shms_fetch_add_acq_rel(&s->takeovers, 1);
    }
    for (uint32_t i = 0; i <= SHMS_CLIENT_RECORDS; i++)
        settle_record(s, index + 1, dead, i);
    if (!release_buckets(s, c, index + 1, dead))
        return false;
    uint64_t resize = shms_load_acquire(&s->header->resize);
    if (SHMS_UNLIKELY(SHMS_RESIZER(resize) == index + 1))
        shms_freeze_end(s, resize);
    if (first && shms_evicts(s))
        shms_policy_correct(s);
    shms_pin_settle(s, c);
    shms_store_relaxed(&c->attached, shms_os_realtime()); /* when it was found dead; the death itself left no time */
    return shms_cas_acq_rel(&c->owner, &dead, SHMS_OWNER_WITH_STATE(dead, SHMS_CLIENT_FREE));
}

#define LOOKED_AT_ONCE 512u

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

bool shms_recover_some(struct shms_store *s, uint32_t *index, uint32_t some, bool quick) {
    uint32_t used = shms_clients_used(s);
    for (uint32_t looked = 0; looked < LOOKED_AT_ONCE && some && *index < used; looked++, ++*index) {
        struct shms_client *c = shms_client_at(s, *index);
        uint64_t owner = shms_load_acquire(&c->owner);
        if (SHMS_OWNER_STATE(owner) == SHMS_CLIENT_FREE ||
            (!states_something(c) && !(shms_load_relaxed(&s->pin_bits[*index / 64]) >> (*index % 64) & 1)))
            continue;
        if (!quick || shms_client_obviously_gone(s, *index, owner))
            shms_recover_client(s, *index);
        some--;
    }
    return *index < used;
}

int shms_client_claim(struct shms_store *s) {
    s->me = NULL;
    s->number = 0;
    shms_os_identity(&s->identity);
    int rc = shms_client_claim_free(s);
    if (rc == SHMS_OK)
        return rc;
    shms_recover_all(s, false); /* every slot is taken, or there is no memory for another one: look closely */
    return shms_client_claim_free(s);
}

/* A lock whose holder's slot is free breaks I12, because a slot is freed after its locks. Only overwritten bytes can
 * cause it. The exchange of the whole word fails if a process changed the lock meanwhile. */
static void release_orphan(struct shms_store *s, _Atomic uint64_t *lock, uint64_t seen) {
    uint64_t new = (seen & ~(0xffffull | SHMS_LOCK_WAITERS)) + SHMS_LOCK_ONE;
    if (shms_cas_acq_rel(lock, &seen, new))
        shms_wake(s, lock);
}

void shms_await(struct shms_store *s, _Atomic uint64_t *lock, uint64_t seen, uint64_t nanoseconds) {
    if (SHMS_UNLIKELY(shms_frozen(s))) {
        uint32_t resizer = SHMS_RESIZER(shms_load_relaxed(&s->header->resize));
        if (resizer - 1 < s->client_count)
            shms_recover_client(s, resizer - 1);
        shms_freeze_await(s, nanoseconds);
        return;
    }
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
