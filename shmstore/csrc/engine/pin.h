/* pin.h: reading a block in place, by hazard pointers
 *
 * READER  1 set this client's bit in the pin bits
 *         2 pin := the block's offset
 *         3 fence (seq_cst)
 *         4 the slot still names the block, and the sequence is still the same: from now on the block stays.
 *           Otherwise clear the pin and begin again
 * WRITER  that frees a block:
 *         1 take the block out of its slot, by compare-and-swap
 *         2 fence (seq_cst)
 *         3 look at the pin bits, then at the pins of those clients. A pinned block goes on the arena's zombie list,
 *           not to the heap
 * ORDERING
 *   [pin-fence]  The two fences are in one total order. If the reader's comes first, the writer's look (3) finds the
 *     pin. If the writer's comes first, the reader's check (4) finds the slot changed. Weaker fences would allow both
 *     to miss each other.
 *   [unpin]  Clearing the pin (release) pairs with the look at it (acquire). So what was read in place was read before
 *     anything else is written there.
 * Clearing a pin takes no lock and frees nothing, so a reader waits for no process and leaves nothing to undo. A zombie
 * goes back to the heap when a later allocation in its arena finds that no pin names it.
 * CRASH  of a reader: pins of a client that is not live do not count. Its bit stays set until the next owner of the
 *   slot clears it, which costs a look at that slot.
 * SOURCE  Michael, "Hazard pointers", IEEE TPDS 2004. */
#ifndef SHMS_PIN_H
#define SHMS_PIN_H

#include "segment/segment.h"

/* Sets a pin of this client to `offset` (steps 1 to 3): its index, or -1 if all are in use. The caller does step 4. */
int shms_pin_set(struct shms_store *s, uint64_t offset);
void shms_pin_clear(struct shms_store *s, int pin);
/* REQUIRES: the block is out of its slot. Step 2 of the writer, and the first half of step 3: does any client pin? */
bool shms_pin_any(struct shms_store *s);
/* The second half of step 3. REQUIRES: shms_pin_any was called. The block of `bytes` at `offset`: does a pin of a live client name
 * it, or a place inside of it? Only a rebuild makes blocks that contain pinned places (rebuild.c, merge_pins). */
bool shms_pin_covers(struct shms_store *s, uint64_t offset, uint64_t bytes);

#endif
