/* search.c: choice, levels and limits are in search.h. */
#include "engine/search.h"

#include "engine/clients.h"
#include "segment/attachments.h"

#define LOOKS_AT_ONCE 32768u
#define PER_BLOCK 64u /* what moving an entry costs beside its bytes, in bytes */

/* ---- the cheapest window */

/* What begins at this page, and what it costs to empty it: UINT64_MAX, it cannot be emptied. */
struct unit {
    uint64_t pages, cost;
};

static bool is_stuck(const struct shms_level *l, uint64_t page) {
    for (uint32_t i = 0; i < l->stuck_count; i++)
        if (l->stuck[i] == page)
            return true;
    return false;
}

/* In a window of an outer level. */
static bool is_elsewhere(const struct shms_search *f, uint64_t page) {
    for (uint32_t i = 0; i + 1 < f->count; i++)
        if (page >= f->levels[i].window.first && page < f->levels[i].window.end)
            return true;
    return false;
}

/* Can the entries of this span be put elsewhere? Either into other spans of the class, or into a new one. */
static bool fits_elsewhere(const struct shms_search *f, const struct shms_level *l, const struct shms_span *span,
                           uint32_t free) {
    return f->spare[span->kind] >= span->blocks || span->blocks == free ||
           l->longest >= (span->bytes + SHMS_PAGE - 1) / SHMS_PAGE;
}

static struct unit unit_at(const struct shms_store *s, const struct shms_search *f, const struct shms_level *l,
                           uint64_t page) {
    struct shms_span span;
    if (page >= shms_pages_high(s))
        return (struct unit){f->end - page, 0};
    uint64_t word = shms_load_acquire(&s->pages[page].word);
    if (f->count > 1 && is_elsewhere(f, page))
        return (struct unit){1, UINT64_MAX};
    if (word == 0)
        return (struct unit){1, 0};
    if (!SHMS_PAGE_IS_OPEN(word) || !shms_span_at(s, page, &span))
        return (struct unit){1, UINT64_MAX}; /* another process opens or closes it */
    bool longer = span.kind == SHMS_CLASS_LARGE && span.pages > l->longest;
    if (is_stuck(l, page) || (longer && f->count == SHMS_LEVELS))
        return (struct unit){span.pages, UINT64_MAX};
    if (span.kind == SHMS_CLASS_LARGE) /* for want of a run for it another window must be emptied */
        return (struct unit){span.pages, (span.bytes + PER_BLOCK) * (longer ? 3 : 1)};
    uint32_t free = shms_search_free(s, &span);
    return (struct unit){span.pages, fits_elsewhere(f, l, &span, free) ? (span.blocks - free) * (span.bytes + PER_BLOCK)
                                                                       : UINT64_MAX};
}

static void look_begin(struct shms_store *s, const struct shms_search *f, struct shms_level *l) {
    l->low = l->high = f->first;
    l->cost = 0;
    l->best_cost = UINT64_MAX;
    l->longest = shms_pages_longest_free(s);
    l->looking = true;
}

/* True: all pages have been looked at. */
static bool look_some(const struct shms_store *s, const struct shms_search *f, struct shms_level *l) {
    for (uint32_t looks = 0; looks < LOOKS_AT_ONCE; looks++) {
        bool full = l->high - l->low >= l->wanted;
        if (full && l->cost < l->best_cost) {
            l->best = l->low;
            l->best_end = shms_min(l->high, shms_pages_high(s));
            l->best_cost = l->cost;
        }
        uint64_t at = full ? l->low : l->high;
        if (at >= f->end || l->best_cost == 0)
            return true;
        struct unit u = unit_at(s, f, l, at);
        if (full) { /* what it cost when it came in may have changed: then the sum is about right */
            l->low += u.pages;
            l->cost -= shms_min(u.cost, l->cost);
        } else {
            l->high += u.pages;
            l->cost += u.cost;
        }
        if (u.cost == UINT64_MAX || l->low >= l->high) {
            l->low = l->high = shms_max(l->low, l->high);
            l->cost = 0;
        }
    }
    return false;
}

bool shms_search_count(struct shms_store *s, struct shms_search *f) {
    uint64_t high = shms_min(shms_pages_high(s), f->end);
    if (f->page == f->first) {
        memset(f->spare, 0, sizeof f->spare);
        f->free_pages = f->end - high;
        f->free_blocks = 0;
    }
    for (uint32_t looks = 0; looks < LOOKS_AT_ONCE && f->page < high; looks++) {
        struct shms_span span;
        bool open = shms_span_at(s, f->page, &span);
        if (open && span.kind != SHMS_CLASS_LARGE) {
            uint32_t free = shms_search_free(s, &span);
            f->spare[span.kind] += free;
            f->free_blocks += free * span.bytes;
        }
        f->free_pages += !open && shms_load_relaxed(&s->pages[f->page].word) == 0;
        f->page += open ? span.pages : 1;
    }
    return f->page >= high;
}

/* ---- levels */

static bool push(struct shms_search *f, uint64_t wanted) {
    if (f->count == SHMS_LEVELS)
        return false;
    f->levels[f->count++] = (struct shms_level){.wanted = wanted};
    return true;
}

static void leave_window(struct shms_store *s, struct shms_search *f, struct shms_level *l) {
    if (l->emptying)
        shms_clear_end(s, &s->me->records[f->record], &l->window);
    l->emptying = false;
}

/* A window could not be emptied. SHMS_AGAIN: there is another one. */
static int give_up_window(struct shms_store *s, struct shms_search *f, struct shms_level *l) {
    leave_window(s, f, l);
    if (l->stuck_count == SHMS_STUCK)
        return SHMS_FULL;
    l->stuck[l->stuck_count++] = l->window.at;
    return SHMS_AGAIN;
}

static int level_step(struct shms_store *s, struct shms_search *f, struct shms_level *l) {
    if (l->emptying) {
        int rc = shms_clear_step(s, &s->me->records[f->record], &l->window);
        if (rc == SHMS_AGAIN || rc == SHMS_OK)
            return rc;
        if (l->window.lacks && l->window.lacks < l->wanted && push(f, l->window.lacks))
            return SHMS_AGAIN;
        return give_up_window(s, f, l);
    }
    if (f->page < shms_min(shms_pages_high(s), f->end) && !l->looking) {
        shms_search_count(s, f);
        return SHMS_AGAIN;
    }
    if (!l->looking)
        look_begin(s, f, l);
    if (!look_some(s, f, l))
        return SHMS_AGAIN;
    l->looking = false;
    if (l->best_cost == UINT64_MAX)
        return SHMS_FULL;
    if (l->best_cost == 0 && l->best >= l->best_end) /* pages that were never used */
        return SHMS_OK;
    shms_clear_begin(s, l->best, l->best_end, true, &l->window);
    l->emptying = true;
    return SHMS_AGAIN;
}

/* After a fork, or when the slot was lost, the record is another's. */
static bool is_mine(const struct shms_store *s, const struct shms_search *f) {
    return f->epoch == shms_fork_epoch && s->me && f->owner == s->owner && shms_load_acquire(&s->me->owner) == s->owner;
}

int shms_search_step(struct shms_store *s, struct shms_search *f) {
    if (!is_mine(s, f)) /* it was taken over, with what it states */
        f->count = 0;
    if (!f->count)
        return SHMS_FULL;
    int rc = level_step(s, f, &f->levels[f->count - 1]);
    while (rc != SHMS_AGAIN && f->count > 1) {
        leave_window(s, f, &f->levels[--f->count]);
        struct shms_level *outer = &f->levels[f->count - 1];
        outer->window.tries = 0; /* the block that found no run finds one now, unless others are faster */
        rc = rc == SHMS_FULL ? give_up_window(s, f, outer) : SHMS_AGAIN;
    }
    if (rc != SHMS_AGAIN)
        leave_window(s, f, &f->levels[0]);
    return rc;
}

bool shms_search_begin(struct shms_store *s, uint64_t wanted, struct shms_search *f) {
    f->count = 0;
    shms_search_within(f, 0, s->heap_pages);
    f->epoch = shms_fork_epoch;
    f->owner = s->owner;
    f->record = shms_record_take(s);
    return f->record >= 0 && push(f, wanted);
}

void shms_search_run(struct shms_search *f, uint64_t wanted) { f->levels[0] = (struct shms_level){.wanted = wanted}; }

void shms_search_span(struct shms_store *s, struct shms_search *f, uint64_t first, uint64_t end) {
    shms_search_run(f, end - first);
    struct shms_level *l = &f->levels[0];
    l->emptying = true;
    l->stuck_count = SHMS_STUCK; /* there is no other window */
    shms_clear_begin(s, first, end, false, &l->window);
}

void shms_search_end(struct shms_store *s, struct shms_search *f) {
    if (f->count && is_mine(s, f)) {
        while (f->count)
            leave_window(s, f, &f->levels[--f->count]);
        shms_record_put(s, f->record);
    }
    f->count = 0;
}
