/* expire.h: time to live. An expired entry is absent at once; its memory comes back by other writes.
 *
 * Each group of eight buckets has a due word: the earliest expiry in the group, in ms since boot, and a change
 * count. A writer of an expiry lowers the due time and moves the count *after* publishing. A sweeper reads the
 * word, looks at the group, and sets the earliest time that it saw, only if the word did not move meanwhile. So
 * an entry published before the look is seen by it, and one published after it moves the word after it: the due
 * time is never too late (I11), and may be too early, which costs a look [publish-then-due].
 * CRASH between publishing and lowering: the record still names the home bucket; recovery makes the groups that
 * the entry can be in due at once (shms_expire_suspect). */
#ifndef SHMS_EXPIRE_H
#define SHMS_EXPIRE_H

#include "segment/segment.h"

/* REQUIRES: an entry with this expiry was just published in `bucket`. */
void shms_expire_note(struct shms_store *s, uint64_t bucket, uint64_t expiry);
/* An entry of this home bucket may have been published without a note. */
void shms_expire_suspect(struct shms_store *s, uint64_t home);
/* Looks at a handful of due words and sweeps at most one group; what every put does. */
void shms_expire_some(struct shms_store *s);
/* Everything that is due. Returns how many entries went. *everything becomes false if one was passed over because a
 * lock was busy. */
uint64_t shms_expire_all(struct shms_store *s, bool *everything);

static inline bool shms_any_expiry(const struct shms_store *s) { return shms_load_relaxed(&s->header->has_expiry) != 0; }

#endif
