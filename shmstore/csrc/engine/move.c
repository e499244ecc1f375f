/* move.c: the contract, steps and deaths are in move.h. */
#include "engine/move.h"

#include "engine/heap.h"
#include "engine/lock.h"
#include "engine/pinned.h"
#include "engine/replace.h"

/* Step 1. The block says which slot refers to it. */
static int look(struct shms_store *s, uint64_t offset, struct shms_move *m, const uint8_t **key, uint32_t *length) {
    uint32_t slot = shms_load_relaxed(&((struct shms_block *)(s->base + offset))->slot);
    uint64_t bucket = slot / SHMS_BUCKET_SLOTS;
    if (bucket >= s->bucket_count || !shms_bucket_in_use(s, bucket))
        return SHMS_MISS;
    int rc = shms_peek(s, bucket, slot % SHMS_BUCKET_SLOTS, &m->x, key, length);
    if (rc != SHMS_OK || SHMS_SLOT_BLOCK(m->x.word) != offset)
        return SHMS_MISS;
    m->home = shms_home_of(s, shms_block_hash(s, m->x.block));
    bool pinned = shms_load_relaxed(&m->x.block->word) & SHMS_WORD_PINNED;
    if (!shms_entry_unchanged(&m->x) || !shms_bucket_in_use(s, m->home))
        return SHMS_MISS;
    return pinned && shms_pin_any(s, offset, m->x.life) ? SHMS_UNMET : SHMS_OK;
}

/* Where the value begins in a block, from the block's first byte. Blocks of a page or more begin at a page or a multiple of
 * 512, so the alignment of a large value does not depend on the block. */
static uint64_t value_at(const struct shms_entry *x, uint32_t key_length) {
    uint64_t at = SHMS_BLOCK_HEADER + x->extension_length + key_length;
    return x->value_length >= SHMS_ALIGNED_FROM ? SHMS_ALIGN_VALUE(at, x->kind) : at;
}

int shms_move_begin(struct shms_store *s, struct shms_record *record, uint64_t offset, bool opens,
                    struct shms_move *m) {
    const uint8_t *key;
    uint32_t length;
    int rc = look(s, offset, m, &key, &length);
    if (rc != SHMS_OK)
        return rc;
    uint64_t value = value_at(&m->x, length);
    if (m->x.value_length > shms_heap_largest(s) || /* scribbled bytes */
        shms_heap_alloc_moved(s, record, value + m->x.value_length, opens) != SHMS_OK) {
        shms_store_release(&record->page, 0);
        return SHMS_FULL;
    }
    m->block = s->allocated;
    m->life = s->allocated_life;
    m->value = m->block + value;
    m->copied = 0;
    struct shms_block *b = (struct shms_block *)(s->base + m->block);
    shms_store_relaxed(&b->hash, shms_entry_version(&m->x));
    shms_store_relaxed(&b->lengths, SHMS_LENGTHS(m->x.value_length, length, m->x.kind | SHMS_FLAG_MOVED));
    shms_store_relaxed(&b->slot, m->x.number);
    shms_store_relaxed(&b->created, shms_load_relaxed(&m->x.block->created));
    shms_move_racy(b->body, key - m->x.extension_length, m->x.extension_length + length);
    return SHMS_OK;
}

bool shms_move_copy(struct shms_store *s, struct shms_move *m, uint64_t most) {
    uint64_t bytes = shms_min(most, m->x.value_length - m->copied);
    shms_move_racy(s->base + m->value + m->copied, m->x.value + m->copied, bytes);
    m->copied += bytes;
    return m->copied == m->x.value_length;
}

void shms_move_cancel(struct shms_store *s, struct shms_record *record, struct shms_move *m) {
    shms_heap_end(s, m->block, m->life, false);
    shms_store_release(&record->block, 0); /* B2: after the life has ended */
}

int shms_move_end(struct shms_store *s, struct shms_record *record, struct shms_move *m, bool unseen) {
    _Atomic uint64_t *lock = &s->buckets[m->home].lock;
    struct shms_block *b = (struct shms_block *)(s->base + m->block);
    uint64_t seen;
    int rc = SHMS_MISS;
    if (shms_entry_unchanged(&m->x)) { /* step 3: [block-life] */
        rc = SHMS_BUSY;
        shms_store_relaxed(&record->bucket, m->home + 1); /* L3 */
        if (shms_lock_try(s, lock, SHMS_SPINS, &seen)) {
            bool same = shms_load_acquire(m->x.slot) == m->x.word && shms_entry_unchanged(&m->x);
            shms_store_relaxed(&b->expiry, shms_load_relaxed(&m->x.block->expiry));
            uint64_t word = SHMS_SLOT_TAG_OF(m->x.word) | m->block / SHMS_GRANULE;
            uint64_t bytes = shms_heap_capacity(s, m->block);
            same = same && (unseen ? shms_entry_replace_unseen(s, record, &m->x, word, bytes)
                                   : shms_entry_replace(s, record, &m->x, word, bytes));
            rc = same ? SHMS_OK : SHMS_MISS;
            shms_unlock(s, lock);
        }
        shms_store_release(&record->bucket, 0);
    }
    if (rc == SHMS_OK)
        shms_stat(s, SHMS_MOVES, 1);
    else
        shms_move_cancel(s, record, m);
    return rc;
}

int shms_move(struct shms_store *s, struct shms_record *record, uint64_t offset, bool opens, bool unseen) {
    struct shms_move m;
    int rc = shms_move_begin(s, record, offset, opens, &m);
    if (rc != SHMS_OK)
        return rc;
    shms_move_copy(s, &m, UINT64_MAX);
    return shms_move_end(s, record, &m, unseen);
}
