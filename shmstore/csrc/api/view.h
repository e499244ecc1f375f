/* view.h: a value read in place. The pin keeps the block, the view's count in the handle keeps the mapping, so a
 * closed handle is detached when its last view ends.
 *
 * A forked child inherits the addresses, but the pins are the parent's: a view taken before the fork stays mapped
 * in the child, and what it shows there lasts only as long as the parent holds it. */
#ifndef SHMS_VIEW_H
#define SHMS_VIEW_H

#include "api/handle.h"
#include "engine/table.h"

struct shms_view {
    const uint8_t *bytes;
    uint64_t length;
    uint32_t pin;
    uint64_t owner; /* the client whose pin it is */
};

/* The bytes of a value that is bytes (codec raw, or msgpack's bin), pinned. SHMS_OK, SHMS_MISS, SHMS_BUSY,
 * SHMS_UNMET when it is something else, SHMS_READ_ONLY, SHMS_FULL when all pins of this client are in use. */
int shms_view_begin(struct shms_handle *h, const struct shms_key *k, struct shms_view *view);

#endif
