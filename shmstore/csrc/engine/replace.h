/* replace.h: the exchange of a slot that takes an entry out, with what recovery must know about it (steps 3 to 6 in op.h)
 *
 * An overwrite, a delete, the sweep of an expired entry and a repair all end here. */
#ifndef SHMS_REPLACE_H
#define SHMS_REPLACE_H

#include "engine/table.h"

/* Step 3: states in the record what the used counters will be. 0: there is no new, or no old block. */
void shms_used_state(struct shms_store *s, struct shms_record *record, uint64_t new_bytes, uint64_t old_bytes);
/* Step 5: used counters := what the record states;  record.block := 0. */
void shms_used_count(struct shms_store *s, struct shms_record *record);

/* Takes the entry x out of its slot, which from then on names `word` (0: nothing), and ends the life of its block. False:
 * the slot has changed, because this client was held for dead and its bucket taken over. new_bytes: the capacity of the
 * block that `word` names. REQUIRES: the lock of x's home bucket. */
bool shms_entry_replace(struct shms_store *s, struct shms_record *record, const struct shms_entry *x, uint64_t word,
                        uint64_t new_bytes);

#endif
