/* op.c: operation records and unpublished blocks. The critical sections are in publish.c, the contract in op.h. */
#include "engine/op.h"

#include "engine/evict.h"
#include "engine/expire.h"
#include "engine/hands.h"
#include "engine/heap.h"
#include "engine/policy.h"
#include "engine/recover.h"

int shms_op_begin(struct shms_store *s, struct shms_op *op, const void *key, uint32_t length, uint32_t kind) {
    op->s = s;
    op->epoch = shms_fork_epoch;
    op->busy = NULL;
    op->block = 0;
    op->version = 0;
    op->keep_expiry = op->only_replaces = op->keep_generations = op->same_generations = false;
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
    shms_store_relaxed(&b->created, shms_os_seconds());
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

/* A cache that has as many entries as it may have evicts one for a new key, and none for a key that is there. */
static void make_room_for_entry(struct shms_op *op) {
    struct shms_entry x;
    shms_evict_prepare(op->s);
    op->s->spared = op->key.hash;
    if (SHMS_UNLIKELY(shms_policy_shares(op->s).entries >= op->s->entries_max) && !op->only_replaces &&
        shms_find(op->s, &op->key, &x) == SHMS_MISS)
        shms_evict_entries(op->s, op->record);
}

int shms_op_reserve(struct shms_op *op, uint64_t value_length, uint32_t codec, const void *extension,
                    uint32_t extension_length, uint64_t expiry) {
    struct shms_store *s = op->s;
    op->busy = NULL;
    op->value_length = value_length;
    op->expiry = op->wanted = expiry;
    op->kind = codec | op->key.kind | (extension ? SHMS_FLAG_EXTENDED : 0);
    uint64_t bytes = shms_op_bytes(op, extension_length);
    if (value_length > SHMS_VALUE_MAX || bytes > shms_heap_largest(s))
        return SHMS_TOO_LARGE;
    op->tagged = SHMS_UNLIKELY(extension != NULL) && shms_has_generations(extension, extension_length);
    if (expiry || op->tagged)
        shms_expire_announce(s, (expiry ? SHMS_HAS_EXPIRY : 0) | (op->tagged ? SHMS_HAS_GENERATIONS : 0));
    if (SHMS_UNLIKELY(shms_any_expiry(s)))
        shms_expire_some(s, op->record);
    if (SHMS_UNLIKELY(op->kind & SHMS_FLAG_KEPT) && !shms_load_relaxed(&s->header->has_kept))
        shms_store_release(&s->header->has_kept, 1); /* as has_expiry */
    if (SHMS_UNLIKELY(shms_evicts(s)))
        make_room_for_entry(op);
    int rc = shms_heap_alloc(s, op->record, bytes);
    if (SHMS_UNLIKELY(rc == SHMS_FULL) && shms_evicts(s))
        rc = shms_evict_alloc(s, op->record, bytes);
    if (SHMS_UNLIKELY(rc != SHMS_OK))
        return rc;
    op->block = s->allocated;
    op->life = s->allocated_life;
    op->capacity = s->allocated_bytes;
    fill(op, extension, extension_length);
    return SHMS_OK;
}

void shms_op_end(struct shms_op *op) {
    if (op->index < 0 || op->epoch != shms_fork_epoch)
        return;
    if (op->block && op->s->me &&
        shms_load_acquire(&op->s->me->owner) == op->s->owner) { /* else it is lost: handle.c */
        shms_heap_end(op->s, op->block, op->life, true);
        shms_store_release(&op->record->block, 0); /* B2: after the life has ended */
    }
    op->block = 0;
    shms_record_put(op->s, op->index);
    op->index = -1;
}

#define SECOND 1000000000ull
#define CLIENTS_AT_ONCE 8u
#define CLIENTS_AT_A_GLANCE 128u
#define CLIENT_STEPS 16u
#define GROUPS_AT_ONCE 32u /* swept, with 56 entries each */
#define GROUP_STEPS 64u    /* in which nothing has expired */
#define BLOCKS_AT_ONCE 4096u
#define TIDY_STEPS 16u
static_assert(CLIENT_STEPS + GROUP_STEPS + TIDY_STEPS + 3 < SHMS_ROOM_STEPS, "as op.h says");

/* Each part: true when it is done. */

/* Proving that a client is alive takes some system calls. So all clients are looked at closely once in a second. In between,
 * one call tells of those that hold something whether their process ids exist: a client may have died since. */
static bool recover_dead(struct shms_store *s, struct shms_room *room) {
    uint64_t now = shms_os_now_coarse();
    if (s->recovered_at && now - s->recovered_at < SECOND)
        return !shms_recover_some(s, &room->client, CLIENTS_AT_A_GLANCE, true) || room->steps >= CLIENT_STEPS;
    if (shms_recover_some(s, &s->recover_cursor, CLIENTS_AT_ONCE, false))
        return room->steps >= CLIENT_STEPS;
    s->recover_cursor = 0;
    s->recovered_at = now;
    return true;
}

static bool sweep_due(struct shms_store *s, struct shms_room *room, uint64_t *gone) {
    if (!shms_any_expiry(s))
        return true;
    if (!room->started)
        room->group = s->room_group < s->group_count ? s->room_group : 0;
    int index = shms_record_take(s); /* the caller's may name a block that is not published yet */
    if (index < 0) {
        room->passed_over = true;
        return true;
    }
    bool end = shms_expire_all(s, &s->me->records[index], &room->group, GROUPS_AT_ONCE, gone, &room->passed_over);
    shms_record_put(s, index);
    room->started = true;
    bool all = end && s->room_group == 0;
    if (end)
        room->group = s->room_group = 0; /* once more from the beginning, if it began in the middle */
    room->steps -= *gone != 0;
    if (all || room->steps < GROUP_STEPS)
        return all;
    s->room_group = room->group;
    return true;
}

static bool tidy_some(struct shms_store *s, struct shms_room *room) {
    if (room->bytes == SHMS_ROOM_IN_TABLE)
        return true;
    if (!room->started)
        room->page = s->tidy_page < shms_pages_high(s) ? s->tidy_page : 0;
    bool end = shms_heap_tidy_for(s, room->bytes, &room->page, BLOCKS_AT_ONCE);
    room->started = true;
    bool all = end && s->tidy_page == 0;
    if (end)
        room->page = s->tidy_page = 0;
    if (all || room->steps < TIDY_STEPS || room->bytes == 0)
        return all;
    s->tidy_page = room->page;
    return true;
}

int shms_make_room(struct shms_store *s, struct shms_room *room) {
    uint64_t gone = 0;
    room->steps++;
    bool is_done = room->part == SHMS_ROOM_OF_DEAD      ? recover_dead(s, room)
                   : room->part == SHMS_ROOM_OF_EXPIRED ? sweep_due(s, room, &gone)
                                                        : tidy_some(s, room);
    room->done = is_done && room->part == SHMS_ROOM_OF_HINTS;
    if (is_done && !room->done) {
        room->part++;
        room->steps = 0;
        room->started = false;
    }
    if (!room->done)
        return gone ? SHMS_OK : SHMS_AGAIN;
    return room->passed_over ? SHMS_BUSY : SHMS_OK;
}
