/* lifecycle.c: opening and closing, as cffi binds them */
#include <stdlib.h>

#include "api/api.h"
#include "api/handle.h"

/* Releases the GIL, so it cannot change the table of handles (H1). shms_adopt, which keeps the GIL, makes a handle of the
 * attachment. */
void *shms_open_begin(const struct shms_open_request *request, struct shms_open_result *result, int *status) {
    struct shms_store *s = calloc(1, sizeof *s);
    *status = SHMS_NO_MEMORY;
    if (!s || !shms_attachments_add(s)) { /* from here on a forked child gives up the liveness mark */
        free(s);
        return NULL;
    }
    s->users = 1;
    s->fork_epoch = shms_fork_epoch; /* not later: once it is a client, other threads may join and use it */
    *status = shms_open(s, request, result);
    struct shms_store *joined = s->joined;
    if (*status != SHMS_OK || joined) {
        shms_attachments_remove(s);
        free(s);
        return *status == SHMS_OK ? joined : NULL;
    }
    return s;
}

/* An attachment that this forked child inherited may have no client slot yet. Then it gets one now, or the open fails. */
int64_t shms_adopt(void *opened) {
    struct shms_store *s = opened;
    int64_t handle = shms_handle_add(s);
    if (handle < 0) {
        shms_store_drop(s);
        return handle;
    }
    struct shms_handle *h = shms_handle_get(handle);
    int rc = s->sharing == SHMS_SHARED && s->fork_epoch != shms_fork_epoch ? shms_handle_recheck(h) : SHMS_OK;
    if (rc == SHMS_OK && s->without_slot)
        rc = shms_handle_may_write(h);
    if (rc == SHMS_OK || rc == SHMS_DESTROYED || rc == SHMS_CORRUPT) /* the first call says so */
        return handle;
    shms_handle_close(h);
    return rc;
}

void shms_close(int64_t handle) {
    struct shms_handle *h = shms_handle_get(handle);
    if (h)
        shms_handle_close(h);
}

void shms_leave(int64_t handle) {
    struct shms_handle *h = shms_handle_get(handle);
    if (h)
        shms_handle_leave_slot(h->s);
}

int shms_configure(int64_t handle, uint64_t timeout, uint64_t ttl, uint32_t codec) {
    struct shms_handle *h = shms_handle_get(handle);
    if (!h)
        return SHMS_CLOSED;
    h->timeout = timeout;
    h->ttl = ttl;
    h->codec = codec;
    return SHMS_OK;
}
