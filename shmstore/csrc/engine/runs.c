/* runs.c: layout and invariants are in runs.h. */
#include "engine/runs.h"

void shms_run_classify(uint64_t bytes, uint32_t *fl, uint32_t *sl) {
    uint64_t g = bytes / SHMS_GRANULE;
    if (g < SHMS_SL) {
        *fl = 0;
        *sl = (uint32_t)g;
        return;
    }
    uint32_t log = 63 - (uint32_t)__builtin_clzll(g);
    *fl = shms_min(log - 3, SHMS_FL - 1);
    *sl = (uint32_t)(g >> (log - 4)) & (SHMS_SL - 1);
}

uint64_t shms_run_size(struct shms_store *s, uint32_t a, uint64_t offset) {
    if (!shms_run_inside(s, a, offset, SHMS_BLOCK_MIN) ||
        !(shms_load_relaxed(&shms_run_at(s, offset)->tag) & SHMS_TAG_FREE))
        return 0;
    uint64_t bytes = shms_load_relaxed(&shms_run_at(s, offset)->lengths);
    return shms_run_inside(s, a, offset, bytes) && shms_load_relaxed(shms_run_footer(s, offset + bytes)) == bytes
               ? bytes
               : 0;
}

void shms_run_set_prev_free(struct shms_store *s, uint32_t a, uint64_t offset, bool free) {
    if (!shms_run_inside(s, a, offset, SHMS_BLOCK_MIN))
        return; /* no block: the run ends at the top */
    uint32_t tag = shms_load_relaxed(&shms_run_at(s, offset)->tag);
    shms_store_relaxed(&shms_run_at(s, offset)->tag, free ? tag | SHMS_TAG_PREV_FREE : tag & ~SHMS_TAG_PREV_FREE);
}

void shms_run_insert(struct shms_store *s, uint32_t a, uint64_t offset, uint64_t bytes, uint32_t cold) {
    struct shms_arena *arena = &s->arenas[a];
    struct shms_block *b = shms_run_at(s, offset);
    uint32_t fl, sl;
    shms_run_classify(bytes, &fl, &sl);
    uint64_t first = shms_load_relaxed(&arena->heads[fl][sl]);
    if (first && !shms_run_size(s, a, first)) {
        first = 0;
        shms_arena_suspect(s, a);
    }
    shms_store_relaxed(&b->sequence, 0);
    shms_fence_release(); /* [block-life] before the links: a reader that sees one of them finds the sequence changed */
    shms_store_relaxed(&b->hash, first);
    shms_store_relaxed(&b->expiry, 0);
    shms_store_relaxed(&b->lengths, bytes);
    shms_store_relaxed(&b->slot, cold);
    shms_store_relaxed(&b->tag, SHMS_TAG_FREE);
    shms_store_relaxed(shms_run_footer(s, offset + bytes), bytes);
    if (first)
        shms_store_relaxed(&shms_run_at(s, first)->expiry, offset);
    shms_store_relaxed(&arena->heads[fl][sl], offset);
    shms_store_relaxed(&arena->sl_map[fl], shms_load_relaxed(&arena->sl_map[fl]) | (uint16_t)(1u << sl));
    shms_store_relaxed(&arena->fl_map, shms_load_relaxed(&arena->fl_map) | 1ull << fl);
    shms_run_set_prev_free(s, a, offset + bytes, true);
}

bool shms_run_unlink(struct shms_store *s, uint32_t a, uint64_t offset, uint64_t bytes) {
    struct shms_arena *arena = &s->arenas[a];
    uint64_t next = shms_load_relaxed(&shms_run_at(s, offset)->hash),
             previous = shms_load_relaxed(&shms_run_at(s, offset)->expiry);
    uint32_t fl, sl;
    shms_run_classify(bytes, &fl, &sl);
    if (next && (!shms_run_size(s, a, next) || shms_load_relaxed(&shms_run_at(s, next)->expiry) != offset))
        return shms_arena_suspect(s, a);
    if (previous ? !shms_run_size(s, a, previous) || shms_load_relaxed(&shms_run_at(s, previous)->hash) != offset
                 : shms_load_relaxed(&arena->heads[fl][sl]) != offset)
        return shms_arena_suspect(s, a);
    if (next)
        shms_store_relaxed(&shms_run_at(s, next)->expiry, previous);
    if (previous) {
        shms_store_relaxed(&shms_run_at(s, previous)->hash, next);
        return true;
    }
    shms_store_relaxed(&arena->heads[fl][sl], next);
    if (!next) {
        uint16_t map = (uint16_t)(shms_load_relaxed(&arena->sl_map[fl]) & ~(1u << sl));
        shms_store_relaxed(&arena->sl_map[fl], map);
        if (!map)
            shms_store_relaxed(&arena->fl_map, shms_load_relaxed(&arena->fl_map) & ~(1ull << fl));
    }
    return true;
}

uint64_t shms_run_find(struct shms_store *s, uint32_t a, uint64_t bytes, uint32_t max_steps, uint64_t *found) {
    struct shms_arena *arena = &s->arenas[a];
    uint32_t fl, sl;
    /* First, lists in which every run is large enough. `rounded` is the smallest size of the next list, unless `bytes`
     * is the smallest of its own. The bits find the first list that is not empty, without a loop. */
    uint64_t g = bytes / SHMS_GRANULE;
    uint64_t rounded = g < SHMS_SL ? bytes : bytes + ((1ull << (63 - __builtin_clzll(g) - 4)) - 1) * SHMS_GRANULE;
    shms_run_classify(rounded + (bytes < SHMS_LARGE_FROM ? 0 : SHMS_BLOCK_MIN), &fl, &sl);
    uint32_t map = shms_load_relaxed(&arena->sl_map[fl]) & (~0u << sl);
    if (!map) {
        uint64_t fls = fl + 1 < 64 ? shms_load_relaxed(&arena->fl_map) & (~0ull << (fl + 1)) : 0;
        if (fls) {
            fl = (uint32_t)__builtin_ctzll(fls);
            map = fl < SHMS_FL ? shms_load_relaxed(&arena->sl_map[fl]) : 0;
        }
    }
    if (map) {
        uint64_t head = shms_load_relaxed(&arena->heads[fl][__builtin_ctz(map)]);
        *found = shms_run_size(s, a, head);
        if (*found >= bytes)
            return head;
        shms_arena_suspect(s, a);
        return 0;
    }
    /* Second, the list of `bytes` itself, which also holds smaller runs. */
    shms_run_classify(bytes, &fl, &sl);
    uint64_t run = shms_load_relaxed(&arena->heads[fl][sl]);
    for (uint32_t steps = 0; run && steps < max_steps; steps++) {
        uint64_t size = *found = shms_run_size(s, a, run);
        if (!size) {
            shms_arena_suspect(s, a);
            return 0;
        }
        if (size == bytes || (size >= bytes && (bytes < SHMS_LARGE_FROM || size - bytes >= SHMS_BLOCK_MIN)))
            return run;
        run = shms_load_relaxed(&shms_run_at(s, run)->hash);
    }
    return 0;
}
