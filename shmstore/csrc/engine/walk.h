/* walk.h: looking at everything, in slot order, without a lock.
 *
 * Entries do not move and an overwrite keeps its slot, so a walk meets each key that is present throughout
 * exactly once. Pages of the table that nobody used are skipped by the occupancy summary. */
#ifndef SHMS_WALK_H
#define SHMS_WALK_H

#include "engine/table.h"

/* Copies names from *cursor on (a slot number; 0 to start, UINT64_MAX when done) into buffer: for each a uint32
 * (length, and 1 << 31 for bytes names), then the name. kind: SHMS_WALK_ALL, or only names of one kind that begin
 * with the prefix. SHMS_OK or SHMS_CORRUPT. capacity: at least SHMS_KEY_MAX + 4. */
int shms_walk(struct shms_store *s, uint64_t *cursor, const void *prefix, uint32_t prefix_length, uint32_t kind,
              uint8_t *buffer, uint64_t capacity, uint64_t *filled);
#define SHMS_WALK_ALL 0xffffffffu

/* All names in the slots before `end`, each with its version and expiry (uint64, ns since boot, 0 = never) between the
 * uint32 and the name: what has not changed since gives the same bytes. *cursor: then the next slot in use from `end` on.
 * capacity: at least SHMS_KEY_MAX + 20. */
int shms_walk_versions(struct shms_store *s, uint64_t *cursor, uint64_t end, uint8_t *buffer, uint64_t capacity,
                       uint64_t *filled);

/* Unexpired entries. Cost: the used pages of the table, and each block's header once any entry has an expiry. */
uint64_t shms_walk_count(struct shms_store *s, bool any_will_do);

#endif
