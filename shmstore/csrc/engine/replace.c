/* replace.c: the contract is in replace.h, steps and deaths are in op.h. */
#include "engine/replace.h"

#include "engine/heap.h"
#include "engine/lock.h"
#include "engine/policy.h"

#define TRIED 30u /* times: a busy home is left alone, its writer needs longer than another entry takes */

/* Step 3: what the used counters will be. */
void shms_used_state(struct shms_store *s, struct shms_record *record, uint64_t new_bytes, uint64_t old_bytes) {
    uint64_t blocks = shms_load_relaxed(&s->me->counters[SHMS_USED_BLOCKS]);
    uint64_t bytes = shms_load_relaxed(&s->me->counters[SHMS_USED_BYTES]);
    shms_store_release(&record->blocks, SHMS_USED_ADD(blocks, (new_bytes != 0) - (uint64_t)(old_bytes != 0)));
    shms_store_release(&record->bytes, SHMS_USED_ADD(bytes, new_bytes - old_bytes));
}
/* Step 5. The record of the new block is cleared after it: until then recovery may have to do it. */
void shms_used_count(struct shms_store *s, struct shms_record *record) {
    shms_store_relaxed(&s->me->counters[SHMS_USED_BLOCKS], shms_load_relaxed(&record->blocks));
    shms_store_relaxed(&s->me->counters[SHMS_USED_BYTES], shms_load_relaxed(&record->bytes));
    shms_store_release(&record->block, 0); /* [records-then-slots] after publishing */
}

bool shms_entry_replace(struct shms_store *s, struct shms_record *record, const struct shms_entry *x, uint64_t word,
                        uint64_t new_bytes) {
    uint64_t offset = SHMS_SLOT_BLOCK(x->word), was = x->word;
    struct shms_span span;
    bool known =
        SHMS_LIKELY(shms_span_of(s, offset, &span)); /* else the segment is damaged, and the block is nobody's */
    bool leaves = word == 0 && SHMS_UNLIKELY(shms_evicts(s));
    shms_used_state(s, record, new_bytes, known ? span.bytes : 0);
    shms_store_release(&record->other, x->life);
    shms_store_release(&record->old, offset); /* B2: before the slot; the exchange also releases it */
    uint64_t slot = leaves ? shms_slot_number(s, x->slot) : 0;
    uint8_t hint = leaves ? shms_policy_leave(s, slot) : 0; /* E2: before the slot is empty */
    bool done = shms_cas_acq_rel(x->slot, &was, word);      /* [publish] */
    if (SHMS_LIKELY(done)) {
        shms_used_count(s, record);
        if (known)
            shms_heap_end_in(s, &span, offset, x->life, true);
        if (leaves)
            shms_policy_left(s, hint);
    } else if (leaves)
        shms_policy_stay(s, slot, hint);
    shms_store_release(&record->old, 0);
    return done;
}

bool shms_entry_replace_unseen(struct shms_store *s, struct shms_record *record, const struct shms_entry *x,
                               uint64_t word, uint64_t new_bytes) {
    uint64_t offset = SHMS_SLOT_BLOCK(x->word), was = x->word;
    shms_used_state(s, record, new_bytes, shms_heap_capacity(s, offset));
    shms_store_release(&record->other, x->life);
    shms_store_release(&record->old, offset);          /* B2 */
    bool done = shms_cas_acq_rel(x->slot, &was, word); /* [publish] */
    if (done) {
        shms_used_count(s, record);
        shms_heap_end_unseen(s, offset, x->life);
    }
    shms_store_release(&record->old, 0);
    return done;
}

bool shms_entry_in_slot(struct shms_store *s, _Atomic uint64_t *slot, struct shms_entry *x, uint64_t *hash) {
    x->slot = slot;
    x->word = shms_load_acquire(slot);
    x->block = x->word ? shms_block_at(s, SHMS_SLOT_BLOCK(x->word)) : NULL;
    if (!x->block)
        return false;
    uint64_t w = shms_load_acquire(&x->block->word);
    x->life = SHMS_WORD_LIFE(w);
    if (shms_load_acquire(slot) != x->word || !SHMS_WORD_ALIVE(w))
        return false;
    x->expiry = shms_load_relaxed(&x->block->expiry);
    x->kind = SHMS_LENGTHS_KIND(shms_load_relaxed(&x->block->lengths));
    *hash = shms_block_hash(s, x->block);
    if (!shms_entry_extension(s, x)) /* damaged: check finds it */
        x->extension = NULL;
    return shms_entry_unchanged(x); /* [block-life] */
}

bool shms_entry_take_out(struct shms_store *s, struct shms_record *record, struct shms_entry *x, uint64_t hash,
                         uint64_t expired_by) {
    uint64_t home = shms_home_of(s, hash), seen;
    _Atomic uint64_t *lock = &s->buckets[home].lock;
    bool done = false;
    if (!shms_bucket_in_use(s, home))
        return false;                              /* the hash was overwritten: no bucket of an entry is unmarked */
    shms_store_relaxed(&record->bucket, home + 1); /* L3 */
    if (shms_lock_try(s, lock, TRIED, &seen)) {
        uint64_t expiry = shms_load_relaxed(&x->block->expiry); /* a touch may have changed it */
        done = shms_load_acquire(x->slot) == x->word && shms_entry_unchanged(x) &&
               (!expired_by || (expiry && expiry <= expired_by)) && shms_entry_replace(s, record, x, 0, 0);
        shms_unlock(s, lock);
    }
    shms_store_release(&record->bucket, 0);
    return done;
}
