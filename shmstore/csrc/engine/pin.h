/* pin.h: reading a block in place, by hazard pointers
 *
 * READER  1 set this client's bit in the pin bits
 *         2 pin := the block's offset and life
 *         3 word: life -> life + pinned, by compare-and-swap, unless it is that already;  fence (seq_cst)
 *         4 the word still is life + pinned: from now on the block stays. Otherwise clear the pin and begin again
 * WRITER  that ends a life (heap.h): if the exchange of the life for the free word succeeds, no reader has pinned it, and
 *         none will. So a writer looks at pins only if this very life was pinned at least once, and a put beside any
 *         number of pins of other blocks does not know of them.
 * ORDERING
 *   [pin-fence]  in heap.h.
 *   [unpin]  Clearing the pin (release) pairs with the look at it (acquire). So what was read in place was read before
 *     anything else is written there.
 * The process that clears the last pin of a zombie frees it; so does the recovery of a dead client, for each block that a
 *   pin of it names or named last: it may have died after it cleared the pin and before it freed the zombie.
 * CRASH  of a reader: its pins do not count from the moment that its client is marked dead. Its bit stays set until the
 *   next owner of the slot clears it, which costs a look at that slot.
 * SOURCE  Michael, "Hazard pointers", IEEE TPDS 2004. */
#ifndef SHMS_PIN_H
#define SHMS_PIN_H

#include "engine/pinned.h"

/* Steps 1 to 4, or one use more of the pin that this process has on the same life. The pin's index; -1: all are in use; -2: the life has ended. REQUIRES: the GIL. */
int shms_pin_set(struct shms_store *s, uint64_t offset, uint64_t life);
/* Ends a use. After the last one: frees the block if it is a zombie and this was its last pin. REQUIRES: the GIL. */
void shms_pin_clear(struct shms_store *s, int pin);
/* REQUIRES: the client is marked dead, or was never live. Frees zombies that only its pins kept. */
void shms_pin_settle(struct shms_store *s, struct shms_client *c);

#endif
