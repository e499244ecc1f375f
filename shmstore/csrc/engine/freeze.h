/* freeze.h: which client resizes the store, and how writers are kept out at the end of the resize (resize.h)
 *
 * The resize word (layout.h) names the client that resizes, and says whether the store is frozen. The creation word decides
 * how the resize ends: the first exchange of it wins, that of step 3 or that of giving up.
 *
 * WRITER  1 resize word: no client -> this client, count + 1
 *         2 set the bit `frozen` [lock-then-frozen], and wait until no bucket is locked
 *         3 creation word: ready -> superseded, if it is still the word that was loaded before 1. This is the commit
 *   If a lock stays held, because its holder is stopped: take the bit away, count + 1, and do 2 again a little later
 *   To give up: creation word: generation + 1, so that 3 fails; resize word: no client, not frozen, count + 1; wake.
 * INVARIANTS
 *   F1  Between 2 and the end no entry changes: a client that takes a lock sees the bit, and gives the lock back (L7).
 *   F2  A resize that was given up is never committed: the creation word differs from the one that step 3 expects.
 *   F3  While a live client resizes, its slot is its own. A resize word that names a free slot, or none that there is, was
 *       overwritten by bytes that no version of this code wrote. A process that needs it away gives that resize up.
 * ORDERING [lock-then-frozen]  A writer takes the lock of a bucket, whose page is marked as used, and then loads the resize
 *     word. The resizer sets the bit, and then loads the marks and the locks. All of these are seq_cst. So the writer sees
 *     the bit, or the resizer sees the lock held, and waits until the writer has left.
 *   [counter-then-frozen]  The counters of generations (generations.h) change without a lock. A process adds to the counter, and
 *     then loads the resize word. The resizer sets the bit, and then copies the counters. Both have a seq_cst fence in between.
 *     So the process sees the bit, and adds to the counter once more after the resize; or the copy has the addition.
 * CRASH  of the resizer: the process that recovers its client gives the resize up, unless it is committed. Waiting writers check
 *   whether the resizer is alive. The unfinished segment is removed between the two exchanges of giving up. After a death
 *   between the two, the next finder does both again. */
#ifndef SHMS_FREEZE_H
#define SHMS_FREEZE_H

#include "segment/segment.h"

static inline bool shms_frozen(const struct shms_store *s) {
    return shms_load_seq_cst(&s->header->resize) & SHMS_RESIZE_FROZEN;
}
static inline bool shms_superseded(const struct shms_store *s) {
    return SHMS_OWNER_STATE(shms_load_acquire(&s->header->state)) == SHMS_STATE_SUPERSEDED;
}

/* A resize in progress. */
struct shms_freeze {
    uint64_t ready; /* the creation word at the beginning */
    uint64_t word;  /* the resize word, as this resize has written it last */
};

/* Step 1. SHMS_OK; SHMS_BUSY: the client in *resizer does it; SHMS_SUPERSEDED; SHMS_DESTROYED. */
int shms_freeze_begin(struct shms_store *s, struct shms_freeze *f, uint32_t *resizer);
/* Step 2, without the wait. False: it was given up. */
bool shms_freeze(struct shms_store *s, struct shms_freeze *f);
/* Undoes step 2: writers go on. False: the resize was given up. */
bool shms_freeze_undo(struct shms_store *s, struct shms_freeze *f);
/* Step 3. False: it was given up, or the store was removed. */
bool shms_freeze_commit(struct shms_store *s, const struct shms_freeze *f);
/* Gives up the resize that has this resize word. Nothing happens if that is over, or has committed. True: it was given up. */
bool shms_freeze_end(struct shms_store *s, uint64_t word);
/* Sleeps until the store is not frozen any more, or about `nanoseconds`. */
void shms_freeze_await(struct shms_store *s, uint64_t nanoseconds);

#endif
