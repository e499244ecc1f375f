/* wait.h: sleeping until a key changes. */
#ifndef SHMS_WAIT_H
#define SHMS_WAIT_H

#include "engine/table.h"

/* Waits about `nanoseconds` from `start` on for the key to have a version other than `after` (has_after false: any). SHMS_OK with
 * *version (0: the key went away, only with has_after), or SHMS_AGAIN when the time is up or a signal came.
 * spin: nanoseconds to look again and again before sleeping. Holds nothing; may be given up at any moment. */
int shms_wait(struct shms_store *s, const struct shms_key *k, bool has_after, uint64_t after, uint64_t start,
              uint64_t nanoseconds, uint64_t spin, uint64_t *version);
/* The same without waiting. */
int shms_wait_look(struct shms_store *s, const struct shms_key *k, bool has_after, uint64_t after, uint64_t *version);

#endif
