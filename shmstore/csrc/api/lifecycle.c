/* lifecycle.c: opening and closing, as cffi binds them */
#include <stdlib.h>

#include "api/api.h"
#include "api/handle.h"

/* shms_w_open releases the GIL, so it cannot change the table of handles (H1). It fills this structure, and shms_adopt,
 * which keeps the GIL, moves it into the table. */
struct opened {
    struct shms_store s;
};

void *shms_w_open(const struct shms_open_request *request, struct shms_open_result *result, int *status) {
    struct opened *o = calloc(1, sizeof *o);
    *status = SHMS_NO_MEMORY;
    if (!o || !shms_attachments_add(&o->s)) { /* from here on a forked child gives up the liveness mark */
        free(o);
        return NULL;
    }
    *status = shms_open(&o->s, request, result);
    if (*status != SHMS_OK) {
        shms_attachments_remove(&o->s);
        free(o);
        return NULL;
    }
    o->s.fork_epoch = shms_fork_epoch; /* set here: a signal handler may fork before shms_adopt is called */
    return o;
}

int64_t shms_adopt(void *opened) {
    struct opened *o = opened;
    shms_attachments_remove(&o->s);
    int64_t handle = shms_handle_add(&o->s);
    if (handle < 0)
        shms_detach(&o->s);
    free(o);
    return handle;
}

void shms_close(int64_t handle) {
    struct shms_handle *h = shms_handle_get(handle);
    if (h)
        shms_handle_close(h);
}

void shms_leave(int64_t handle) {
    struct shms_handle *h = shms_handle_get(handle);
    struct shms_store *s = h ? &h->s : NULL;
    if (!s || !s->me || s->fork_epoch != shms_fork_epoch || shms_load_relaxed(&s->records_busy) || s->pins_used)
        return;
    /* A call that has released the GIL may hold a lock in the name of this client (check, recover). Either its count is
     * seen here, and the slot is kept; or it sees the epoch (enter in api.c), and becomes a client again. The two
     * seq_cst fences allow no third case. */
    s->fork_epoch = SHMS_NO_EPOCH;
    shms_fence_seq_cst();
    if (shms_load_acquire(&h->word) & (SHMS_HANDLE_CLOSING - 1))
        s->fork_epoch = shms_fork_epoch;
    else
        shms_client_leave(s);
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
