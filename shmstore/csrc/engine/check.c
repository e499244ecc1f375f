/* check.c: verifies the invariants of layout.h, step by step, without a lock
 *
 * Other processes write meanwhile. So a finding counts only if what it is about was the same before and after.
 * READER  A block that is alive and in no slot:
 *   1 w := its word
 *   2 is it in an operation record? in its slot? in an operation record?
 *   3 its word still is w: then nobody owned it (I9)
 * ORDERING [records-slot-records]  A writer publishes a block first, and clears its record then (release). So a block that
 *   was in no record before is found in its slot. A writer states the block in `old` before it empties the slot, and clears
 *   `old` after the word has changed. So a block that has left its slot is found in a record, or step 3 fails.
 * LIMITS  I8 is judged only if no writer was at work from the beginning of the walk to its end. */
#include "engine/check.h"

#include <stdio.h>

#include "engine/heap.h"
#include "engine/lock.h"
#include "engine/pin.h"
#include "engine/recover.h"
#include "segment/memory.h"

#define BLOCKS_AT_ONCE 1024u
#define BUCKETS_AT_ONCE SHMS_PAGE_BUCKETS
#define BROKEN(c, ...) (snprintf((c)->what, (c)->size, __VA_ARGS__), SHMS_CORRUPT)

/* ---- who owns what */

static bool record_states_life(struct shms_store *s, const struct shms_record *r, uint64_t offset, uint64_t life) {
    if (shms_load_acquire(&r->block) == offset && shms_load_relaxed(&r->life) == life)
        return true;
    if (shms_load_acquire(&r->old) == offset && shms_load_relaxed(&r->other) == life)
        return true;
    return shms_load_acquire(&r->page) && shms_life_of(s, shms_load_relaxed(&r->other)) == life; /* a closer's */
}

/* Calls for each record of each client: until one of them fits. */
#define ANY_RECORD(s, r, fits)                                                                                      \
    for (uint32_t i = 0; i < shms_clients_used(s); i++)                                                             \
        for (uint32_t k = 0; k <= SHMS_CLIENT_RECORDS &&                                                            \
                             SHMS_OWNER_STATE(shms_load_acquire(&shms_client_at(s, i)->owner)) >= SHMS_CLIENT_LIVE; \
             k++) {                                                                                                 \
            struct shms_record *r = &shms_client_at(s, i)->records[k];                                              \
            if (fits)                                                                                               \
                return true;                                                                                        \
        }

static bool life_is_in_a_record(struct shms_store *s, uint64_t offset, uint64_t life) {
    ANY_RECORD(s, r, record_states_life(s, r, offset, life))
    return false;
}

static bool run_is_in_a_record(struct shms_store *s, uint64_t number) {
    ANY_RECORD(s, r,
               shms_load_acquire(&r->page) &&
                   (shms_load_relaxed(&r->other) == number || shms_load_relaxed(&r->blocks) == number))
    return false;
}

/* A page that is being opened is in a record until the span is open; a page inside the span is found by its distance; a
 * closer states the span before it takes it. So three looks find every owner, or the word changes. The distance is loaded
 * after the first look: if the page is in no record any more, it has been written. */
bool shms_page_is_owned(struct shms_store *s, uint64_t page, uint64_t word) {
    uint64_t number = SHMS_PAGE_NUMBER(word);
    struct shms_span span;
    if (run_is_in_a_record(s, number))
        return true;
    uint64_t distance = shms_load_relaxed(&s->pages[page].info);
    return (distance <= page && shms_span_at(s, page - distance, &span) && span.number == number &&
            distance < span.pages) ||
           run_is_in_a_record(s, number);
}

static bool any_record_is_busy(struct shms_store *s) {
    ANY_RECORD(s, r, shms_load_acquire(&r->block) || shms_load_acquire(&r->old))
    return false;
}

static bool is_in_its_slot(struct shms_store *s, uint64_t offset) {
    uint32_t slot = shms_load_relaxed(&((struct shms_block *)(s->base + offset))->slot);
    uint64_t bucket = slot / SHMS_BUCKET_SLOTS;
    return bucket < s->bucket_count && shms_bucket_in_use(s, bucket) &&
           SHMS_SLOT_BLOCK(shms_load_acquire(&s->buckets[bucket].slots[slot % SHMS_BUCKET_SLOTS])) == offset;
}

/* [records-slot-records] The caller looks at the word again. */
bool shms_block_is_owned(struct shms_store *s, uint64_t offset, uint64_t word) {
    uint64_t life = word & ~3ull;
    if (SHMS_WORD_ALIVE(word))
        return is_in_its_slot(s, offset) || life_is_in_a_record(s, offset, life) || is_in_its_slot(s, offset) ||
               life_is_in_a_record(s, offset, life);
    return (word & 3) == SHMS_WORD_ENDED && (shms_pin_named(s, offset) || life_is_in_a_record(s, offset, life));
}

/* ---- the heap: I6, I7, I9 */

static int check_span(struct shms_store *s, struct shms_check *c, const struct shms_span *span, uint64_t head) {
    for (uint64_t i = 1; i < span->pages; i++) {
        struct shms_page *p = &s->pages[span->first + i];
        if ((shms_load_acquire(&p->word) != SHMS_PAGE_TAKEN(span->number) || shms_load_relaxed(&p->info) != i) &&
            shms_load_acquire(&s->pages[span->first].word) == head)
            return BROKEN(c, "I6: page %llu of the heap is not part of the span it lies in",
                          (unsigned long long)(span->first + i));
    }
    for (uint32_t i = 0; i < span->blocks; i++) {
        uint64_t offset = span->start + i * span->bytes, w = shms_load_acquire(shms_word_at(s, offset));
        if (w == span->free || shms_block_is_owned(s, offset, w))
            continue;
        if (shms_load_acquire(shms_word_at(s, offset)) != w || shms_load_acquire(&s->pages[span->first].word) != head)
            continue;
        return SHMS_WORD_ALIVE(w)
                   ? BROKEN(c, "I9: the block at %#llx is in no slot and no record", (unsigned long long)offset)
               : (w & 3) == SHMS_WORD_ENDED
                   ? BROKEN(c, "I9: the zombie at %#llx is pinned by no client", (unsigned long long)offset)
                   : BROKEN(c, "I7: the word of the block at %#llx is not of its span", (unsigned long long)offset);
    }
    return SHMS_OK;
}

static int check_heap(struct shms_store *s, struct shms_check *c) {
    uint64_t high = shms_pages_high(s);
    for (uint64_t done = 0; c->at < high && done < BLOCKS_AT_ONCE;) {
        struct shms_span span;
        uint64_t word = shms_load_acquire(&s->pages[c->at].word);
        if (SHMS_PAGE_IS_OPEN(word)) {
            bool sound = shms_span_at(s, c->at, &span);
            if (!sound || SHMS_PAGE_OPEN(span.number) != word) {
                if (shms_load_acquire(&s->pages[c->at].word) != word)
                    continue;
                return BROKEN(c, "I6: page %llu of the heap begins an impossible span", (unsigned long long)c->at);
            }
            int rc = check_span(s, c, &span, word);
            if (rc != SHMS_OK)
                return rc;
            done += span.blocks + span.pages;
            c->at += span.pages;
            continue;
        }
        if (word && !shms_page_is_owned(s, c->at, word) && shms_load_acquire(&s->pages[c->at].word) == word)
            return BROKEN(c, "I6: page %llu of the heap belongs to nobody", (unsigned long long)c->at);
        done++;
        c->at++;
    }
    return c->at < high ? SHMS_AGAIN : SHMS_OK;
}

/* ---- the slot table: I2 to I5, I8, I10 to I13 */

/* A writer notes the due time after publishing and before it releases the home bucket. So the entry is judged only
 * while the bucket is not held, and the due word is read again after that was seen. */
static bool due_in_time(struct shms_store *s, uint64_t bucket, uint64_t home, uint64_t expiry, bool tagged) {
    if (!expiry && !tagged)
        return true; /* the due word is not read: its page may never have been committed */
    for (int look = 0; look < 2; look++) {
        uint64_t due = shms_load_acquire(&s->due[bucket / SHMS_GROUP_BUCKETS]), ms = SHMS_DUE_MS(due);
        if ((!expiry || (ms && ms <= expiry / 1000000 + 1)) && (!tagged || due & SHMS_DUE_MARK))
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

/* A writer sets the bit before it clears its record, and states the entry in its record before it clears the bit. */
static bool has_hint(struct shms_store *s, uint64_t slot, uint64_t offset, uint64_t life) {
    for (int look = 0; look < 2; look++)
        if ((shms_load_acquire(&s->hints[slot]) & SHMS_HINT_USED) || life_is_in_a_record(s, offset, life))
            return true;
    return false;
}

/* One entry: I2, I3, I4, I5, I11, I13. */
static int check_entry(struct shms_store *s, struct shms_check *c, uint64_t bucket, uint32_t index) {
    unsigned long long slot = bucket * SHMS_BUCKET_SLOTS + index;
    struct shms_entry e, first;
    struct shms_span span;
    const uint8_t *key;
    uint32_t length, others;
    uint64_t w = shms_load_acquire(&s->buckets[bucket].slots[index]), offset = SHMS_SLOT_BLOCK(w);
    if (!w)
        return SHMS_OK;
    if (!shms_block_at(s, offset) || !shms_span_of(s, offset, &span))
        return shms_load_acquire(&s->buckets[bucket].slots[index]) == w
                   ? BROKEN(c, "I2: slot %llu names no block", slot)
                   : SHMS_OK;
    int rc = shms_peek(s, bucket, index, &e, &key, &length);
    if (rc != SHMS_OK)
        return rc == SHMS_CORRUPT
                   ? BROKEN(c, "I2: the block of slot %llu is not alive, or has impossible lengths", slot)
                   : SHMS_OK;
    if (e.value + e.value_length > s->base + SHMS_SLOT_BLOCK(e.word) + shms_heap_capacity(s, SHMS_SLOT_BLOCK(e.word)) &&
        still_there(&e))
        return BROKEN(c, "I2: the block of slot %llu has impossible lengths", slot);
    struct shms_key k;
    shms_copy_short(c->key, key, shms_min(length, SHMS_KEY_MAX)); /* it is not longer, but compilers do not know that */
    if (!shms_entry_unchanged(&e))
        return SHMS_OK;
    shms_key_init(s, &k, c->key, length, e.kind & SHMS_KEY_FLAGS);
    bool right = e.kind & SHMS_FLAG_MOVED || shms_load_relaxed(&e.block->hash) == k.hash;
    if ((!right || shms_load_relaxed(&e.block->slot) != slot) && still_there(&e))
        return BROKEN(c, "I3: the block of slot %llu has another hash or slot", slot);
    if (SHMS_SLOT_TAG_OF(e.word) != SHMS_SLOT_TAG(k.hash, k.home) && still_there(&e))
        return BROKEN(c, "I2: slot %llu has the wrong tag", slot);
    uint64_t distance = (bucket + s->bucket_count - k.home) % s->bucket_count;
    if (distance > SHMS_LOCK_REACH(shms_load_acquire(&s->buckets[k.home].lock)) && still_there(&e))
        return BROKEN(c, "I4: slot %llu lies beyond the reach of its home", slot);
    if (shms_find_locked(s, &k, &first, &others) == SHMS_OK && first.number != slot && still_there(&e) &&
        still_there(&first))
        return BROKEN(c, "I5: slots %llu and %u hold the same key", slot, first.number);
    if (!due_in_time(s, bucket, k.home, shms_load_acquire(&e.block->expiry),
                     shms_has_generations(e.extension, e.extension_length)) &&
        still_there(&e))
        return BROKEN(c, "I11: the entry in slot %llu ends before its group is due", slot);
    if (shms_evicts(s) && !has_hint(s, slot, offset, e.life) && still_there(&e))
        return BROKEN(c, "I13: the entry in slot %llu has no hint, so it is never evicted", slot);
    c->entries++;
    c->bytes += span.bytes;
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

static int check_table(struct shms_store *s, struct shms_check *c) {
    uint64_t page = shms_next_page_in_use(s, c->at);
    if (page >= s->table_pages)
        return SHMS_OK;
    uint64_t last = shms_min((page + 1) * SHMS_PAGE_BUCKETS, s->bucket_count);
    for (uint64_t bucket = page * SHMS_PAGE_BUCKETS; bucket < last; bucket++) {
        _Atomic uint64_t *lock = &s->buckets[bucket].lock;
        if (!shms_holder_is_sound(s, lock))
            return BROKEN(c, "I12: a lock names client %u, and no client has this number",
                          SHMS_LOCK_HOLDER(shms_load_acquire(lock)));
        for (uint32_t i = 0; i < SHMS_BUCKET_SLOTS; i++) {
            int rc = check_entry(s, c, bucket, i);
            if (rc != SHMS_OK)
                return rc;
        }
    }
    c->at = page + 1;
    return SHMS_AGAIN;
}

/* A bucket is marked as used before it holds anything. So a page that is not marked and holds something after a second
 * look at its mark is broken. */
uint64_t shms_next_unmarked(struct shms_store *s, uint64_t from, uint64_t end) {
    enum { AT_ONCE = 256 };
    uint8_t resident[AT_ONCE];
    for (uint64_t first = from; first < end; first += AT_ONCE) {
        uint64_t pages = shms_min(AT_ONCE, end - first);
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
    return end;
}

/* ---- I8 */

/* What changes whenever a writer was at work. */
void shms_used_now(struct shms_store *s, struct shms_used *used) {
    static const int counters[] = {SHMS_USED_BLOCKS, SHMS_USED_BYTES,        SHMS_PUTS, SHMS_DELETES, SHMS_EVICTIONS,
                                   SHMS_EXPIRATIONS, SHMS_EVICTIONS_BY_COUNT};
    memset(used, 0, sizeof *used);
    used->busy = any_record_is_busy(s);
    for (uint32_t i = 0; i < shms_clients_used(s); i++)
        for (uint32_t k = 0; k < 7; k++)
            used->sums[k] += shms_load_acquire(&shms_client_at(s, i)->counters[counters[k]]);
    for (uint32_t k = 0; k < 2; k++)
        used->sums[k] = SHMS_USED(used->sums[k]);
    used->busy |= any_record_is_busy(s);
}

int shms_check_step(struct shms_store *s, struct shms_check *c) {
    uint64_t end;
    int rc;
    switch (c->part) {
    case SHMS_CHECK_CLIENTS:
        if (!s->readonly)
            shms_recover_all(s, false);
        break;
    case SHMS_CHECK_UNMARKED:
        end = shms_min(c->at + 4096, s->table_pages);
        c->at = shms_next_unmarked(s, c->at, end);
        if (c->at < end)
            return BROKEN(c, "I10: page %llu of the slot table is in use and not in the summary",
                          (unsigned long long)c->at);
        if (end < s->table_pages)
            return SHMS_AGAIN;
        break;
    case SHMS_CHECK_TABLE:
        if (c->at == 0)
            shms_used_now(s, &c->used);
        if ((rc = check_table(s, c)) != SHMS_OK)
            return rc;
        struct shms_used now;
        shms_used_now(s, &now);
        if (!c->used.busy && memcmp(&now, &c->used, sizeof now) == 0 &&
            (now.sums[0] != c->entries || now.sums[1] != c->bytes))
            return BROKEN(c, "I8: the clients count %llu entries of %llu bytes, the table has %llu of %llu",
                          (unsigned long long)now.sums[0], (unsigned long long)now.sums[1],
                          (unsigned long long)c->entries, (unsigned long long)c->bytes);
        break;
    case SHMS_CHECK_HEAP:
        return check_heap(s, c);
    }
    c->part++;
    c->at = 0;
    return SHMS_AGAIN;
}
