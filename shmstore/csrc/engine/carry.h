/* carry.h: copying one entry from the old segment to the new one (resize.h)
 *
 * The copy has the same key, value, codec, generations, expiry and version, in another block and another slot.
 * READER  of the old segment: the steps of table.h. Others may write to it meanwhile.
 * WRITER  of the new segment: a put (op.h). Only the resizer knows that segment, so no lock there is ever busy. */
#ifndef SHMS_CARRY_H
#define SHMS_CARRY_H

#include "engine/table.h"

/* An entry of the old segment, and its key. */
struct shms_carried {
    struct shms_entry x;
    uint32_t key_length;
    uint8_t key[SHMS_KEY_MAX];
};

/* Reads the entry in a slot of *from. SHMS_OK; SHMS_MISS: there is none, or it is gone (table.h); SHMS_BUSY: writers changed
 * it faster than it could be read; SHMS_CORRUPT. */
int shms_carry_look(struct shms_store *from, uint64_t slot, struct shms_carried *c);
/* Copies it to *to, and replaces the entry with the same key there. SHMS_OK; SHMS_MISS: it changed during the copy, and was
 * not stored; SHMS_FULL or SHMS_TABLE_FULL: there is no room. A cache evicts others to make room. */
int shms_carry(struct shms_store *to, const struct shms_carried *c, uint32_t frequency);

#endif
