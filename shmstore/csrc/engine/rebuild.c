/* rebuild.c: computes an arena's derived state anew, by mark and sweep, without following a link
 *
 * WRITER  1 collect the roots, in this order: blocks in operation records of live clients; slots; pins of live clients
 *         2 sort them by offset, drop roots that overlap others, merge pins that overlap each other, close gaps that are
 *           too small for a free run
 *         3 end the sequence of the block that was being retired (arena.h)
 *         4 write the arena from the lowest offset on: each root is a used block, each gap a free run. A block that
 *           only a pin names becomes a zombie. What is behind the last block is above the top
 * INVARIANT  It reads only records, slots, pins and the boundary tags of the blocks that they name, and it writes only
 *   what is derived from them. So it can be repeated.
 * ORDERING [records-then-slots]  A writer publishes a block first and clears its record then (release). A rebuild loads
 *   the record (acquire) first and the slot then. So a block that has left its record is found in its slot. In the
 *   other order a block that moved in between would be in neither, and be freed while it is published.
 * CRASH  The lock names the dead client, and `suspect` is set. The next process begins again.
 * LIMITS
 *   A slot whose word names no possible block, or a block inside another one, is emptied. No reader could use it.
 *   Cost: every used slot and the header of its block once, and a sort. 24 bytes of this process's memory for each.
 *   Pages of the table that were never used are not touched. */
#include "engine/rebuild.h"

#include <stdlib.h>

#include "engine/arena.h"
#include "engine/lock.h"

enum { ROOT_RECORD, ROOT_SLOT, ROOT_PIN };
struct root {
    uint64_t offset, bytes;
    uint32_t slot;
    uint32_t kind;
};
struct roots {
    struct root *items;
    uint64_t count, room;
};

static SHMS_COLD bool grow(struct roots *r) {
    uint64_t room = r->room ? r->room * 2 : 1024;
    struct root *items = realloc(r->items, room * sizeof *items);
    if (!items)
        return false;
    r->items = items;
    r->room = room;
    return true;
}

static bool add(struct roots *r, uint64_t offset, uint64_t bytes, uint32_t slot, uint32_t kind) {
    if (r->count == r->room && !grow(r))
        return false;
    r->items[r->count++] = (struct root){offset, bytes, slot, kind};
    return true;
}

/* The capacity that a boundary tag states, limited by the arena's bounds alone, because the top is derived, too. */
static uint64_t block_bytes(struct shms_store *s, uint32_t a, uint64_t offset) {
    if (offset < shms_arena_base(s, a) || offset % SHMS_GRANULE || offset > shms_arena_end(s, a) - SHMS_BLOCK_MIN)
        return 0;
    struct shms_block *b = (struct shms_block *)(s->base + offset);
    uint32_t tag = shms_load_relaxed(&b->tag);
    uint64_t bytes = (uint64_t)(tag & SHMS_TAG_UNITS) * (tag & SHMS_TAG_LARGE ? SHMS_PAGE : SHMS_GRANULE);
    return (tag & SHMS_TAG_FREE) || bytes < SHMS_BLOCK_MIN || bytes > shms_arena_end(s, a) - offset ? 0 : bytes;
}

static bool mark_clients(struct shms_store *s, uint32_t a, struct roots *r, bool pins) {
    uint64_t high = shms_min(shms_load_acquire(&s->header->clients_high), s->client_count);
    for (uint32_t i = 0; i < high; i++) {
        struct shms_client *c = shms_client_at(s, i);
        if (SHMS_OWNER_STATE(shms_load_acquire(&c->owner)) != SHMS_CLIENT_LIVE)
            continue;
        uint32_t n = pins ? s->pin_count : SHMS_CLIENT_RECORDS;
        for (uint32_t k = 0; k < n; k++) {
            /* acquire: [records-then-slots], and the block's boundary tag is seen */
            uint64_t offset = shms_load_acquire(pins ? &c->pins[k] : &c->records[k].block);
            uint64_t bytes = offset ? block_bytes(s, a, offset) : 0;
            if (bytes && !add(r, offset, bytes, 0, pins ? ROOT_PIN : ROOT_RECORD))
                return false;
        }
    }
    return true;
}

static void empty_slot(struct shms_store *s, uint32_t slot, uint64_t offset) {
    _Atomic uint64_t *p = &s->buckets[slot / SHMS_BUCKET_SLOTS].slots[slot % SHMS_BUCKET_SLOTS];
    uint64_t w = shms_load_relaxed(p);
    if (SHMS_SLOT_BLOCK(w) == offset)
        shms_cas_acq_rel(p, &w, 0);
}

static bool mark_slots(struct shms_store *s, uint32_t a, struct roots *r) {
    for (uint64_t page = 0; (page = shms_next_page_in_use(s, page)) < s->table_pages; page++) {
        uint64_t last = shms_min((page + 1) * SHMS_PAGE_BUCKETS, s->bucket_count);
        for (uint64_t bucket = page * SHMS_PAGE_BUCKETS; bucket < last; bucket++)
            for (uint32_t i = 0; i < SHMS_BUCKET_SLOTS; i++) {
                /* acquire: the block's boundary tag is seen [publish]; if the block is gone, `retiring` is seen
                 * [retire-then-slot] */
                uint64_t w = shms_load_acquire(&s->buckets[bucket].slots[i]), offset = SHMS_SLOT_BLOCK(w);
                uint32_t slot = (uint32_t)(bucket * SHMS_BUCKET_SLOTS + i);
                if (!w)
                    continue;
                if (offset < s->heap_offset || offset >= s->heap_end) {
                    empty_slot(s, slot, offset);
                    continue;
                }
                if (shms_arena_of(s, offset) != a)
                    continue;
                uint64_t bytes = block_bytes(s, a, offset);
                if (!bytes)
                    empty_slot(s, slot, offset);
                else if (!add(r, offset, bytes, slot, ROOT_SLOT))
                    return false;
            }
    }
    return true;
}

static int by_offset(const void *x, const void *y) {
    const struct root *a = x, *b = y;
    if (a->offset != b->offset)
        return a->offset < b->offset ? -1 : 1;
    if (a->kind != b->kind) /* for one block, a slot comes before a record, and a pin comes last */
        return (a->kind == ROOT_SLOT ? 0 : a->kind + 1) < (b->kind == ROOT_SLOT ? 0 : b->kind + 1) ? -1 : 1;
    return a->slot < b->slot ? -1 : a->slot > b->slot;
}

/* Keeps the slots and records that do not overlap an earlier one, and the pins that overlap neither. A pin that does is
 * stale: its owner set it and has not yet checked it (pin.h, step 4), and the memory belongs to another block by now. */
static uint64_t drop_overlaps(struct shms_store *s, struct roots *r) {
    uint64_t kept = 0, end = 0, pins = 0; /* the last `pins` of those kept are pins */
    for (uint64_t i = 0; i < r->count; i++) {
        struct root root = r->items[i];
        if (root.offset < end) {
            if (root.kind == ROOT_SLOT)
                empty_slot(s, root.slot, root.offset);
            continue;
        }
        if (root.kind == ROOT_PIN) {
            r->items[kept++] = root;
            pins++;
            continue;
        }
        uint64_t from = kept - pins;
        for (uint64_t k = from; k < kept; k++)
            if (r->items[k].offset + r->items[k].bytes <= root.offset)
                r->items[from++] = r->items[k];
        kept = from;
        pins = 0;
        end = root.offset + root.bytes;
        r->items[kept++] = root;
    }
    return kept;
}

/* Pins that overlap: one at most is of a block, and the others are stale, with sizes that a value's bytes may state. It
 * is not known which one. So together they become one block, which stays while any pin lies inside (pin.h). */
static uint64_t merge_pins(struct roots *r) {
    uint64_t kept = 0;
    for (uint64_t i = 0; i < r->count; i++) {
        struct root *before = kept ? &r->items[kept - 1] : NULL, root = r->items[i];
        if (!before || root.offset >= before->offset + before->bytes) {
            r->items[kept++] = root;
            continue;
        }
        uint64_t bytes = shms_max(before->bytes, root.offset + root.bytes - before->offset);
        if (bytes < SHMS_LARGE_FROM || bytes % SHMS_PAGE == 0)
            before->bytes = bytes;
        else if (root.bytes > before->bytes) /* no boundary tag states this size: the largest is the block */
            *before = root;
    }
    return kept;
}

/* Gaps that are too small for a free run come from overwritten sizes, never from this allocator. Such a gap is given to
 * the block before it, which keeps the chain whole (I6). If that cannot be, the entry behind it is removed. */
static uint64_t close_gaps(struct shms_store *s, uint64_t at, struct roots *r) {
    uint64_t kept = 0;
    for (uint64_t i = 0; i < r->count; i++) {
        struct root *root = &r->items[i], *before = kept ? &r->items[kept - 1] : NULL;
        uint64_t gap = root->offset - at;
        if (gap && gap < SHMS_BLOCK_MIN) {
            if (before && before->bytes + gap < SHMS_LARGE_FROM)
                before->bytes += gap;
            else if (root->kind == ROOT_SLOT) {
                empty_slot(s, root->slot, root->offset);
                shms_store_relaxed(&((struct shms_block *)(s->base + root->offset))->sequence, 0);
                shms_fence_release(); /* [block-life] before the free run's links */
                continue;
            }
        }
        at = root->offset + root->bytes;
        r->items[kept++] = *root;
    }
    return kept;
}

/* A reader may still be copying the block that a dead client took out of its slot last. So its sequence ends before any
 * of its bytes changes, as in a free (arena.h). If a kept root covers the offset, another life has begun. */
static void end_retiring(struct shms_store *s, uint32_t a, const struct roots *r) {
    uint64_t offset = shms_load_relaxed(&s->arenas[a].retiring); /* [retire-then-slot] after the loads in mark_slots */
    if (offset < shms_arena_base(s, a) || offset % SHMS_GRANULE || offset > shms_arena_end(s, a) - SHMS_BLOCK_MIN)
        return;
    for (uint64_t i = 0; i < r->count; i++)
        if (offset >= r->items[i].offset && offset - r->items[i].offset < r->items[i].bytes)
            return;
    if (!shms_commit(s, offset, SHMS_BLOCK_HEADER))
        return; /* its page went back to the system, and would read as 0 */
    shms_store_relaxed(&((struct shms_block *)(s->base + offset))->sequence, 0);
    shms_fence_release(); /* [block-life] before the free run's links */
}

/* Head and end of each gap have their pages (A1 in arena.c), unless sizes were overwritten. So the pages that could be
 * missing are committed before they are touched. */
static bool commit_gaps(struct shms_store *s, uint64_t at, const struct roots *r) {
    for (uint64_t i = 0; s->sparse && i < r->count; i++) {
        uint64_t end = r->items[i].offset;
        if (end > at && ((at % SHMS_PAGE == 0 && !shms_commit_sparse(s, at, SHMS_BLOCK_MIN)) ||
                         (end % SHMS_PAGE == 0 && !shms_commit_sparse(s, end - 8, 8))))
            return false;
        at = end + r->items[i].bytes;
    }
    return true;
}

int shms_rebuild(struct shms_store *s, uint32_t a) {
    struct roots r = {0};
    shms_store_relaxed(&s->arenas[a].suspect, 1); /* until the end: a death inside leaves it set */
    if (!mark_clients(s, a, &r, false) || !mark_slots(s, a, &r) || !mark_clients(s, a, &r, true)) {
        free(r.items);
        return SHMS_NO_MEMORY;
    }
    if (r.count)
        qsort(r.items, r.count, sizeof *r.items, by_offset);
    r.count = drop_overlaps(s, &r);
    r.count = merge_pins(&r);
    end_retiring(s, a, &r);
    uint64_t at = shms_arena_base(s, a);
    r.count = close_gaps(s, at, &r);
    if (!commit_gaps(s, at, &r)) {
        free(r.items);
        return SHMS_FULL;
    }
    uint64_t top = r.count ? r.items[r.count - 1].offset + r.items[r.count - 1].bytes : at;
    shms_arena_reset(s, a);
    shms_store_relaxed(&s->arenas[a].suspect, 1);
    shms_arena_set_top(s, a, top);
    for (uint64_t i = 0; i < r.count; i++) {
        struct root *root = &r.items[i];
        if (root->offset - at < SHMS_BLOCK_MIN)
            at = root->offset; /* close_gaps could not close it: these bytes are lost until a neighbour is freed */
        bool gap = root->offset > at;
        shms_arena_add_used(s, a, root->offset, root->bytes, gap);
        if (gap)
            shms_arena_add_free(s, a, at, root->offset - at);
        if (root->kind == ROOT_PIN)
            shms_arena_add_zombie(s, a, root->offset);
        at = root->offset + root->bytes;
    }
    free(r.items);
    shms_store_relaxed(&s->arenas[a].suspect, 0);
    shms_fetch_add_acq_rel(&s->rebuilds, 1);
    return SHMS_OK;
}

bool shms_arena_enter(struct shms_store *s, uint32_t a, uint32_t spins, uint64_t *seen) {
    if (!shms_lock_try(s, &s->arenas[a].lock, spins, seen))
        return false;
    if (SHMS_UNLIKELY(shms_load_relaxed(&s->arenas[a].suspect)))
        shms_rebuild(s, a);
    return true;
}

void shms_arena_leave(struct shms_store *s, uint32_t a) { shms_unlock(s, &s->arenas[a].lock); }
