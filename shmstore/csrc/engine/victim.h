/* victim.h: evicting one entry
 *
 * An operation does not evict the old entry of its own key: if it fails after all, the key keeps its value (P5). There is one
 * exception, in window.h.
 * WRITER  Taking an entry out, as a delete does (op.h). Its home bucket is tried and never waited for. An entry whose home
 *   is busy, or that is read in place, is passed over. The record is that of the operation that needs room, which holds
 *   no bucket and no block meanwhile. So O2 and O3 hold here, and a death leaves what a death in a delete leaves. */
#ifndef SHMS_VICTIM_H
#define SHMS_VICTIM_H

#include "segment/segment.h"

enum shms_cause { SHMS_FOR_MEMORY, SHMS_FOR_ENTRIES };

/* Evicts the entry in this slot. Returns the capacity of its block; 0: there is none, or it was passed over. */
uint64_t shms_evict_slot(struct shms_store *s, struct shms_record *record, uint64_t slot, enum shms_cause cause);

#endif
