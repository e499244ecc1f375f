/* view.h: reading a value in place. The pin keeps the block, and the view's count in the handle keeps the mapping: a
 * closed handle is detached when its last view ends.
 *
 * FORK  A forked child has the same addresses, but the pins are its parent's. A view taken before the fork stays mapped
 *   in the child, and its bytes are valid only as long as the parent keeps its pin. */
#ifndef SHMS_VIEW_H
#define SHMS_VIEW_H

#include "api/handle.h"
#include "engine/table.h"

struct shms_view {
    const uint8_t *bytes;
    uint64_t length;
    uint32_t pin;
    uint64_t owner; /* the owner word of the client that set the pin */
};

/* Pins the bytes of a value that is bytes (codec raw, or one msgpack bin). SHMS_OK; SHMS_MISS; SHMS_BUSY; SHMS_UNMET:
 * it is of another type; SHMS_READ_ONLY; SHMS_FULL: all pins of this client are in use. */
int shms_view_begin(struct shms_handle *h, const struct shms_key *k, struct shms_view *view);
/* Ends a view, also one of a handle that has been closed meanwhile. */
void shms_view_end(int64_t handle, uint32_t pin, uint64_t owner);

#endif
