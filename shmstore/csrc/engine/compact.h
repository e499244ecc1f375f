/* compact.h: making longer runs of free pages, while others read and write
 *
 * Free memory is in pieces: pages between spans, and blocks inside of spans that are hardly used. A large value and a new
 * span need pages in a row. All of this is done by emptying runs of pages (search.h, clear.h, move.h).
 *
 * A PUT      that finds no room wants one run. It first tries to get more, so that what is left over keeps free memory in few
 *            pieces, and the next puts find room at once. It makes SHMS_HUNT_STEPS steps at most: more for a larger value, which
 *            takes longer to write, too. For a small value it looks at one part of a large heap after the other, and the next put
 *            begins where the last one found something, or gave up.
 * COMPACT()  wants as much as it can get:
 *   1 tidy the heap: hints are right, empty spans are closed
 *   2 pack: of each class empty the spans that the free blocks of its other spans can hold. The emptiest come first
 *   3 ask for one run of all free pages; if none can be made, for half as much more than the longest run has, and so on
 * Each step takes less than a millisecond and ends without a lock. What others do in between makes a hint wrong, or an
 * attempt fail, and nothing else. A compaction that is given up in the middle, or whose process dies, leaves a store as sound
 * as before, with some entries in other blocks. */
#ifndef SHMS_COMPACT_H
#define SHMS_COMPACT_H

#include "engine/search.h"

/* For a put that finds no block of so many bytes. Zero at first. */
#define SHMS_HUNT_STEPS(pages) (20 + (pages))
struct shms_hunt {
    uint64_t steps, looked; /* pages */
    uint32_t asked;         /* the length that is looked for */
    bool counting;
    struct shms_search search;
};
/* SHMS_AGAIN, SHMS_OK: as shms_search_step. SHMS_FULL: there is no run, or it took too many steps. */
int shms_hunt_step(struct shms_store *s, struct shms_hunt *h, uint64_t bytes);
/* To be called whatever came of it. */
void shms_hunt_end(struct shms_store *s, struct shms_hunt *h);

struct shms_compact {
    uint64_t moved; /* entries; first, as in compact.cdef.h */
    uint64_t part, page;
    uint64_t moves_before; /* this client's counter of moves, when it began */
    uint64_t share;        /* of a span's blocks that may be in use for it to be packed, in quarters */
    uint32_t kind, blocks; /* of the span that is being packed */
    uint64_t wanted;
    bool busy; /* the search has something to do */
    struct shms_search search;
};
/* The next step: SHMS_AGAIN, SHMS_OK (all is done), or SHMS_BUSY (no operation record to spare: call again). */
int shms_compact_step(struct shms_store *s, struct shms_compact *c);
void shms_compact_end(struct shms_store *s, struct shms_compact *c);

#endif
