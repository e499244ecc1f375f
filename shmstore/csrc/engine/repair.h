/* repair.h: what an administrator may do to a store whose bytes somebody scribbled over. */
#ifndef SHMS_REPAIR_H
#define SHMS_REPAIR_H

#include "segment/segment.h"

/* Makes the invariants I2 to I12 (layout.h) hold again, while others go on working. What can be derived is derived
 * anew; an entry that contradicts itself is given up, and counted in *lost. SHMS_OK; SHMS_BUSY with the lock in *busy,
 * *seen: await it and call again; SHMS_NO_MEMORY. REQUIRES: an attachment that may write. */
int shms_repair(struct shms_store *s, uint64_t *lost, _Atomic uint64_t **busy, uint64_t *seen);

#endif
