/* move.h: moving an entry to another block, while others read and write it
 *
 * A move is an overwrite with the same bytes: the entry keeps its slot, key, value, expiry and version; only the block is
 * another. The new block has a life of its own, as every block has, so the entry's version is written into it, in place of
 * the hash (layout.h, "block"): the key says what the hash is. Eviction, compaction and whatever else needs memory in another place end here.
 *
 * WRITER
 *   1 look at the entry by the steps of a reader (table.h). It is pinned: it stays where it is
 *   2 allocate a block (heap.h): record.block names it. Copy header, version, extension, key and value, in pieces if they
 *     are many. No lock is held, so the copy of a gigabyte delays nobody
 *   3 did the life of the old block last through the copy? If not, the entry was overwritten: undo 2
 *   4 record.bucket := the home bucket; try its lock. It is busy: undo 2. Nobody waits here
 *   5 does the slot still name the block, in the life that was copied? From here on the entry cannot change (O3).
 *     Copy the expiry once more, because a touch may have changed it
 *   6 exchange the slot, count, and end the old life (steps 3 to 6 in op.h)
 *   7 unlock;  record.bucket := 0
 * INVARIANTS
 *   M1  A move changes no version, and no answer of a call. It is not counted as a put.
 *   M2  The slot stays. So the due word of its group and the reach of the home are right as they are (I4, I11).
 * ORDERING  No other than those of an overwrite. [publish]: the exchange of step 6 releases the copy. [block-life]: the
 *   copy of step 2 is a reader's, so step 3 is its step 5. A reader that copies from the old block finds that its life
 *   has ended, looks at the slot again, and finds the new block.
 * CRASH  As for an overwrite (op.h): before the exchange recovery ends the life of the new block; after it, that of the old
 *   one. The entry is in the slot at every moment, in one of the two blocks, and both have its version.
 * LIMITS  The release of the home's lock wakes those who sleep on it, as every release does. A waiter looks, finds the
 *   version that it knows, and sleeps on. */
#ifndef SHMS_MOVE_H
#define SHMS_MOVE_H

#include "engine/table.h"

/* One move in progress, by one client, with one operation record. Nothing but the record is held between two calls. */
struct shms_move {
    struct shms_entry x; /* as it was when it was looked at */
    uint64_t home;
    uint64_t block, life; /* the new block */
    uint64_t value;       /* offset of its value */
    uint64_t copied;      /* bytes of the value */
};

/* Steps 1 and 2, up to the value. offset: of a block. opens: a new span may be opened for it. SHMS_OK; SHMS_MISS: no slot
 * names the block (any more); SHMS_UNMET: it is pinned; SHMS_FULL: no other block. REQUIRES, like all of these: the GIL. */
int shms_move_begin(struct shms_store *s, struct shms_record *record, uint64_t offset, bool opens, struct shms_move *m);
/* Copies so many bytes of the value. True: all have been copied. */
bool shms_move_copy(struct shms_store *s, struct shms_move *m, uint64_t most);
/* Steps 3 to 7. unseen: no hint tells that the old block is free, so nobody allocates it until shms_heap_tidy. SHMS_OK; SHMS_MISS: the entry has changed; SHMS_BUSY: its home is locked. Unless SHMS_OK, step 2 is undone. */
int shms_move_end(struct shms_store *s, struct shms_record *record, struct shms_move *m, bool unseen);
/* Undoes step 2. */
void shms_move_cancel(struct shms_store *s, struct shms_record *record, struct shms_move *m);

/* All of it. offset, opens, unseen and what is returned: as above. The copy is made in one piece. */
int shms_move(struct shms_store *s, struct shms_record *record, uint64_t offset, bool opens, bool unseen);

#endif
