/* hear.c: what an event loop calls that waits for many keys, and what a thread calls that waits for a death, as cffi binds it. shmstore/_store/listening.py is the loop's
 * side. */
#include "api/api.h"
#include "api/handle.h"
#include "api/deaths.h"
#include "api/listen.h"
#include "engine/sleepers.h"
#include "engine/wait.h"

static int usable(int64_t handle, struct shms_handle **h) {
    *h = shms_handle_get(handle);
    return *h ? shms_handle_usable(*h) : SHMS_CLOSED;
}

void shms_event_open(int *fd) {
    if (*fd < 0)
        *fd = shms_os_event_open();
}
void shms_event_clear(int fd) { shms_os_event_clear(fd); }
void shms_event_close(int *fd) {
    shms_os_close(*fd);
    *fd = -1;
}

int shms_listen(int64_t handle, int fd, uint32_t *rings) {
    struct shms_handle *h;
    int rc = usable(handle, &h);
    return rc == SHMS_OK ? shms_listen_add(h->s, handle, fd, rings) : rc;
}

void shms_unlisten(int64_t handle, int fd) { shms_listen_remove(handle, fd); }

int shms_heard(int64_t handle, uint32_t *rings, uint32_t *buckets) {
    struct shms_handle *h;
    return usable(handle, &h) == SHMS_OK ? shms_bell_heard(h->s, rings, buckets) : -1;
}

int shms_announce(int64_t handle, const char *key, uint32_t length, uint32_t kind, uint32_t has_after, uint64_t after,
                  struct shms_announced *answer) {
    struct shms_handle *h;
    struct shms_key k;
    int rc = usable(handle, &h);
    if (rc != SHMS_OK)
        return rc;
    shms_key_init(h->s, &k, key, length, kind);
    answer->bucket = (uint32_t)k.home;
    bool tagged = false;
    rc = shms_wait_announce(h->s, &k, has_after != 0, after, &answer->version, &answer->count, &answer->left, &tagged);
    answer->tagged = tagged;
    return rc;
}

uint32_t shms_pokes_now(void) { return shms_pokes(); }

void shms_watch(int64_t handle, const char *owner, uint32_t length, uint32_t *watch) {
    struct shms_handle *h;
    struct shms_lock_owner o;
    if (length != sizeof o || usable(handle, &h) != SHMS_OK)
        return;
    memcpy(&o, owner, sizeof o);
    *watch = shms_deaths_watch(h->s, o);
}

void shms_unwatch(uint32_t *watch) {
    if (*watch)
        shms_deaths_unwatch(*watch);
    *watch = 0;
}

int64_t shms_moved(int64_t handle, uint32_t *buckets, const uint32_t *counts, uint32_t count) {
    struct shms_handle *h;
    int64_t moved = 0;
    if (usable(handle, &h) != SHMS_OK)
        return -1;
    for (uint32_t i = 0; i < count; i++)
        if (buckets[i] < h->s->bucket_count && shms_wait_count(h->s, buckets[i]) != counts[i])
            buckets[moved++] = buckets[i];
    return moved;
}
