/* wait.h: sleeping until a key changes. The argument is in wait.c. */
#ifndef SHMS_WAIT_H
#define SHMS_WAIT_H

#include "engine/owner.h"
#include "engine/table.h"

#define SHMS_OWNERS_MAX 64u
/* What else ends a wait: this process is poked (sleepers.h), or one of the owners has left (owner.h). */
struct shms_also {
    uint32_t pokes; /* as they were before the caller looked at what a poke announces */
    uint32_t count;
    const struct shms_lock_owner *owners;
};
/* Waits until about `start` + `nanoseconds` for the key to have a version other than `after` (has_after false: to
 * exist). SHMS_OK with *version (0: the key is gone, only with has_after), or SHMS_AGAIN when the time is up, a
 * signal came, or something of `also` did. spin: for how many ns to look without sleeping. Holds nothing, so it may be
 * abandoned at any moment. */
int shms_wait(struct shms_store *s, const struct shms_key *k, bool has_after, uint64_t after, uint64_t start,
              uint64_t nanoseconds, uint64_t spin, const struct shms_also *also, uint64_t *version);
/* The same without waiting: one look. */
int shms_wait_look(struct shms_store *s, const struct shms_key *k, bool has_after, uint64_t after, uint64_t *version);
/* The same, and if the answer is SHMS_AGAIN, this process is told of the next change of the bucket by the bell (bell.h).
 * *count: what the bucket's count was at the look. *left: ns until the entry expires, or until the next look if nobody can
 * be told; 0: there is no such time. *tagged: it may also be outdated. Then the bell rings for every bucket. REQUIRES: the rings
 * were noted before. */
int shms_wait_announce(struct shms_store *s, const struct shms_key *k, bool has_after, uint64_t after,
                       uint64_t *version, uint32_t *count, uint64_t *left, bool *tagged);
/* The count of a bucket's word; 0: it was never used. */
uint32_t shms_wait_count(struct shms_store *s, uint64_t bucket);

#endif
