/* walk.h: visiting all entries in the order of the slots, without a lock
 *
 * Entries do not move, and an overwrite keeps its slot. So a walk visits each key that is present all the time exactly
 * once. An entry that is put or removed during the walk may be visited or not. Pages of the table that were never used
 * are skipped (summary). */
#ifndef SHMS_WALK_H
#define SHMS_WALK_H

#include "engine/table.h"

/* Copies keys to `buffer`, from *cursor on (a slot number; 0 to start, UINT64_MAX at the end). Each key is preceded by
 * a uint32: its length, and 1 << 31 for a bytes key. kind: SHMS_WALK_ALL, or only keys of this kind that begin with the
 * prefix. SHMS_OK; SHMS_CORRUPT; SHMS_CONTENDED. REQUIRES: capacity >= SHMS_KEY_MAX + 4. */
int shms_walk(struct shms_store *s, uint64_t *cursor, const void *prefix, uint32_t prefix_length, uint32_t kind,
              uint8_t *buffer, uint64_t capacity, uint64_t *filled);
#define SHMS_WALK_ALL 0xffffffffu

/* All keys in the slots before `end`. Between the uint32 and the key stand the entry's version and expiry (two uint64;
 * ns since boot, 0 = never), so an entry that has not changed gives the same bytes. *cursor: then the next used slot
 * from `end` on. REQUIRES: capacity >= SHMS_KEY_MAX + 20. */
int shms_walk_versions(struct shms_store *s, uint64_t *cursor, uint64_t end, uint8_t *buffer, uint64_t capacity,
                       uint64_t *filled);

/* The number of unexpired entries. Reads the used pages of the table and, if any entry has an expiry, the header of
 * each block. any_will_do: stops at the first. */
uint64_t shms_walk_count(struct shms_store *s, bool any_will_do);

#endif
