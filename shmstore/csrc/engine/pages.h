/* pages.h: free pages of the heap: where a run of them is looked for, and which of them have memory
 *
 * LAYOUT  The bits `taken` and `present`, one of each for every page, are hints: a bit `taken` that is wrong costs a failed exchange,
 *   or is found by shms_heap_tidy. `present` is never set for a page without memory. span.h says who owns a page.
 *
 * WHERE A RUN IS LOOKED FOR  Spans of small blocks from below, upwards; large blocks from above, downwards, so that
 * short-lived small spans do not stand between large ones. Only pages below `pages_high` are looked at. It is raised in
 * steps, after the bits and infos of the step have been committed. For a block of two megabytes or more it is raised just as far
 * as is needed, with the free pages below it. So such blocks stand side by side, and no step ends with pages that are too few for
 * the next one.
 *
 * WHERE THE SYSTEM HAS NO MEMORY  A run that needs some cannot be had, but another one may: one whose pages all kept
 * theirs. If there is none, free pages elsewhere give their memory back, and the first run is tried again.
 *
 * GIVING MEMORY BACK  A page that is freed keeps its memory, as long as all free pages have no more than `keep` together,
 * and a quarter. Above that, memory goes back when a span is closed, until they have `keep`. A large span loses its lower
 * pages: the next large block comes from above. `keep` grows to twice the size of each block of a megabyte or more that
 * needs memory again. So a store that overwrites large values again and again soon stops losing and fetching pages, and
 * a store that shrank once has paid once. */
#ifndef SHMS_PAGES_H
#define SHMS_PAGES_H

#include "base/bits.h"
#include "segment/memory.h"
#include "segment/segment.h"

#define SHMS_KEEP_FIRST 4096u /* pages */
#define SHMS_SMALL_PAGES 8u   /* runs up to here are looked for from below */

/* Pages of the heap that may be in use: all others are free and were never touched. */
static inline uint64_t shms_pages_high(const struct shms_store *s) {
    return shms_min(shms_load_acquire(&s->header->pages_high), s->heap_pages);
}

/* ---- which run */

/* A run of so many free pages, by the bits; UINT64_MAX: none was found. *looks: how many runs that are too short it may pass over;
 * 0 afterwards: there may be one that was not found. */
uint64_t shms_pages_find(struct shms_store *s, uint64_t pages, uint32_t *looks);
/* The first run of so many free pages that all have memory; UINT64_MAX: there is none. */
uint64_t shms_pages_find_with_memory(const struct shms_store *s, uint64_t pages);
/* Raises pages_high by at least so many. False: there is no more, or no memory (s->short_of). */
bool shms_pages_raise(struct shms_store *s, uint64_t pages);
/* Clears the bits `taken` of free pages: from here on a search finds them, also one that knows of none (pages_missed). */
static inline void shms_pages_show(struct shms_store *s, uint64_t from, uint64_t to) {
    shms_bits_set(s->taken, from, to, false);
    shms_fetch_add_acq_rel(&s->header->closed, 1);
}
/* Sets them. Of free pages they are wrong from now on. */
static inline void shms_pages_hide(struct shms_store *s, uint64_t from, uint64_t to) {
    shms_bits_set(s->taken, from, to, true);
}
/* Finds bits `taken` of free pages, in these pages, and clears them. */
void shms_pages_find_free(struct shms_store *s, uint64_t from, uint64_t to);
/* About the longest run of free pages. */
uint64_t shms_pages_longest_free(struct shms_store *s);

/* ---- which memory */

bool shms_pages_commit_from(struct shms_store *s, uint64_t absent, uint64_t from, uint64_t to);
/* Commits the pages that may have none. False: there is none (s->short_of). REQUIRES: they are taken by this process. */
static inline bool shms_pages_commit(struct shms_store *s, uint64_t from, uint64_t to) {
    uint64_t absent = shms_bits_next(s->present, from, to, false);
    return SHMS_LIKELY(absent == to) || shms_pages_commit_from(s, absent, from, to);
}
/* REQUIRES: the same. */
void shms_pages_give_back(struct shms_store *s, uint64_t from, uint64_t to);
/* Adds to how many free pages have memory: the new number. It is a hint, which may be wrong after a death; it never counts below 0. */
static inline uint64_t shms_pages_add_idle(struct shms_store *s, uint64_t more, uint64_t less) {
    uint64_t idle = shms_load_relaxed(&s->header->idle);
    idle = idle + more - shms_min(less, idle + more);
    shms_store_relaxed(&s->header->idle, idle);
    return idle;
}
/* How many of so many free pages with memory should give it back. */
static inline uint64_t shms_pages_too_many(struct shms_store *s, uint64_t idle) {
    uint64_t keep = shms_max(shms_min(shms_load_relaxed(&s->header->keep), s->heap_pages), SHMS_KEEP_FIRST);
    return idle > keep + keep / 4 && s->memory->may_give_back(s) ? idle - keep : 0;
}
static inline uint64_t shms_pages_count_present(const struct shms_store *s, uint64_t from, uint64_t to) {
    uint64_t count = 0;
    for (uint64_t at = from, end; (at = shms_bits_next(s->present, at, to, true)) < to; at = end) {
        end = shms_bits_next(s->present, at, to, false);
        count += end - at;
    }
    return count;
}
/* The highest run of free pages of which some have memory; not all of a long one. False: there is none. */
bool shms_pages_with_memory(const struct shms_store *s, uint64_t *from, uint64_t *to);

#endif
