/* span.h: runs of pages: a span of blocks of one class, or of one large block. Opened and closed without a lock
 *
 * LAYOUT  layout.h, "page of the heap": the word of each page says who owns it. pages.h has their bits.
 * EXAMPLE  A span of three pages, number 7. Opened, closed by number 9, free:
 *            page 4       page 5       page 6
 *            0            0            0            free
 *            taken 7      taken 7      0            being opened: exchanged in ascending order
 *            taken 7      taken 7      taken 7      infos, and the word of each block := free word of 7
 *            open 7       taken 7      taken 7      open: blocks can be allocated
 *            open 7       taken 7      taken 7      being closed: the word of each block, free word -> life of 9
 *            taken 9      taken 7      taken 7      no block can be allocated any more; pages may go back to the system
 *            taken 9      taken 7      0            freed in descending order
 *            0            0            0
 * WRITER  open:   1 record.page := the run, and a new number
 *                 2 each page's word: 0 -> taken by it, ascending. A conflict: undone, descending
 *                 3 commit the memory; infos; the word of each block := the free word of the number
 *                 4 first page's word: taken -> open (release) [open-span];  record.page := 0
 *         close:  1 record.page := the run, a new number, and the span's
 *                 2 the word of each block: free -> life of the new number. A block in use: undone
 *                 3 first page's word: open -> taken by the new number
 *                 4 give the memory back, if there is much of it; words of the other pages -> 0, descending; the first's
 *                 5 record.page := 0
 * INVARIANTS
 *   S1  A block is allocated by an exchange of the span's free word for a life. Closing allocates every block of the
 *       span. So a span with a block in use is not closed, and a process that looked at the span before it was closed
 *       cannot allocate in it: its free word never comes again.
 *   S2  The word of the first page changes first when a span is closed, and last when it is freed. So as long as any page
 *       is not free, the first page's word says whose they are.
 * ORDERING [open-span]  The release exchange of step 4 pairs with the acquire load in shms_span_at: a process that finds
 *   the span open finds infos and free words.
 * CRASH  record.page of a dead client is (run, number, span's number):
 *   first page open by the span's number    opened: nothing to do. Closing: blocks of the number get the free word again
 *   first page taken by the number          the other pages' words: span's number -> 0, descending; then the first's
 *   anything else                           it is done, or another process has done it
 *   Opening and closing states the same numbers where they mean the same. Every step is an exchange, so any number of
 *   finders may do it at once, and a late one changes nothing.
 * SOURCE  The protocol is checked in docs/model/spans.pml. */
#ifndef SHMS_SPAN_H
#define SHMS_SPAN_H

#include "engine/classes.h"
#include "engine/life.h"
#include "engine/pages.h"

/* An open span, as it was when it was looked at. Every field has been checked against the heap's bounds. */
struct shms_span {
    uint64_t first, pages; /* page indices */
    uint64_t number, free; /* its number, and the word of its free blocks */
    uint64_t start, bytes; /* offset of the first block, capacity of each */
    uint32_t kind, blocks; /* size class, or SHMS_CLASS_LARGE; how many blocks */
};

/* Which block of the span the offset is in. REQUIRES: it is in the span. */
static inline uint32_t shms_span_index(const struct shms_span *span, uint64_t offset) {
    return span->kind == SHMS_CLASS_LARGE ? 0 : shms_class_times(span->kind, offset - span->start);
}
/* The open span whose first page this is. False: there is none. */
bool shms_span_at(const struct shms_store *s, uint64_t page, struct shms_span *ret);
/* The open span in which a block begins at `offset`. False: no block can be there. */
bool shms_span_of(const struct shms_store *s, uint64_t offset, struct shms_span *ret);
/* An offset of the heap, read from the segment, that may be no block's: its word. REQUIRES: aligned, in the heap. */
static inline _Atomic uint64_t *shms_word_at(const struct shms_store *s, uint64_t offset) {
    return &((struct shms_block *)(s->base + offset))->word;
}

/* Opens a span of this class with so many pages. SHMS_OK; SHMS_FULL: there is no run of free pages, or the system has no
 * memory (s->short_of). record.page is left to the caller, who clears it when the first block is allocated. */
int shms_span_open(struct shms_store *s, struct shms_record *record, uint32_t kind, uint64_t pages,
                   struct shms_span *ret);
/* Closes the span if none of its blocks is in use. May be called without the GIL. False: it is in use, or another thread
 * of this process is closing another span: shms_heap_tidy finds it later. */
bool shms_span_close(struct shms_store *s, const struct shms_span *span);
/* The same, but the bits `taken` of its pages stay: nobody looks for pages there, until shms_pages_find_free. */
bool shms_span_close_unseen(struct shms_store *s, const struct shms_span *span);
/* What the dead client's record says about a run of pages, see CRASH. */
void shms_span_settle(struct shms_store *s, uint64_t run, uint64_t number, uint64_t span);

#endif
