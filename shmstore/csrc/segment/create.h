/* create.h: how a segment becomes a store; for open.c. */
#ifndef SHMS_CREATE_H
#define SHMS_CREATE_H

#include "segment/memory.h"
#include "segment/request.h"

enum shms_creation { SHMS_CREATION_READY, SHMS_CREATION_WAIT, SHMS_CREATION_GONE, SHMS_CREATION_FOREIGN, SHMS_CREATION_UNPLANNED, SHMS_CREATION_FAILED };

/* Looks at an attached segment once, and initialises it if that is for us to do. planned: whether *g is something. */
enum shms_creation shms_create_or_wait(struct shms_store *s, const struct shms_geometry *g, int planned,
                              const struct shms_open_request *a, struct shms_open_result *r,
                              const struct shms_memory_state *d, uint64_t waited);
/* Notes which call failed with which error: SHMS_SYSTEM. */
int shms_open_failed(struct shms_open_result *r, const char *what, int error);

#endif
