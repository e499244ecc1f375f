/* expire.h: the sweep. An entry that has expired, or is outdated (generations.h), is absent at once. Later writes free its
 * memory.
 *
 * Each group of eight buckets has a due word: the earliest expiry in the group, in ms since boot; a mark, if there may be
 * entries with generations; and a count of changes.
 * WRITER   1 publish the entry
 *          2 note it: lower the due time if the expiry is earlier, mark the group, and move the count, by one exchange
 * SWEEPER  1 load the due word
 *          2 look at each slot of the group; take out what is gone; remember the earliest expiry, and whether there are
 *            entries with generations left
 *          3 exchange the due word for that. It fails if any count moved since 1
 * A group is due when its due time has come. A marked group is due, too, while there may be outdated entries: as long as
 * header.outdated is not header.swept. When a process has been round all groups, and passed over no entry, header.swept
 * becomes what header.outdated was at the beginning of the round.
 * ORDERING [publish-then-due]  The exchange of a note (release) pairs with the sweeper's first load (acquire). If the
 *   note came before that load, the sweeper sees the entry in its slot. If it came later, the exchange of step 3 fails.
 *   So the due time is never too late (I11). It may be too early, which costs a look.
 * CRASH  between publishing and noting: the writer's record still names the home bucket. Recovery makes all groups due
 *   that can contain an entry of this home (shms_expire_suspect), before it releases the bucket. */
#ifndef SHMS_EXPIRE_H
#define SHMS_EXPIRE_H

#include "segment/segment.h"

/* REQUIRES: an entry with this expiry, 0: none, and with generations or not, was just published in `bucket`, and its home
 * bucket is still locked. */
void shms_expire_note(struct shms_store *s, uint64_t bucket, uint64_t expiry, bool tagged);
/* For recovery and repair: an entry of this home bucket may have been published without a note. */
void shms_expire_suspect(struct shms_store *s, uint64_t home);
/* Looks at one line of due words, and sweeps at most one group. Every put calls this once any entry has an expiry. The
 * record is the caller's, and holds nothing. */
void shms_expire_some(struct shms_store *s, struct shms_record *record);
/* Sweeps what is due and all marked groups, from *group on, at most `most` groups, and looks at some thousands. False: there are groups left. *gone
 * grows by what was removed. *passed_over becomes true if an entry was left because its home bucket was busy. */
bool shms_expire_all(struct shms_store *s, struct shms_record *record, uint64_t *group, uint64_t most, uint64_t *gone,
                     bool *passed_over);
/* For a cache that needs room: what is gone goes first. Sweeps until something is removed, looking at 4,096 groups at
 * most, from where the last call ended; nothing is looked at before the store's first due time, if nothing may be outdated. Returns how many
 * entries were removed.
 * The first due time is a hint: the earliest due time of the groups, or a second after the last look at all of them,
 * because a note may be made behind the back of a look. */
uint64_t shms_expire_first(struct shms_store *s, struct shms_record *record);

static inline bool shms_any_expiry(const struct shms_store *s) {
    return shms_load_relaxed(&s->header->has_expiry) != 0; /* of either kind */
}
/* Before an entry with an expiry, or with generations, can be published: so no process that sees such an entry misses the
 * flag. It is never reset. */
static inline void shms_expire_announce(struct shms_store *s, uint64_t flags) {
    if (SHMS_UNLIKELY(flags & ~shms_load_relaxed(&s->header->has_expiry)))
        shms_fetch_or_acq_rel(&s->header->has_expiry, flags);
}

#endif
