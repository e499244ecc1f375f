/* open.h: how a store is opened, left and destroyed. */
#ifndef SHMS_OPEN_H
#define SHMS_OPEN_H

#include "segment/attachments.h"
#include "engine/clients.h"

/* Opens, or creates. *s is filled on SHMS_OK; a is the caller's wish, r what was found (docs in api.cdef.h). */
struct shms_open_request;
struct shms_open_result;
int shms_open(struct shms_store *s, const struct shms_open_request *a, struct shms_open_result *r);
/* Detaches; the store lives on. */
void shms_detach(struct shms_store *s);
/* Marks the store destroyed, removes its segment, wakes every sleeper. */
int shms_destroy(struct shms_store *s);
/* The kernel's view, once per second of use: SHMS_OK or SHMS_DESTROYED. Relights a beacon put out by mistake. */
int shms_revalidate(struct shms_store *s);

#endif
