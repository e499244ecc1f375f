/* arena.c: allocating and freeing blocks. Example, order and deaths are in arena.h.
 *
 * Blocks come from free runs first, whose pages are in memory, and from the top last. Freed blocks that a reader has
 * pinned become zombies and are freed later.
 *
 * GIVING PAGES BACK  A free run keeps its first `keep` bytes. When its pages exceed that by a quarter, the rest goes
 * back to the system. `keep` grows to twice the size of each allocation of a megabyte or more that follows. So a store
 * that overwrites large values again and again soon stops losing and fetching pages, and a store that shrank once has
 * paid once.
 *
 * SPARSE MEMORY (s->sparse, memory.h)
 *   A1  Every block, and the head and end of every free run, has its pages.
 *   A2  If the middle of a run may lack pages, its `cold` is not 0. Above `high` every page may be missing.
 *   A3  `cold` may be too high and `high` too low, never the other way round. Both are changed before pages go back. A
 *       rebuild knows neither, so it sets every gap to cold, and `high` to the top.
 * Memory is committed before anything else changes: a block from a cold run together with the head of its remainder, a
 * block from above `high` with some pages more. If the system has no page, a run that has its own is searched for. If
 * there is none, the result is SHMS_FULL, and nothing has changed. */
#include "engine/arena.h"

#include "segment/memory.h"
#include "engine/pin.h"
#include "engine/runs.h"

#define KEEP_FIRST (16ull << 20)
#define ZOMBIES_LOOKED_AT 8
#define FIT_STEPS 256                 /* in the list that also holds smaller runs, while there is other memory */
#define FIT_STEPS_AT_LAST (1u << 24)  /* the same, before the result is SHMS_FULL */
#define WARM_STEPS (1u << 16)         /* each cold run costs a system call */
#define COMMIT_AHEAD (16 * SHMS_PAGE) /* a system call for each single page would cost more than the page */

uint64_t shms_arena_capacity(uint64_t bytes) {
    bytes = shms_max(SHMS_ALIGN_UP(bytes, SHMS_GRANULE), SHMS_BLOCK_MIN);
    return bytes < SHMS_LARGE_FROM ? bytes : SHMS_ALIGN_UP(bytes, SHMS_PAGE);
}

uint64_t shms_arena_block_size(struct shms_store *s, uint32_t a, uint64_t offset) {
    if (!shms_run_inside(s, a, offset, SHMS_BLOCK_MIN))
        return 0;
    uint32_t tag = shms_load_relaxed(&shms_run_at(s, offset)->tag);
    uint64_t bytes = shms_tag_bytes(tag);
    return (tag & SHMS_TAG_FREE) || !shms_run_inside(s, a, offset, bytes) ? 0 : bytes;
}

/* A sequence that is unique in the store's life: the arena's counter and number, scrambled by a bijection of the store.
 * Bytes of a value may later lie where the sequence is now, and could equal a small number, but not this one. */
static uint64_t next_sequence(struct shms_store *s, uint32_t a) {
    struct shms_arena *arena = &s->arenas[a];
    uint64_t sequence;
    do {
        uint64_t counter = shms_load_relaxed(&arena->counter) + 1;
        shms_store_relaxed(&arena->counter, counter);
        sequence = (counter * 16 + a) * s->sequence_multiplier ^ s->sequence_xor;
    } while (sequence == 0);
    return sequence;
}

/* There cannot be more zombies than pins. */
static uint64_t zombies_possible(struct shms_store *s) { return (uint64_t)s->client_count * s->pin_count; }
static void reap_zombies(struct shms_store *s, uint32_t a, uint64_t some);

/* REQUIRES: s->sparse. Commits a block at the run's beginning and the head of the remainder (A1). */
static bool commit_run(struct shms_store *s, uint64_t run, uint64_t size, uint64_t bytes) {
    return shms_load_relaxed(&shms_run_at(s, run)->slot) == 0 ||
           shms_commit_sparse(s, run, shms_min(bytes + SHMS_BLOCK_MIN, size));
}

/* Commits a block at the top, and some pages more if possible. Raises high. */
static bool commit_top(struct shms_store *s, uint32_t a, uint64_t top, uint64_t bytes) {
    _Atomic uint64_t *high = &s->arenas[a].high;
    uint64_t from = shms_max(shms_min(shms_load_relaxed(high), shms_arena_end(s, a)), top), end = top + bytes;
    if (end <= from)
        return true;
    if (s->sparse) {
        uint64_t ahead = shms_min(end + COMMIT_AHEAD, shms_arena_end(s, a));
        if (shms_commit_sparse(s, from, ahead - from))
            end = ahead;
        else if (!shms_commit_sparse(s, from, end - from))
            return false;
    }
    shms_store_relaxed(high, end);
    return true;
}

/* REQUIRES: the system has no page left. Finds a run with pages of its own, not necessarily the best fit. */
static SHMS_COLD uint64_t find_warm(struct shms_store *s, uint32_t a, uint64_t bytes, uint64_t *found) {
    struct shms_arena *arena = &s->arenas[a];
    uint32_t fl, sl, steps = 0;
    for (shms_run_classify(bytes, &fl, &sl); fl < SHMS_FL; fl++, sl = 0)
        for (; sl < SHMS_SL; sl++) {
            uint64_t run = shms_load_relaxed(&arena->heads[fl][sl]);
            for (; run && steps++ < WARM_STEPS; run = shms_load_relaxed(&shms_run_at(s, run)->hash)) {
                *found = shms_run_size(s, a, run);
                if (!*found) {
                    shms_arena_suspect(s, a);
                    return 0;
                }
                if ((*found == bytes ||
                     (*found >= bytes && (bytes < SHMS_LARGE_FROM || *found - bytes >= SHMS_BLOCK_MIN))) &&
                    commit_run(s, run, *found, bytes))
                    return run;
            }
        }
    return 0;
}

int shms_arena_alloc(struct shms_store *s, uint32_t a, uint64_t bytes, uint64_t *offset) {
    struct shms_arena *arena = &s->arenas[a];
    bytes = shms_arena_capacity(bytes);
    if (shms_load_relaxed(&arena->zombies))
        reap_zombies(s, a, ZOMBIES_LOOKED_AT);
    uint64_t size = 0, run = shms_run_find(s, a, bytes, FIT_STEPS, &size);
    if (!run && shms_arena_end(s, a) - shms_min(shms_load_relaxed(&arena->top), shms_arena_end(s, a)) < bytes) {
        /* This would be SHMS_FULL. Look everywhere first, whatever it costs. */
        reap_zombies(s, a, zombies_possible(s));
        run = shms_run_find(s, a, bytes, FIT_STEPS_AT_LAST, &size);
    }
    if (shms_load_relaxed(&arena->suspect))
        return SHMS_CORRUPT;
    uint64_t top = shms_load_relaxed(&arena->top), end = shms_arena_end(s, a);
    if (SHMS_UNLIKELY(s->sparse)) { /* nothing has changed yet, so a failed commit leaves the arena as it was */
        bool above = top <= end && top >= shms_arena_base(s, a) && end - top >= bytes;
        s->short_of = 0;
        if (run ? !commit_run(s, run, size, bytes) : above && !commit_top(s, a, top, bytes)) {
            int short_of = s->short_of;
            if (!run) {
                reap_zombies(s, a, zombies_possible(s));
                top = shms_load_relaxed(&arena->top);
            }
            run = find_warm(s, a, bytes, &size);
            if (shms_load_relaxed(&arena->suspect))
                return SHMS_CORRUPT;
            s->short_of = short_of;
            if (!run && !(top <= end && end - top >= bytes && commit_top(s, a, top, bytes)))
                return SHMS_FULL;
            s->short_of = 0;
        }
    }
    uint32_t prev_free = 0;
    if (run) {
        prev_free = shms_load_relaxed(&shms_run_at(s, run)->tag) & SHMS_TAG_PREV_FREE;
        if (!shms_run_unlink(s, a, run, size))
            return SHMS_CORRUPT;
        uint32_t cold = shms_load_relaxed(&shms_run_at(s, run)->slot);
        if (size - bytes >= SHMS_BLOCK_MIN)
            shms_run_insert(s, a, run + bytes, size - bytes, (uint32_t)shms_min(cold, (size - bytes) / SHMS_PAGE));
        else {
            bytes = size; /* the rest would be too small for a run: the block gets up to 32 bytes more */
            shms_run_set_prev_free(s, a, run + bytes, false);
        }
    } else {
        if (top < shms_arena_base(s, a) || top > end || top % SHMS_GRANULE) {
            shms_arena_suspect(s, a);
            return SHMS_CORRUPT;
        }
        if (end - top < bytes)
            return SHMS_FULL;
        run = top;
        commit_top(s, a, top, bytes); /* sparse memory was committed above; otherwise this only raises high */
        shms_store_relaxed(&arena->top, top + bytes);
    }
    uint64_t returned = shms_load_relaxed(&arena->returned);
    if (SHMS_UNLIKELY(returned && bytes >= 1 << 20)) {
        shms_store_relaxed(&arena->returned, returned - shms_min(returned, bytes));
        shms_store_relaxed(&arena->keep, shms_min(shms_max(shms_load_relaxed(&arena->keep), 2 * bytes), s->arena_size));
    }
    struct shms_block *b = shms_run_at(s, run);
    shms_store_release(&b->sequence, next_sequence(s, a)); /* [slot-between] pairs with the load in look() */
    shms_fence_release(); /* [block-life] pairs with the fence in shms_entry_unchanged and look */
    shms_store_relaxed(&b->tag, shms_tag_of(bytes) | prev_free);
    shms_store_relaxed(&arena->used, shms_load_relaxed(&arena->used) + bytes);
    shms_store_relaxed(&arena->blocks, shms_load_relaxed(&arena->blocks) + 1);
    *offset = run;
    return SHMS_OK;
}

/* Which pages of the free memory [from, to) should go back: those behind the first `keep` bytes, if its pages exceed
 * `keep` by a quarter. Returns the first offset to give back, or 0. cold: bytes that have no pages already. */
static uint64_t too_much(struct shms_store *s, uint32_t a, uint64_t from, uint64_t to, uint64_t cold) {
    uint64_t keep =
        shms_min(shms_max(shms_load_relaxed(&s->arenas[a].keep), KEEP_FIRST), 1ull << 60); /* no sum wraps */
    if (SHMS_LIKELY(to - from <= cold || to - from - cold <= keep + keep / 4) || !s->memory->may_give_back(s))
        return 0;
    return SHMS_ALIGN_UP(from + keep, SHMS_PAGE);
}

static void give_back(struct shms_store *s, uint32_t a, uint64_t from, uint64_t to) {
    struct shms_arena *arena = &s->arenas[a];
    to = to / SHMS_PAGE * SHMS_PAGE;
    shms_os_give_back(s->base + from, to - from);
    shms_store_relaxed(&arena->returned, shms_load_relaxed(&arena->returned) + (to - from));
}

/* REQUIRES: no slot refers to the block, and no reader has pinned it. */
static bool free_now(struct shms_store *s, uint32_t a, uint64_t offset, uint64_t bytes) {
    struct shms_arena *arena = &s->arenas[a];
    struct shms_block *b = shms_run_at(s, offset);
    shms_store_relaxed(&b->sequence, 0);
    shms_fence_release(); /* [block-life] before the links; pairs as in shms_arena_alloc */
    shms_store_relaxed(&arena->used, shms_load_relaxed(&arena->used) - bytes);
    shms_store_relaxed(&arena->blocks, shms_load_relaxed(&arena->blocks) - 1);
    uint64_t start = offset, end = offset + bytes, cold = 0;
    /* Join the run before the block, which PREV_FREE and its footer lead to (R2), and the run behind it. */
    if (shms_load_relaxed(&b->tag) & SHMS_TAG_PREV_FREE) {
        uint64_t before = shms_load_relaxed(shms_run_footer(s, offset));
        if (before > offset || shms_run_size(s, a, offset - before) != before ||
            !shms_run_unlink(s, a, offset - before, before))
            return shms_arena_suspect(s, a);
        start -= before;
        cold += shms_load_relaxed(&shms_run_at(s, start)->slot);
    }
    uint64_t after = shms_run_size(s, a, end);
    if (after) {
        cold += shms_load_relaxed(&shms_run_at(s, end)->slot);
        if (!shms_run_unlink(s, a, end, after))
            return false;
        end += after;
    }
    /* A run at the top is not kept: the top moves down over it. `high` is lowered before pages go back (A3). */
    if (end == shms_load_relaxed(&arena->top)) {
        uint64_t high = shms_min(shms_load_relaxed(&arena->high), shms_arena_end(s, a));
        uint64_t given = high > start ? too_much(s, a, start, SHMS_ALIGN_UP(high, SHMS_PAGE), 0) : 0;
        if (given || (s->sparse && cold && high > start))
            shms_store_relaxed(&arena->high, given && !(s->sparse && cold) ? given : start);
        shms_store_relaxed(&arena->top, start);
        if (given)
            give_back(s, a, given, SHMS_ALIGN_UP(high, SHMS_PAGE));
    } else {
        /* Head and end of the run keep their pages (A1). `cold` is raised before pages go back (A3). */
        shms_run_insert(s, a, start, end - start, (uint32_t)shms_min(cold, UINT32_MAX));
        uint64_t given = too_much(s, a, start + SHMS_BLOCK_HEADER, end - 8, cold * SHMS_PAGE);
        if (given) {
            shms_store_relaxed(&shms_run_at(s, start)->slot, (uint32_t)shms_min((end - given) / SHMS_PAGE, UINT32_MAX));
            give_back(s, a, given, end - 8);
        }
    }
    return !shms_load_relaxed(&arena->suspect);
}

void shms_arena_add_zombie(struct shms_store *s, uint32_t a, uint64_t offset) {
    struct shms_arena *arena = &s->arenas[a];
    shms_store_relaxed(&shms_run_at(s, offset)->sequence, 0); /* readers without a pin must discard their copy */
    shms_fence_release();                                     /* [block-life] before the link */
    shms_store_relaxed(&shms_run_at(s, offset)->hash, shms_load_relaxed(&arena->zombies));
    shms_store_relaxed(&arena->zombies, offset);
    shms_store_relaxed(&arena->zombie_count, shms_load_relaxed(&arena->zombie_count) + 1);
}

bool shms_arena_free(struct shms_store *s, uint32_t a, uint64_t offset) {
    /* A pinned block keeps its key and value. Only the words of its header that readers in place do not use change. */
    bool pins = shms_pin_any(s);
    uint64_t bytes = shms_arena_block_size(s, a, offset);
    if (!bytes)
        return shms_arena_suspect(s, a);
    if (SHMS_UNLIKELY(pins && shms_pin_covers(s, offset, bytes))) {
        shms_arena_add_zombie(s, a, offset);
        return true;
    }
    return free_now(s, a, offset, bytes);
}

/* Looks at some zombies, and frees those that no pin names any more. */
static void reap_zombies(struct shms_store *s, uint32_t a, uint64_t some) {
    struct shms_arena *arena = &s->arenas[a];
    uint64_t offset = shms_load_relaxed(&arena->zombies), kept = 0, last = 0;
    for (uint64_t i = 0; offset && i < some; i++) {
        uint64_t bytes = shms_arena_block_size(s, a, offset);
        if (!bytes) {
            shms_arena_suspect(s, a);
            return;
        }
        uint64_t next = shms_load_relaxed(&shms_run_at(s, offset)->hash);
        shms_store_relaxed(&arena->zombies, next);
        if (shms_pin_any(s) && shms_pin_covers(s, offset, bytes)) {
            shms_store_relaxed(&shms_run_at(s, offset)->hash, kept);
            kept = offset;
            last = last ? last : offset;
        } else {
            shms_store_relaxed(&arena->zombie_count, shms_load_relaxed(&arena->zombie_count) - 1);
            if (!free_now(s, a, offset, bytes))
                return;
        }
        offset = next;
    }
    if (!kept)
        return;
    /* Zombies that are still pinned go to the end of the list, so the next call looks at others. If every zombie was
     * looked at, they are the whole list. */
    if (!offset) {
        shms_store_relaxed(&arena->zombies, kept);
        return;
    }
    uint64_t tail = offset, next;
    for (uint64_t steps = zombies_possible(s); steps--; tail = next) {
        next = shms_arena_block_size(s, a, tail) ? shms_load_relaxed(&shms_run_at(s, tail)->hash) : tail;
        if (!next) {
            shms_store_relaxed(&shms_run_at(s, tail)->hash, kept);
            return;
        }
    }
    shms_arena_suspect(s, a);
}

void shms_arena_reset(struct shms_store *s, uint32_t a) {
    struct shms_arena *arena = &s->arenas[a];
    shms_store_relaxed(&arena->fl_map, 0);
    for (uint32_t fl = 0; fl < SHMS_FL; fl++) {
        shms_store_relaxed(&arena->sl_map[fl], 0);
        for (uint32_t sl = 0; sl < SHMS_SL; sl++)
            shms_store_relaxed(&arena->heads[fl][sl], 0);
    }
    shms_store_relaxed(&arena->used, 0);
    shms_store_relaxed(&arena->blocks, 0);
    shms_store_relaxed(&arena->zombies, 0);
    shms_store_relaxed(&arena->zombie_count, 0);
    shms_store_relaxed(&arena->suspect, 0);
}

void shms_arena_add_free(struct shms_store *s, uint32_t a, uint64_t offset, uint64_t bytes) {
    shms_run_insert(s, a, offset, bytes, s->sparse ? (uint32_t)shms_min(bytes / SHMS_PAGE, UINT32_MAX) : 0);
}

void shms_arena_add_used(struct shms_store *s, uint32_t a, uint64_t offset, uint64_t bytes, bool after_free) {
    struct shms_arena *arena = &s->arenas[a];
    shms_store_relaxed(&shms_run_at(s, offset)->tag, shms_tag_of(bytes) | (after_free ? SHMS_TAG_PREV_FREE : 0));
    shms_store_relaxed(&arena->used, shms_load_relaxed(&arena->used) + bytes);
    shms_store_relaxed(&arena->blocks, shms_load_relaxed(&arena->blocks) + 1);
}

void shms_arena_set_top(struct shms_store *s, uint32_t a, uint64_t top) {
    if (s->sparse)
        shms_store_relaxed(&s->arenas[a].high, top);
    shms_store_relaxed(&s->arenas[a].top, top);
}

uint64_t shms_arena_largest_free(struct shms_store *s, uint32_t a) {
    struct shms_arena *arena = &s->arenas[a];
    uint64_t end = shms_arena_end(s, a), top = shms_min(shms_load_relaxed(&arena->top), end);
    uint64_t largest = end - shms_max(top, shms_arena_base(s, a));
    uint64_t fls = shms_load_relaxed(&arena->fl_map) & ((1ull << SHMS_FL) - 1);
    if (fls) {
        uint32_t fl = 63 - (uint32_t)__builtin_clzll(fls), sls = shms_load_relaxed(&arena->sl_map[fl]);
        uint64_t run = sls ? shms_load_relaxed(&arena->heads[fl][31 - __builtin_clz(sls)]) : 0;
        for (int steps = 0; run && steps < 64; steps++) {
            uint64_t size = shms_run_size(s, a, run);
            if (!size)
                break;
            largest = shms_max(largest, size);
            run = shms_load_relaxed(&shms_run_at(s, run)->hash);
        }
    }
    return largest;
}
