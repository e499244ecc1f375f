/* api.h: the control surface as C sees it: what cffi binds, and what only the methods of the type of stores call (python/) */
#ifndef SHMS_API_H
#define SHMS_API_H
#include <stdint.h>
#include "base/codec.h"
#include "segment/request.h"
#include "base/status.h"
#include "engine/compact.cdef.h"
#include "engine/repair.h"
#include "api/api.cdef.h"

/* Opening in two steps, because only the second needs the GIL. The first returns NULL and a status, or an object that
 * shms_adopt turns into a handle > 0, or a status. */
void *shms_open_begin(const struct shms_open_request *request, struct shms_open_result *result, int *status);
int64_t shms_adopt(void *opened);
/* No further call gets in. The last call in progress detaches. */
void shms_close(int64_t handle);
/* When the process ends: gives up the client slot, if no call is in progress. The handle stays usable for threads that
 * do not know of it: their next call claims another slot. */
void shms_leave(int64_t handle);
#endif
