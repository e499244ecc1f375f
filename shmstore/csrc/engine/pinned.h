/* pinned.h: asking which blocks are read in place. Setting and clearing a pin is in pin.h, which has the argument. */
#ifndef SHMS_PINNED_H
#define SHMS_PINNED_H

#include "segment/segment.h"

/* Does a pin of a live client name this life? Cost: a word for each 64 clients, and the pins of those that have any. */
bool shms_pin_any(struct shms_store *s, uint64_t offset, uint64_t life);
/* For check and repair: does a pin of a client name the block, or did it last? Then a zombie there may be about to be
 * freed by that client, or by its recovery. */
bool shms_pin_named(struct shms_store *s, uint64_t offset);
/* How many pins name a zombie. */
uint64_t shms_pin_zombies(struct shms_store *s);

#endif
