/* create.h: how a segment becomes a store; for open.c. */
#ifndef SHMS_CREATE_H
#define SHMS_CREATE_H

#include "segment/memory.h"
#include "segment/request.h"

enum shms_settled { SHMS_SETTLED_READY, SHMS_SETTLED_WAIT, SHMS_SETTLED_GONE, SHMS_SETTLED_FOREIGN, SHMS_SETTLED_UNPLANNED, SHMS_SETTLED_FAILED };

/* Looks at an attached segment once, and initialises it if that is for us to do. planned: whether *g is something. */
enum shms_settled shms_settle(struct shms_store *s, const struct shms_geometry *g, int planned,
                              const struct shms_open_wish *a, struct shms_open_found *r,
                              const struct shms_memory_state *d, uint64_t waited);
/* Notes which call failed with which error: SHMS_SYSTEM. */
int shms_open_failed(struct shms_open_found *r, const char *what, int error);

#endif
