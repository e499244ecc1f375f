/* clear.h: emptying a run of pages, while others read, write and allocate
 *
 * EXAMPLE  A window of five pages. Its free memory is hidden, then the rest is moved out:
 *   page     4        5        6         7        8
 *   words    free     open 7   taken 7   free     open 8     span 7 has two entries, span 8 one
 *   bits     taken    taken    taken     taken    taken      and the maps of both spans are empty: no hint leads here
 *   words    free     open 7   taken 7   free     open 8     an entry moves out: no hint says that its block is free
 *            free     free     free      free     open 8     all blocks of span 7 are free: it is closed
 *            free     free     free      free     free
 *   bits     free     free     free      free     free       there is a run of five free pages
 * WRITER  1 set the bits `taken` of all pages
 *         2 for each span, in ascending order: clear its map; move out the entry of each block (move.h); close it (span.h),
 *           without a change of bits
 *         3 tidy the window: bits and maps are right again
 * INVARIANT  A window owns nothing. It changes hints, and all else is what a move and the end of a span do. So nobody waits
 *   for a process that is stopped here, and whoever needs the memory finds it: a put that finds no room tidies the heap
 *   (shms_heap_tidy), sees what is free, and takes it. Then this window is not emptied.
 * CRASH  Hints are wrong, until the next tidying. Before that a hunt finds free pages by their words (search.h).
 * LIMITS  A step copies BYTES_AT_ONCE bytes at most, and other work counts as bytes, so that it takes less than a millisecond.
 *   What cannot be moved ends the attempt: an entry that is pinned or finds no block elsewhere, a block that is not published
 *   yet, a home that stays locked, a process that goes on allocating here from the blocks that it keeps to itself. */
#ifndef SHMS_CLEAR_H
#define SHMS_CLEAR_H

#include "engine/move.h"

struct shms_clearing {
    uint64_t first, end; /* pages */
    uint64_t at;         /* page of the span that is being emptied */
    uint32_t block;      /* and its next block */
    uint32_t tries;      /* looks at this block */
    uint64_t
        lacks; /* after SHMS_FULL: pages in a row that the block there needs elsewhere; 0: it is for another reason */
    bool opens, moving;
    struct shms_move move;
};

/* Step 1. opens: entries that move out may open spans elsewhere. */
void shms_clear_begin(struct shms_store *s, uint64_t first, uint64_t end, bool opens, struct shms_clearing *w);
/* The next part of step 2. SHMS_AGAIN: there are parts left. SHMS_OK: all pages are free. SHMS_FULL: what is at page w->at
 * cannot be moved. record: holds nothing between two windows. REQUIRES, like all of these: the GIL. */
int shms_clear_step(struct shms_store *s, struct shms_record *record, struct shms_clearing *w);
/* Step 3, whatever has been done. */
void shms_clear_end(struct shms_store *s, struct shms_record *record, struct shms_clearing *w);

#endif
