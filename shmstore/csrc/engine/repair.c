/* repair.c: makes a store sound again, from what is still certain
 *
 * No death needs this: recover.c leaves nothing undone. It is for bytes that no version of this code wrote.
 *
 * WRITER
 *   1 I10, I12: mark pages of the slot table that hold something; release orphaned locks
 *   2 Judge each entry by its own bytes: its block lies in a whole span and is alive, hash, tag, lengths and distance
 *     (I2, I3), the only one of its key (I5), noted as due (I11). A wrong slot number is corrected. An entry that cannot be
 *     read is removed, as a delete removes it, under the lock of the bucket that its tag and slot lead to
 *   3 I6, I7, I9: a page that belongs to nobody is freed, and so is the first page of a span that is not whole; the word of
 *     a block that nobody owns becomes the span's free word
 *   4 I4: raise the reach of each home bucket to its farthest entry, while no client holds the bucket
 *   5 I8: correct the used counters, if nobody is writing
 * CRASH  Each step is one that puts, deletes and closers take, and a death in it is recovered in the same way. Calling
 *   it again does the rest. */
#include "engine/repair.h"

#include "engine/check.h"
#include "engine/expire.h"
#include "engine/heap.h"
#include "engine/lock.h"
#include "engine/policy.h"
#include "engine/recover.h"
#include "engine/replace.h"

enum { CLIENTS, PAGES_OF_TABLE, LOCKS, ENTRIES, HEAP, REACHES, COUNT, DONE };

/* ---- 1 */

static bool make_lock_sound(struct shms_store *s, _Atomic uint64_t *lock) {
    for (int tries = 0; tries < 4 && !shms_holder_is_sound(s, lock); tries++)
        shms_await(s, lock, shms_load_acquire(lock), 1000);
    return shms_holder_is_sound(s, lock);
}

/* ---- 2 */

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

static bool span_is_whole(struct shms_store *s, const struct shms_span *span) {
    for (uint64_t i = 1; i < span->pages; i++)
        if (shms_load_acquire(&s->pages[span->first + i].word) != SHMS_PAGE_TAKEN(span->number) ||
            shms_load_relaxed(&s->pages[span->first + i].info) != i)
            return false;
    return true;
}

static enum state read_entry(struct shms_store *s, uint64_t bucket, uint32_t index, struct candidate *c) {
    const uint8_t *key;
    uint32_t length;
    struct shms_span span;
    c->slot = &s->buckets[bucket].slots[index];
    c->word = shms_load_acquire(c->slot);
    c->bucket = bucket;
    c->number = (uint32_t)(bucket * SHMS_BUCKET_SLOTS + index);
    c->entry = (struct shms_entry){.slot = c->slot, .word = c->word};
    if (!c->word)
        return EMPTY;
    if (!shms_block_at(s, SHMS_SLOT_BLOCK(c->word)) || !shms_span_of(s, SHMS_SLOT_BLOCK(c->word), &span) ||
        !span_is_whole(s, &span))
        return shms_load_acquire(c->slot) == c->word ? LOST : EMPTY;
    int rc = shms_peek(s, bucket, index, &c->entry, &key, &length);
    if (rc == SHMS_MISS)
        return EMPTY;
    if (rc != SHMS_OK || c->entry.word != c->word)
        return rc == SHMS_CORRUPT && shms_load_acquire(c->slot) == c->word ? LOST : EMPTY;
    shms_copy_racy(c->bytes, key, shms_min(length, SHMS_KEY_MAX));
    if (!shms_entry_unchanged(&c->entry))
        return EMPTY; /* another process has changed it just now, so it is sound */
    shms_key_init(s, &c->key, c->bytes, length, c->entry.kind & SHMS_KEY_FLAGS);
    uint64_t distance = (bucket + s->bucket_count - c->key.home) % s->bucket_count;
    c->entry.distance = (uint32_t)shms_min(distance, UINT32_MAX);
    bool right = c->entry.kind & SHMS_FLAG_MOVED || shms_load_relaxed(&c->entry.block->hash) == c->key.hash;
    if (distance > SHMS_REACH_MAX || !right ||
        c->entry.value + c->entry.value_length > s->base + SHMS_SLOT_BLOCK(c->word) + span.bytes ||
        SHMS_SLOT_TAG_OF(c->word) != SHMS_SLOT_TAG(c->key.hash, c->key.home))
        return LOST;
    if (!shms_bucket_in_use(s, c->key.home))
        return MISPLACED; /* the page with its home bucket was never used, so its reach is 0 */
    return distance > SHMS_LOCK_REACH(shms_load_acquire(&s->buckets[c->key.home].lock)) ? MISPLACED : SOUND;
}

/* Two slots name the block, and this one is not the block's own: the block stays. */
static bool is_of_another_slot(struct shms_store *s, const struct candidate *c) {
    uint64_t offset = SHMS_SLOT_BLOCK(c->word);
    uint32_t number = shms_load_relaxed(&((struct shms_block *)(s->base + offset))->slot);
    uint64_t bucket = number / SHMS_BUCKET_SLOTS;
    return number != c->number && bucket < s->bucket_count && shms_bucket_in_use(s, bucket) &&
           SHMS_SLOT_BLOCK(shms_load_acquire(&s->buckets[bucket].slots[number % SHMS_BUCKET_SLOTS])) == offset;
}

/* Readers find the first entry of a key. If it is the same block in another slot, that is the block's own from now on. */
static bool another_is_first(struct shms_store *s, const struct candidate *c) {
    struct shms_entry first;
    uint32_t others;
    if (shms_find_locked(s, &c->key, &first, &others) != SHMS_OK || first.number == c->number ||
        shms_load_acquire(first.slot) != first.word)
        return false;
    if (SHMS_SLOT_BLOCK(first.word) == SHMS_SLOT_BLOCK(c->word))
        shms_store_relaxed(&first.block->slot, first.number);
    return true;
}

/* Removes the entry as a delete does. Its home is not known for sure, and readers find it by its slot alone; so the bucket
 * that holds the slot is locked, which keeps two repairs apart. A writer of the real home loses the exchange of the slot,
 * and tries again. */
static int remove_entry(struct shms_store *s, struct candidate *c, uint64_t *lost, _Atomic uint64_t **busy,
                        uint64_t *seen) {
    int index = shms_record_take(s);
    if (index < 0)
        return SHMS_AGAIN;
    struct shms_record *record = &s->me->records[index];
    int rc = SHMS_BUSY;
    *busy = &s->buckets[c->bucket].lock;
    shms_store_relaxed(&record->bucket, c->bucket + 1);
    if (shms_lock_try(s, *busy, SHMS_SPINS, seen)) {
        if (shms_block_at(s, SHMS_SLOT_BLOCK(c->word)) && !is_of_another_slot(s, c))
            *lost += shms_entry_replace(s, record, &c->entry, 0, 0);
        else {
            uint64_t was = c->word;
            *lost += shms_cas_acq_rel(c->slot, &was, 0);
        }
        shms_unlock(s, *busy);
        rc = SHMS_OK;
    }
    shms_store_release(&record->bucket, 0);
    shms_record_put(s, index);
    return rc;
}

static int repair_entry(struct shms_store *s, struct candidate *c, enum state state, uint64_t *lost,
                        _Atomic uint64_t **busy, uint64_t *seen) {
    if (state == EMPTY)
        return SHMS_OK;
    if (state == LOST || is_of_another_slot(s, c) || another_is_first(s, c))
        return remove_entry(s, c, lost, busy, seen);
    if (shms_load_relaxed(&c->entry.block->slot) != c->number)
        shms_store_relaxed(&c->entry.block->slot, c->number);
    if (shms_evicts(s))
        shms_policy_found(s, c->number);
    uint64_t expiry = shms_load_acquire(&c->entry.block->expiry);
    bool tagged = shms_has_generations(c->entry.extension, c->entry.extension_length);
    if (expiry || tagged) {
        shms_expire_announce(s, (expiry ? SHMS_HAS_EXPIRY : 0) | (tagged ? SHMS_HAS_GENERATIONS : 0));
        shms_expire_note(s, c->bucket, expiry, tagged);
    }
    return SHMS_OK;
}

/* ---- 3 */

static void free_page(struct shms_store *s, uint64_t page) {
    uint64_t word = shms_load_acquire(&s->pages[page].word);
    if (word && (SHMS_PAGE_IS_OPEN(word) || !shms_page_is_owned(s, page, word)) &&
        shms_cas_acq_rel(&s->pages[page].word, &word, 0))
        shms_pages_find_free(s, page, page + 1);
}

/* A span that is not whole lies over others, or its own pages were overwritten. Its entries are gone by now. So its first
 * page is freed, and the others are those of nobody. No word of a block is written: it may be another span's byte. */
static void dissolve(struct shms_store *s, const struct shms_span *span) {
    uint64_t word = SHMS_PAGE_OPEN(span->number);
    for (uint32_t i = 0; i < span->blocks; i++) {
        uint64_t offset = span->start + i * span->bytes, w = shms_load_acquire(shms_word_at(s, offset));
        struct shms_span found;
        if (SHMS_WORD_ALIVE(w) && shms_span_of(s, offset, &found) && found.first == span->first &&
            shms_block_is_owned(s, offset, w))
            return; /* by an operation that has not published it */
    }
    if (shms_cas_acq_rel(&s->pages[span->first].word, &word, 0))
        shms_pages_find_free(s, span->first, span->first + 1);
}

/* Blocks whose word nobody owns become free: [records-slot-records] in check.c. */
static void repair_span(struct shms_store *s, const struct shms_span *span) {
    for (uint32_t i = 0; i < span->blocks; i++) {
        uint64_t offset = span->start + i * span->bytes, w = shms_load_acquire(shms_word_at(s, offset));
        if (w != span->free && !shms_block_is_owned(s, offset, w))
            shms_cas_acq_rel(shms_word_at(s, offset), &w, span->free);
    }
}

static uint64_t repair_page(struct shms_store *s, uint64_t page) {
    struct shms_span span;
    uint64_t word = shms_load_acquire(&s->pages[page].word);
    if (!SHMS_PAGE_IS_OPEN(word)) {
        free_page(s, page);
        return 1;
    }
    if (!shms_span_at(s, page, &span)) {
        if (shms_load_acquire(&s->pages[page].word) == word)
            free_page(s, page);
        return 1;
    }
    if (!span_is_whole(s, &span)) {
        dissolve(s, &span);
        return 1;
    }
    repair_span(s, &span);
    return span.pages;
}

/* ---- 4 */

/* Raises the reach only while no client holds the bucket: the next holder then sees the entry, and keeps a reach that
 * covers it. False: the bucket is held. */
static bool raise_reach(_Atomic uint64_t *lock, uint32_t distance, uint64_t *seen) {
    *seen = shms_load_acquire(lock);
    while (SHMS_LOCK_HOLDER(*seen) == 0 && SHMS_LOCK_REACH(*seen) < distance)
        if (shms_cas_acq_rel(lock, seen, (*seen & ~0xff0000ull) | (uint64_t)distance << 16))
            return true;
    return SHMS_LOCK_HOLDER(*seen) == 0;
}

/* Another entry of the key may lie within the new reach: a put that could not see the misplaced one has made it since, or
 * it was misplaced, too. The one that readers find is kept. */
static int repair_reach(struct shms_store *s, struct candidate *c, uint64_t *lost, _Atomic uint64_t **busy,
                        uint64_t *seen) {
    if (!shms_bucket_use(s, c->key.home))
        return SHMS_FULL;
    *busy = &s->buckets[c->key.home].lock;
    if (!raise_reach(*busy, c->entry.distance, seen))
        return SHMS_BUSY;
    return another_is_first(s, c) ? remove_entry(s, c, lost, busy, seen) : SHMS_OK;
}

/* ---- 5 */

static void repair_counters(struct shms_store *s, const struct shms_repair *r) {
    struct shms_used now;
    static_assert(sizeof now.sums == sizeof r->sums, "both are sums of the same counters");
    shms_used_now(s, &now);
    if (now.busy || r->busy || memcmp(now.sums, r->sums, sizeof now.sums) != 0)
        return;
    uint64_t lacks[] = {r->entries - now.sums[0], r->bytes - now.sums[1]};
    for (uint32_t k = 0; k < 2; k++) {
        _Atomic uint64_t *counter = &s->me->counters[SHMS_USED_BLOCKS + k];
        shms_store_relaxed(counter, SHMS_USED_ADD(shms_load_relaxed(counter), lacks[k]));
    }
    if (shms_evicts(s))
        shms_policy_correct(s);
}

/* One page of the slot table. */
static int repair_table(struct shms_store *s, struct shms_repair *r, uint64_t page, _Atomic uint64_t **busy,
                        uint64_t *seen) {
    struct candidate c;
    uint64_t last = shms_min((page + 1) * SHMS_PAGE_BUCKETS, s->bucket_count);
    for (uint64_t bucket = page * SHMS_PAGE_BUCKETS; bucket < last; bucket++) {
        if (r->part == LOCKS) {
            *busy = &s->buckets[bucket].lock;
            *seen = shms_load_acquire(*busy);
            if (!make_lock_sound(s, *busy))
                return SHMS_BUSY;
            continue;
        }
        for (uint32_t i = 0; i < SHMS_BUCKET_SLOTS; i++) {
            int rc = SHMS_OK;
            enum state state = read_entry(s, bucket, i, &c);
            if (r->part == ENTRIES)
                rc = repair_entry(s, &c, state, &r->lost, busy, seen);
            else if (r->part == REACHES && state == MISPLACED)
                rc = repair_reach(s, &c, &r->lost, busy, seen);
            else if (r->part == COUNT && (state == SOUND || state == MISPLACED)) {
                r->entries++;
                r->bytes += shms_heap_capacity(s, SHMS_SLOT_BLOCK(c.word));
            }
            if (rc != SHMS_OK)
                return rc;
        }
    }
    return SHMS_OK;
}

int shms_repair_step(struct shms_store *s, struct shms_repair *r, _Atomic uint64_t **busy, uint64_t *seen) {
    uint64_t high = shms_pages_high(s), end, done = 0;
    int rc;
    struct shms_used used;
    switch (r->part) {
    case CLIENTS: /* twice, because the repair of locks may find a dead client whose other locks were passed already */
        shms_recover_all(s, false);
        break;
    case PAGES_OF_TABLE:
        end = shms_min(r->at + 4096, s->table_pages);
        if ((r->at = shms_next_unmarked(s, r->at, end)) < end)
            shms_page_use(s, r->at);
        if (r->at < s->table_pages)
            return SHMS_AGAIN;
        break;
    case HEAP:
        for (; r->at < high && done < 1024; done += 64)
            r->at += repair_page(s, r->at);
        if (r->at < high)
            return SHMS_AGAIN;
        shms_used_now(s, &used);
        break;
    case LOCKS:
    case ENTRIES:
    case REACHES:
    case COUNT:
        if (r->part == COUNT && r->at == 0 && r->entries == 0) {
            shms_used_now(s, &used);
            memcpy(r->sums, used.sums, sizeof r->sums);
            r->busy = used.busy;
        }
        r->at = shms_next_page_in_use(s, r->at);
        if (r->at < s->table_pages) {
            if ((rc = repair_table(s, r, r->at, busy, seen)) != SHMS_OK)
                return rc;
            r->at++;
            return SHMS_AGAIN;
        }
        if (r->part == COUNT)
            repair_counters(s, r);
        break;
    default:
        return SHMS_OK;
    }
    r->part++;
    r->at = 0;
    return SHMS_AGAIN;
}
