/* carry.c: the contract is in carry.h. */
#include "engine/carry.h"

#include "engine/evict.h"
#include "engine/expire.h"
#include "engine/hands.h"
#include "engine/heap.h"
#include "engine/op.h"
#include "engine/policy.h"

int shms_carry_look(struct shms_store *from, uint64_t slot, struct shms_carried *c) {
    const uint8_t *key;
    for (uint32_t tries = 0; tries < SHMS_FIND_TRIES; tries++) {
        int rc = shms_peek(from, slot / SHMS_BUCKET_SLOTS, slot % SHMS_BUCKET_SLOTS, &c->x, &key, &c->key_length);
        if (rc == SHMS_BUSY)
            continue;
        if (rc != SHMS_OK)
            return rc;
        bool gone = shms_entry_gone(from, &c->x, shms_os_now());
        shms_copy_racy(c->key, key, c->key_length);
        if (shms_entry_unchanged(&c->x))
            return gone ? SHMS_MISS : SHMS_OK;
    }
    return SHMS_BUSY;
}

/* Room for one more entry and for its block. */
static int allocate(struct shms_store *to, struct shms_op *op, uint64_t bytes) {
    struct shms_window window = {0};
    bool evicts = shms_evicts(to);
    if (evicts) {
        shms_evict_prepare(to);
        to->spared = 0;
        if (shms_policy_shares(to).entries >= to->entries_max)
            shms_evict_entries(to, op->record);
    }
    int rc = shms_heap_alloc(to, op->record, bytes);
    if (rc == SHMS_FULL && evicts)
        rc = shms_evict_alloc(to, op->record, bytes);
    while (rc == SHMS_FULL && evicts) {
        int emptied = shms_evict_window(to, &window, bytes);
        if (emptied == SHMS_FULL)
            break;
        if (emptied == SHMS_OK)
            rc = shms_heap_alloc(to, op->record, bytes);
    }
    return rc;
}

/* Header, extension and key; then the value. The copy has a version of its own, as an entry that was moved (layout.h). */
static void fill(struct shms_store *to, struct shms_op *op, const struct shms_carried *c) {
    struct shms_block *b = (struct shms_block *)(to->base + op->block);
    uint8_t *at = b->body;
    shms_store_relaxed(&b->hash, shms_entry_version(&c->x));
    shms_store_relaxed(&b->expiry, c->x.expiry);
    shms_store_relaxed(&b->lengths, SHMS_LENGTHS(c->x.value_length, c->key_length, op->kind));
    shms_store_relaxed(&b->created, shms_load_relaxed(&c->x.block->created));
    if (c->x.extension_length)
        shms_move_racy(at, c->x.extension, c->x.extension_length);
    at += c->x.extension_length;
    shms_write_short(at, c->key, c->key_length);
    uint64_t value = (uint64_t)(at - to->base) + c->key_length;
    if (c->x.value_length >= SHMS_ALIGNED_FROM)
        value = SHMS_ALIGN_VALUE(value, op->kind);
    shms_move_racy(to->base + value, c->x.value, c->x.value_length);
}

static void warm(struct shms_store *to, const struct shms_op *op, uint32_t frequency) {
    struct shms_entry x;
    if (frequency && shms_find(to, &op->key, &x) == SHMS_OK)
        while (frequency--)
            shms_policy_hit(to, x.number);
}

int shms_carry(struct shms_store *to, const struct shms_carried *c, uint32_t frequency) {
    struct shms_op op;
    const struct shms_entry *x = &c->x;
    int rc = shms_op_begin(to, &op, c->key, c->key_length, x->kind & SHMS_KEY_FLAGS);
    if (rc != SHMS_OK)
        return rc;
    uint64_t bytes = SHMS_BLOCK_HEADER + x->extension_length + c->key_length + x->value_length +
                     (x->value_length >= SHMS_ALIGNED_FROM ? SHMS_LINE - 1 : 0);
    op.tagged = shms_has_generations(x->extension, x->extension_length);
    if (x->expiry || op.tagged)
        shms_expire_announce(to, (x->expiry ? SHMS_HAS_EXPIRY : 0) | (op.tagged ? SHMS_HAS_GENERATIONS : 0));
    if (x->kind & SHMS_FLAG_KEPT)
        shms_store_release(&to->header->has_kept, 1);
    rc = bytes > shms_heap_largest(to) ? SHMS_FULL : allocate(to, &op, bytes);
    if (rc == SHMS_OK) {
        op.block = to->allocated;
        op.life = to->allocated_life;
        op.capacity = to->allocated_bytes;
        op.kind = x->kind | SHMS_FLAG_MOVED;
        op.value_length = x->value_length;
        op.expiry = op.wanted = x->expiry;
        fill(to, &op, c);
        rc = shms_entry_unchanged(x) ? shms_op_publish(&op, SHMS_SET, 0) : SHMS_MISS;
    }
    if (rc == SHMS_TABLE_FULL && shms_evicts(to) && shms_evict_near(to, op.key.home))
        rc = shms_op_publish(&op, SHMS_SET, 0);
    if (rc == SHMS_OK)
        warm(to, &op, frequency);
    shms_op_end(&op);
    return rc;
}
