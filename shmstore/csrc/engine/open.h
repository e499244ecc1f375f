/* open.h: how a store is opened, left and destroyed */
#ifndef SHMS_OPEN_H
#define SHMS_OPEN_H

#include "segment/attachments.h"
#include "engine/clients.h"

/* Opens or creates a store. SHMS_OK: *s is filled, or, if the request says so, s->joined is an attachment of this process
 * with one use more. REQUIRES: *s is in the list of attachments. Request and result: request.cdef.h. */
struct shms_open_request;
struct shms_open_result;
int shms_open(struct shms_store *s, const struct shms_open_request *a, struct shms_open_result *r);
/* Detaches. The store lives on. */
void shms_detach(struct shms_store *s);
/* Ends a use. After the last one: detaches, and frees *s; and so on with its successor. */
void shms_store_drop(struct shms_store *s);
/* Removes the store's memory, marks the store destroyed, and wakes every waiter. SHMS_SUPERSEDED: it was resized
 * meanwhile, and the successor is to be destroyed. */
int shms_destroy(struct shms_store *s);
/* Once in a second of use: asks the kernel about the store, and makes a missing liveness mark again. SHMS_OK,
 * SHMS_DESTROYED or SHMS_SUPERSEDED. */
int shms_revalidate(struct shms_store *s);

#endif
