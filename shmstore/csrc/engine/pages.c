/* pages.c: the contract is in pages.h. */
#include "engine/pages.h"

#include "segment/memory.h"

#define HIGH_STEP 4096u        /* pages, by which pages_high is raised: 16 MiB of heap */
#define EXACT_FROM 512u        /* pages: two megabytes */
#define RAISES_KEEP_FROM 256u  /* pages: a megabyte */
#define GIVEN_AT_ONCE 1024u    /* pages */
#define CURSOR_FROM (1u << 18) /* pages: in a smaller heap every search begins at its end */
#define RUNS_COMPARED 16u
#define LONG_RUN (1u << 16) /* pages */

/* The first run of so many free pages in [from, to), by the bits; UINT64_MAX if there is none among the first *looks runs. */
static uint64_t run_above(struct shms_store *s, uint64_t from, uint64_t to, uint64_t pages, uint32_t *looks) {
    while ((from = shms_bits_next(s->taken, from, to, false)) + pages <= to) {
        uint64_t end = shms_bits_next(s->taken, from, from + pages, true);
        if (end == from + pages)
            return from;
        from = end;
        if (--*looks == 0) {
            s->run_cursor = from;
            break;
        }
    }
    return UINT64_MAX;
}
/* From above: the shortest of the first few that are long enough, so that few short ones are left over. A very long one
 * ends the search. */
static uint64_t run_below(const struct shms_store *s, uint64_t high, uint64_t pages, uint32_t *looks) {
    uint64_t best = UINT64_MAX, least = UINT64_MAX, most = pages + LONG_RUN, to = high, begin;
    for (uint32_t fits = 0; fits < RUNS_COMPARED && (to = shms_bits_last(s->taken, 0, to, false)) >= pages;
         to = begin) {
        begin = shms_bits_last(s->taken, to > most ? to - most : 0, to, true);
        if (to - begin < pages) {
            if (--*looks == 0)
                break;
            continue;
        }
        fits++;
        if (to - begin < least) {
            least = to - begin;
            best = to - pages;
        }
        if (to - begin == most)
            break;
    }
    return best;
}

uint64_t shms_pages_find(struct shms_store *s, uint64_t pages, uint32_t *looks) {
    uint64_t high = shms_pages_high(s), at, found = s->run_found;
    s->run_found = 0;
    if (high < pages)
        return UINT64_MAX;
    if (found && found - 1 + pages <= high &&
        shms_bits_next(s->taken, found - 1, found - 1 + pages, true) == found - 1 + pages)
        return found - 1;
    if (pages > SHMS_SMALL_PAGES)
        return run_below(s, high, pages, looks);
    uint64_t cursor = s->run_cursor < high ? s->run_cursor : 0;
    at = run_above(s, cursor, high, pages, looks);
    if (at == UINT64_MAX && cursor && *looks)
        at = run_above(s, 0, shms_min(cursor + pages, high), pages, looks);
    if (*looks) /* else the next search goes on there */
        s->run_cursor = at == UINT64_MAX || high < CURSOR_FROM ? 0 : at;
    return at;
}

uint64_t shms_pages_find_with_memory(const struct shms_store *s, uint64_t pages) {
    uint64_t high = shms_pages_high(s), at = 0, begin;
    while ((at = shms_bits_next(s->taken, at, high, false)) + pages <= high) {
        begin =
            shms_max(shms_bits_last(s->taken, at, at + pages, true), shms_bits_last(s->present, at, at + pages, false));
        if (begin == at)
            return at;
        at = shms_bits_next(s->present, begin, high, true);
    }
    return UINT64_MAX;
}

bool shms_pages_raise(struct shms_store *s, uint64_t pages) {
    uint64_t high = shms_load_acquire(&s->header->pages_high);
    if (high >= s->heap_pages)
        return false;
    uint64_t new = SHMS_ALIGN_UP(high + pages, HIGH_STEP);
    if (pages >=
        EXACT_FROM) /* just enough with the free pages below: a step would leave as many again free in each step */
        new = shms_max(shms_bits_last(s->taken, 0, high, true) + pages, high + 1);
    new = shms_min(new, s->heap_pages);
    if (s->sparse) { /* the bits and infos of its pages, before they are known */
        uint64_t from = high / 64 * 8, bytes = (new + 63) / 64 * 8 - from;
        if (!shms_commit_sparse(s, (uint64_t)((uint8_t *)s->taken - s->base) + from, bytes) ||
            !shms_commit_sparse(s, (uint64_t)((uint8_t *)s->present - s->base) + from, bytes) ||
            !shms_commit_sparse(s, (uint64_t)((uint8_t *)&s->pages[high] - s->base), (new - high) * sizeof *s->pages))
            return false;
    }
    while (high < new && !shms_cas_acq_rel(&s->header->pages_high, &high, new))
        ;
    return true;
}

/* ---- memory of pages */

bool shms_pages_commit_from(struct shms_store *s, uint64_t absent, uint64_t from, uint64_t to) {
    uint64_t missing = 0;
    for (uint64_t at = absent; at < to; at = shms_bits_next(s->present, at + 1, to, false))
        missing++;
    if (s->sparse) {
        s->short_of = 0;
        if (!shms_commit_sparse(s, s->heap_offset + absent * SHMS_PAGE, (to - absent) * SHMS_PAGE))
            return false;
    }
    shms_bits_set(s->present, absent, to, true);
    uint64_t returned = shms_load_relaxed(&s->header->returned), keep = shms_load_relaxed(&s->header->keep);
    if (returned && to - from >= RAISES_KEEP_FROM) {
        shms_store_relaxed(&s->header->returned, returned - shms_min(returned, missing));
        shms_store_relaxed(&s->header->keep, shms_max(keep, shms_min(2 * (to - from), s->heap_pages)));
    }
    return true;
}

void shms_pages_give_back(struct shms_store *s, uint64_t from, uint64_t to) {
    uint64_t present = shms_pages_count_present(s, from, to);
    shms_bits_set(s->present, from, to, false); /* before the memory goes: the bit is never set without it */
    shms_os_give_back(s->base + s->heap_offset + from * SHMS_PAGE, (to - from) * SHMS_PAGE);
    shms_store_relaxed(&s->header->returned, shms_load_relaxed(&s->header->returned) + present);
    shms_pages_add_idle(s, 0, present);
}

bool shms_pages_with_memory(const struct shms_store *s, uint64_t *from, uint64_t *to) {
    uint64_t high = shms_pages_high(s), at = high, end = high;
    while (at > 0) {
        end = shms_bits_last(s->taken, 0, at, false);
        at = shms_bits_last(s->taken, end > GIVEN_AT_ONCE ? end - GIVEN_AT_ONCE : 0, end, true);
        if (end == 0 || shms_bits_next(s->present, at, end, true) < end)
            break;
    }
    if (end == 0 || at == end || shms_bits_next(s->present, at, end, true) == end)
        return false;
    *from = at;
    *to = end;
    return true;
}

/* ---- bits of free pages */

void shms_pages_find_free(struct shms_store *s, uint64_t from, uint64_t to) {
    for (uint64_t end; from < to; from = end) {
        bool hidden = shms_load_relaxed(&s->pages[from].word) == 0 && shms_bit(s->taken, from);
        for (end = from + 1; hidden && end < to && shms_load_relaxed(&s->pages[end].word) == 0;)
            end++;
        if (hidden)
            shms_pages_show(s, from, end);
    }
}

uint64_t shms_pages_longest_free(struct shms_store *s) {
    uint64_t high = shms_pages_high(s), at = 0, end, longest = 0;
    while ((at = shms_bits_next(s->taken, at, high, false)) < high) {
        end = shms_bits_next(s->taken, at, high, true);
        longest = shms_max(longest, end == high ? s->heap_pages - at : end - at);
        at = end;
    }
    return high && !shms_bit(s->taken, high - 1) ? longest : shms_max(longest, s->heap_pages - high);
}
