/* hands.h: evicting in the order of the policy (policy.h)
 *
 * Two hands sweep the hints, one for each share, eight hints at a time. They stride over the table by about 0.618 of its
 * length: in the order of the table, the part ahead of a hand would be full and the part behind it empty, and a full
 * part makes probes long. A process takes eight turns from a hand by an atomic addition, and uses them during as many
 * evictions as they last. So processes that evict at once look at different hints. Turns that a process has taken and not
 * used wait for the hand to come round again. */
#ifndef SHMS_HANDS_H
#define SHMS_HANDS_H

#include "engine/victim.h"

/* Evicts the next entry. Returns the capacity of its block; 0: none could be evicted. Bounded: it looks at a quarter
 * million hints or a thousand entries at most, and usually at one or two cache lines of hints. */
uint64_t shms_evict_next(struct shms_store *s, struct shms_record *record, enum shms_cause cause);
/* Fetches the memory of the entry that is likely to be evicted next. Without effect but for time. */
void shms_evict_prepare(struct shms_store *s);

#endif
