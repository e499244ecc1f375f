/* wait.h: sleeping until a key changes. The argument is in wait.c. */
#ifndef SHMS_WAIT_H
#define SHMS_WAIT_H

#include "engine/table.h"

/* Waits until about `start` + `nanoseconds` for the key to have a version other than `after` (has_after false: to
 * exist). SHMS_OK with *version (0: the key is gone, only with has_after), or SHMS_AGAIN when the time is up or a
 * signal came. spin: for how many ns to look without sleeping. Holds nothing, so it may be abandoned at any moment. */
int shms_wait(struct shms_store *s, const struct shms_key *k, bool has_after, uint64_t after, uint64_t start,
              uint64_t nanoseconds, uint64_t spin, uint64_t *version);
/* The same without waiting: one look. */
int shms_wait_look(struct shms_store *s, const struct shms_key *k, bool has_after, uint64_t after, uint64_t *version);

#endif
