/* pin.h: reading a block in place, by hazard pointers (Michael, "Hazard pointers", IEEE TPDS 2004).
 *
 * READER  1 set my bit in the pin bits   2 my pin := the block's offset   3 fence (seq_cst)
 *         4 slot still names the block, sequence still the same: from now on the block stays. Else unpin, retry.
 * FREER   1 take the block out of its slot (compare-and-swap)   2 fence (seq_cst)
 *         3 bits, then the pins of those clients: pinned blocks go on the arena's zombie list, not to the heap.
 * Either the reader's check (4) comes after the unpublishing and fails, or the freer's look (3) comes after the
 * pin and finds it: the two fences allow no third case [pin-fence].
 * What the reader read in place comes before its unpinning, and that before whatever is written there next: the
 * clearing releases, the freer's look acquires [unpin].
 * Unpinning clears the pin and nothing else: no lock, no freeing, so a reader waits for nobody and leaves
 * nothing to undo. Zombies go back to the heap when somebody allocates there and finds the pin gone.
 * CRASH of a reader: pins of a client that is not live do not count; its bit stays until the next tenant. */
#ifndef SHMS_PIN_H
#define SHMS_PIN_H

#include "segment/segment.h"

/* A pin of this process that names `offset`, not yet checked: its index, or -1 if all are in use. */
int shms_pin_set(struct shms_store *s, uint64_t offset);
void shms_pin_clear(struct shms_store *s, int pin);
/* REQUIRES: the block is out of its slot. Does a living client read it in place? */
bool shms_pin_covers(struct shms_store *s, uint64_t offset);

#endif
