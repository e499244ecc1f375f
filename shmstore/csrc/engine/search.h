/* search.h: finding a run of pages that costs little to empty, and emptying it
 *
 * CHOICE  One pass over the page table with two ends that move. Of all runs of the wanted length that begin and end at a
 *   span's border it takes the one with the fewest bytes in use, by the maps of free blocks (hints). Borders are a span that
 *   could not be emptied, a block that is longer than any free run, and a span of small blocks for which neither the other
 *   spans of its class have room nor a new one. So a store that is really full is found to be so by looking.
 * LEVELS  A block that finds no run of its own length elsewhere is not given up at once: a second search, inside of the first,
 *   looks for that shorter run, outside of the window of the first one.
 *   EXAMPLE  Ten pages are wanted, A and B are blocks of six and two pages, each dot is a free page:
 *     ....AAAAAA.BB.....   the cheapest window of ten pages begins at B or at A. A finds no run of six pages elsewhere
 *     ....AAAAAA.....BB.   the inner search empties a window of six pages outside: B moves
 *     ..........AAAAAABB   then A has moved, too
 * INVARIANTS and CRASH are those of clear.h and move.h. One operation record serves all moves.
 * LIMITS  A step takes less than a millisecond. Each level gives up after SHMS_STUCK spans that could not be emptied. The search looks at the whole heap,
 *   or at a part of it: then the other spans of a class count only so far as they lie in that part. */
#ifndef SHMS_SEARCH_H
#define SHMS_SEARCH_H

#include "engine/span.h"
#include "engine/clear.h"

#define SHMS_STUCK 32u
#define SHMS_LEVELS 3u

struct shms_level {
    uint64_t wanted;    /* pages */
    uint64_t low, high; /* the run that is being looked at */
    uint64_t cost, best, best_end, best_cost;
    uint64_t longest; /* run of free pages, when the look began */
    uint64_t stuck[SHMS_STUCK];
    uint32_t stuck_count;
    bool looking, emptying;
    struct shms_clearing window;
};

struct shms_search {
    uint64_t owner; /* the client that this process was when it took the record */
    uint32_t epoch;
    int record;                   /* of the moves */
    uint64_t first, end;          /* pages that are looked at */
    uint64_t page;                /* up to here has been counted: */
    uint64_t free_pages;          /* and bytes in */
    uint64_t free_blocks;         /* and */
    uint64_t spare[SHMS_CLASSES]; /* free blocks of each class */
    uint32_t count;
    struct shms_level levels[SHMS_LEVELS];
};

/* REQUIRES, like all of these: the GIL. False: this client has no operation record to spare. */
bool shms_search_begin(struct shms_store *s, uint64_t wanted, struct shms_search *f);
/* Looks at these pages only. REQUIRES: no step was made. */
static inline void shms_search_within(struct shms_search *f, uint64_t first, uint64_t end) {
    f->first = f->page = first;
    f->end = end;
}
/* Begins again with the same record: for another run, or to empty these pages alone, without opening a span elsewhere.
 * REQUIRES: shms_search_begin, and no step that returned SHMS_AGAIN was the last. */
void shms_search_run(struct shms_search *f, uint64_t wanted);
void shms_search_span(struct shms_store *s, struct shms_search *f, uint64_t first, uint64_t end);
/* Counts free pages, and free blocks by the hints. True: all pages have been looked at. f->page := f->first begins anew. */
bool shms_search_count(struct shms_store *s, struct shms_search *f);
/* The next step. SHMS_AGAIN: there are steps left. SHMS_OK: there is a run of so many free pages, unless another process has
 * taken it already. SHMS_FULL: none could be made. */
int shms_search_step(struct shms_store *s, struct shms_search *f);
/* Lets go of what the search holds. May be called at any time, and again. */
void shms_search_end(struct shms_store *s, struct shms_search *f);

/* How many blocks of the span are free, by the hints. */
static inline uint32_t shms_search_free(const struct shms_store *s, const struct shms_span *span) {
    const struct shms_page *p = &s->pages[span->first];
    uint32_t free = (uint32_t)(__builtin_popcountll(shms_load_relaxed(&p->map[0])) +
                               __builtin_popcountll(shms_load_relaxed(&p->map[1])));
    return free < span->blocks ? free : span->blocks;
}

#endif
