/* replace.c: the contract is in replace.h, steps and deaths are in op.h. */
#include "engine/replace.h"

#include "engine/heap.h"

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
    shms_used_state(s, record, new_bytes, shms_heap_capacity(s, offset));
    shms_store_release(&record->other, x->life);
    shms_store_release(&record->old, offset);          /* B2: before the slot; the exchange also releases it */
    bool done = shms_cas_acq_rel(x->slot, &was, word); /* [publish] */
    if (SHMS_LIKELY(done)) {
        shms_used_count(s, record);
        shms_heap_end(s, offset, x->life, true);
    }
    shms_store_release(&record->old, 0);
    return done;
}
