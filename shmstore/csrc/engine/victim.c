/* victim.c: the contract is in victim.h. */
#include "engine/victim.h"

#include "engine/heap.h"
#include "engine/pinned.h"
#include "engine/policy.h"
#include "engine/replace.h"

uint64_t shms_evict_slot(struct shms_store *s, struct shms_record *record, uint64_t slot, enum shms_cause cause) {
    struct shms_entry x;
    uint64_t hash, bucket = slot / SHMS_BUCKET_SLOTS;
    if (bucket >= s->bucket_count || !shms_bucket_in_use(s, bucket) ||
        !shms_entry_in_slot(s, &s->buckets[bucket].slots[slot % SHMS_BUCKET_SLOTS], &x, &hash))
        return 0;
    if (SHMS_UNLIKELY(shms_load_relaxed(&x.block->lengths) & SHMS_FLAG_KEPT)) /* of another life? Then take_out fails */
        return 0;
    if (hash == s->spared)
        return 0;
    uint64_t offset = SHMS_SLOT_BLOCK(x.word), bytes = shms_heap_capacity(s, offset);
    if (cause == SHMS_FOR_MEMORY && (shms_load_relaxed(&x.block->word) & SHMS_WORD_PINNED) &&
        shms_pin_any(s, offset, x.life))
        return 0;
    bool small = !(shms_load_relaxed(&s->hints[slot]) & SHMS_HINT_MAIN);
    if (!shms_entry_take_out(s, record, &x, hash, 0))
        return 0;
    if (small)
        shms_policy_remember(s, hash);
    shms_stat(s, cause == SHMS_FOR_MEMORY ? SHMS_EVICTIONS : SHMS_EVICTIONS_BY_COUNT, 1);
    return shms_max(bytes, 1);
}
