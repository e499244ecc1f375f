/* resizing.c: a resize in steps, as cffi binds it. It counts as a view of its handle, so the old segment stays mapped until the
 * resize ends, even if the handle is closed. */
#include <stdlib.h>

#include "api/api.h"
#include "api/handle.h"
#include "engine/resize.h"

struct resizing {
    int64_t handle;
    struct shms_handle *h;
    struct shms_resize *resize;
};

int shms_resize_start(int64_t handle, const struct shms_open_request *request, struct shms_open_result *result,
                      void **resizing) {
    struct shms_handle *h = shms_handle_get(handle);
    uint32_t resizer = 0;
    int rc = h ? shms_handle_usable(h) : SHMS_CLOSED;
    if (rc == SHMS_OK)
        rc = shms_handle_may_write(h);
    if (rc != SHMS_OK)
        return rc;
    struct resizing *z = calloc(1, sizeof *z);
    rc = z ? shms_resize_begin(h->s, request, result, &z->resize, &resizer) : SHMS_NO_MEMORY;
    if (rc != SHMS_OK) {
        free(z);
        return rc;
    }
    z->handle = handle;
    z->h = h;
    shms_handle_view_add(h);
    *resizing = z;
    return rc;
}

int shms_w_resize(void *resizing) {
    struct resizing *z = resizing;
    _Atomic uint64_t *busy = NULL;
    /* It reads the old segment without pins: no thread gives pages back meanwhile. */
    shms_fetch_add_acq_rel(&z->h->s->calls_without_gil, 1);
    int rc = shms_resize_step(z->resize, z->h->timeout, &busy);
    shms_fetch_add_acq_rel(&z->h->s->calls_without_gil, (uint32_t)-1);
    if (rc == SHMS_TIMEOUT)
        shms_handle_note_lock_holder(z->h, busy);
    return rc;
}

void shms_resize_leave(void **resizing) {
    struct resizing *z = *resizing;
    *resizing = NULL;
    if (!z)
        return;
    shms_resize_end(z->resize);
    struct shms_handle *h = shms_handle_of_view(z->handle);
    if (h)
        shms_handle_view_remove(h);
    free(z);
}
