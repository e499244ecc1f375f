/* repair.h: making a store sound again after its bytes were overwritten */
#ifndef SHMS_REPAIR_H
#define SHMS_REPAIR_H

#include "segment/segment.h"

/* Makes I2 to I12 (layout.h) hold again while other processes work. Derived state is computed anew. An entry that
 * contradicts itself is removed, and counted in *lost. SHMS_OK; SHMS_BUSY with the lock in *busy and its word in *seen:
 * await it and call again; SHMS_NO_MEMORY. REQUIRES: the attachment may write. */
int shms_repair(struct shms_store *s, uint64_t *lost, _Atomic uint64_t **busy, uint64_t *seen);

#endif
