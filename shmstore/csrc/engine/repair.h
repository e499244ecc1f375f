/* repair.h: making a store sound again after its bytes were overwritten */
#ifndef SHMS_REPAIR_H
#define SHMS_REPAIR_H

#include "segment/segment.h"

#include "engine/repair.cdef.h"

/* The next step of making I2 to I12 (layout.h) hold again while other processes work. An entry that contradicts itself
 * is removed, and counted in r->lost. SHMS_AGAIN: there are steps left. SHMS_BUSY: the step could not be done, because a
 * lock was held: *busy, whose word was *seen. Await it and call again. SHMS_OK: all is done. A step takes less than a
 * millisecond. REQUIRES: the GIL; this process is a client. */
int shms_repair_step(struct shms_store *s, struct shms_repair *r, _Atomic uint64_t **busy, uint64_t *seen);

#endif
