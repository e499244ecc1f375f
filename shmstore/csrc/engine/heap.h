/* heap.h: allocating blocks and ending their lives, without a lock
 *
 * One word says who owns a block (layout.h, "numbers and words"). Everything else about free memory is a hint: the maps
 * of spans, the hints of classes, what this process keeps to itself. A hint that is wrong costs a failed exchange, or is
 * found by shms_heap_tidy.
 *
 * EXAMPLE  Class 112 bytes. F is the free word of the span:
 *   word of block 3   F      free
 *                     42     allocated: a life. record.block names it until a slot does
 *                     42     published. Version 42 of the entry
 *                     43     the same, and pinned (pin.h)
 *                     46     a zombie: out of its slot, and still pinned
 *                     F      free again
 * WRITER  allocate:  1 choose a block by hints;  record.life := a new life;  record.block := the block
 *                    2 word: the span's free word -> the life, by compare-and-swap [alloc]. It fails: another block
 *                    3 release fence [block-life], then the contents
 *         end:       1 word: life -> free word. That is all, unless the life was pinned:
 *                    2 word: life + pinned -> zombie
 *                    3 fence (seq_cst); does any client pin this life? If not, word: zombie -> free word [pin-fence]
 *         unpin:     1 clear the pin;  fence (seq_cst)
 *                    2 is the word the zombie of the life, and does no other client pin it? zombie -> free word
 * INVARIANTS
 *   B1  A block that is not free belongs to one life. Only the client whose record names the life, the holder of the
 *       home lock of its entry, or a finder of one of them that is dead, ends it.
 *   B2  Whoever ends a life has stated it in a record: `block` for one that was never published, `old` else. So a death at
 *       any step leaves the life to recovery (recover.c).
 * ORDERING
 *   [alloc]      The exchange acquires: the contents of the former life were read before the word became free.
 *   [block-life] The fence after step 2 pairs with the reader's acquire fence before it loads the word again (table.h).
 *     A reader that copied a byte of the new life finds another word, and discards the copy.
 *   [pin-fence]  Steps 2 and 3 of an end, and the two steps of an unpin: each writes one word and then reads the
 *     other's. The fences are in one total order, so at least one of the two sees the other, and frees the zombie.
 * CRASH  record.block and record.old name what may have to be ended, with its life. A finder whose exchange fails finds that
 *   it was done.
 * LIMITS  Bounded: at most CLASS_TRIES spans are looked at. What that misses is found before SHMS_FULL (shms_heap_tidy). */
#ifndef SHMS_HEAP_H
#define SHMS_HEAP_H

#include "engine/span.h"

/* Allocates a block of at least `bytes`, and states it in record.block and record.life. REQUIRES: the GIL. SHMS_OK;
 * SHMS_FULL. */
int shms_heap_alloc(struct shms_store *s, struct shms_record *record, uint64_t bytes);
/* The same from free blocks of so many classes above `kind` alone. */
int shms_heap_alloc_larger(struct shms_store *s, struct shms_record *record, uint32_t kind, uint32_t classes);
/* The same for an entry that moves: no block of a larger class. opens: it may open a span. */
int shms_heap_alloc_moved(struct shms_store *s, struct shms_record *record, uint64_t bytes, bool opens);
/* REQUIRES: no slot refers to the block. Ends the life: the block is free, or a zombie. Nothing happens if it has ended.
 * keeps: the GIL is held, so this process may keep the block for its next allocation. */
void shms_heap_end(struct shms_store *s, uint64_t offset, uint64_t life, bool keeps);
/* The same, of a block in this span. REQUIRES: the life had not ended when the span was looked at. */
void shms_heap_end_in(struct shms_store *s, const struct shms_span *span, uint64_t offset, uint64_t life, bool keeps);
/* The same, but no hint tells that the block is free: nobody allocates it, until shms_heap_tidy. */
void shms_heap_end_unseen(struct shms_store *s, uint64_t offset, uint64_t life);
/* Takes the hints of the span's free blocks away. REQUIRES: the GIL. */
void shms_heap_hide(struct shms_store *s, const struct shms_span *span);
/* Frees the block if it is a zombie of this life that no client pins. */
void shms_heap_unpinned(struct shms_store *s, uint64_t offset, uint64_t life);
/* Gives up what this process keeps to itself, for others to use. REQUIRES: the GIL. */
void shms_heap_leave(struct shms_store *s);
/* The same as shms_heap_tidy, for an allocation of `least` bytes: a span of smaller blocks is left after its first block
 * that is in use. So a heap full of small blocks, half of them free, costs a look or two at each span. */
bool shms_heap_tidy_for(struct shms_store *s, uint64_t least, uint64_t *page, uint64_t most);
/* Computes hints of free memory anew, page by page from *page on, and closes empty spans: at most so many blocks and
 * pages. False: there are pages left. Takes no lock. */
static inline bool shms_heap_tidy(struct shms_store *s, uint64_t *page, uint64_t most) {
    return shms_heap_tidy_for(s, 0, page, most);
}
/* The capacity of the block at `offset`; 0 if there can be no block. */
static inline uint64_t shms_heap_capacity(const struct shms_store *s, uint64_t offset) {
    struct shms_span span;
    return shms_span_of(s, offset, &span) ? span.bytes : 0;
}
/* What a value takes, and the most that a block can have. */
uint64_t shms_heap_largest(const struct shms_store *s);

#endif
