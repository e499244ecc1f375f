/* op.c: operation records and unpublished blocks. The critical sections are in publish.c, the contract in op.h. */
#include "engine/op.h"

#include "engine/arena.h"
#include "engine/expire.h"
#include "engine/lock.h"
#include "engine/recover.h"

/* Frees the block that the record names, and clears the record under the same lock. So a record of a live client never
 * names a free block, which a rebuild would take for an allocated one. */
static bool give_back(struct shms_store *s, struct shms_record *record, uint64_t *seen, _Atomic uint64_t **busy) {
    uint64_t block = shms_load_relaxed(&record->block);
    uint32_t a = shms_arena_of(s, block);
    if (!shms_arena_enter(s, a, SHMS_SPINS, seen)) {
        *busy = &s->arenas[a].lock;
        return false;
    }
    if (!shms_arena_free(s, a, block)) {
        shms_store_release(&record->block, 0);
        shms_rebuild(s, a);
    }
    shms_store_release(&record->block, 0);
    shms_arena_leave(s, a);
    return true;
}

int shms_op_begin(struct shms_store *s, struct shms_op *op, const void *key, uint32_t length, uint32_t kind) {
    op->s = s;
    op->epoch = shms_fork_epoch;
    op->busy = NULL;
    op->block = 0;
    op->version = 0;
    op->keep_expiry = false;
    op->index = shms_record_take(s);
    if (SHMS_UNLIKELY(op->index < 0))
        return SHMS_BUSY;
    op->record = &s->me->records[op->index];
    shms_key_init(s, &op->key, key, length, kind);
    return SHMS_OK;
}

static void fill(struct shms_op *op, const void *extension, uint32_t extension_length) {
    struct shms_store *s = op->s;
    struct shms_block *b = (struct shms_block *)(s->base + op->block);
    uint64_t at = op->block + SHMS_BLOCK_HEADER;
    shms_store_relaxed(&b->hash, op->key.hash);
    shms_store_relaxed(&b->expiry, op->expiry);
    shms_store_relaxed(&b->lengths, SHMS_LENGTHS(op->value_length, op->key.length, op->kind));
    if (extension) {
        shms_write_short(s->base + at, extension, extension_length);
        at += extension_length;
    }
    shms_write_short(s->base + at, op->key.bytes, op->key.length);
    at += op->key.length;
    if (op->value_length >= SHMS_ALIGNED_FROM)
        at = SHMS_ALIGN_VALUE(at, op->kind);
    op->value = s->base + at;
}

/* REQUIRES: the arena's lock. Allocates a block and notes it in the record. */
static int allocate(struct shms_op *op, uint32_t a) {
    struct shms_store *s = op->s;
    uint64_t block;
    int rc = shms_arena_alloc(s, a, op->asked, &block);
    if (SHMS_UNLIKELY(rc == SHMS_CORRUPT)) {
        if ((rc = shms_rebuild(s, a)) != SHMS_OK)
            return rc;
        rc = shms_arena_alloc(s, a, op->asked, &block);
    }
    if (rc == SHMS_OK) {
        op->block = block;
        shms_store_release(&op->record->block, block); /* before the unlock: from now on a rebuild finds it here (I9) */
    }
    return rc;
}

int shms_op_reserve(struct shms_op *op, uint64_t value_length, uint32_t codec, const void *extension,
                    uint32_t extension_length, uint64_t expiry) {
    struct shms_store *s = op->s;
    op->busy = NULL;
    op->value_length = value_length;
    op->expiry = op->wanted = expiry;
    op->kind = codec | op->key.kind | (extension ? SHMS_FLAG_EXTENDED : 0);
    op->asked = SHMS_BLOCK_HEADER + extension_length + op->key.length + value_length +
                (value_length >= SHMS_ALIGNED_FROM ? SHMS_LINE - 1 : 0);
    if (value_length > SHMS_VALUE_MAX || shms_arena_capacity(op->asked) > s->arena_size)
        return SHMS_TOO_LARGE;
    if (SHMS_UNLIKELY(shms_load_relaxed(&op->record->block)) && !give_back(s, op->record, &op->seen, &op->busy))
        return SHMS_BUSY; /* an earlier operation could not free its block, and this one cannot either */
    /* The flag is set before any entry with an expiry can be published, so no process that sees such an entry misses
     * the flag. It is never reset. */
    if (expiry && !shms_any_expiry(s))
        shms_store_release(&s->header->has_expiry, 1);
    if (SHMS_UNLIKELY(shms_any_expiry(s)))
        shms_expire_some(s);
    uint32_t first = s->number % s->arena_count;
    int result = SHMS_FULL;
    for (uint32_t i = 0; i < s->arena_count; i++) {
        uint32_t a = (first + i) % s->arena_count;
        if (!shms_arena_enter(s, a, SHMS_SPINS, &op->seen)) {
            op->busy = &s->arenas[a].lock;
            continue; /* arenas are tried, not waited for: another one may have room */
        }
        int rc = allocate(op, a);
        shms_arena_leave(s, a);
        if (SHMS_LIKELY(rc == SHMS_OK)) {
            fill(op, extension, extension_length);
            return SHMS_OK;
        }
        if (rc != SHMS_FULL)
            result = rc;
    }
    return op->busy ? SHMS_BUSY : result;
}

void shms_op_end(struct shms_op *op) {
    if (op->index < 0 || op->epoch != shms_fork_epoch)
        return;
    if (op->block && op->s->me && shms_load_acquire(&op->s->me->owner) == op->s->owner) /* else it is lost: handle.c */
        give_back(op->s, op->record, &op->seen, &op->busy); /* if the arena is busy, the next operation frees it */
    op->block = 0;
    shms_record_put(op->s, op->index);
    op->index = -1;
}

bool shms_make_room(struct shms_store *s) {
    bool everything = true;
    shms_recover_all(s, false);
    if (shms_any_expiry(s))
        shms_expire_all(s, &everything);
    return everything;
}
