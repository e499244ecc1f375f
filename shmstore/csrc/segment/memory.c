/* memory.c: what all kinds of memory have in common. The contract is in memory.h. */
#include "segment/memory.h"

#include <errno.h>

#include "os/compat.h"
#include "segment/request.h"

void shms_memory_choose(struct shms_store *s, const struct shms_open_request *a) {
    /* Other threads read and change what comes before `base` meanwhile. */
    memset(&s->base, 0, sizeof *s - offsetof(struct shms_store, base));
    s->liveness = s->fd = s->id = -1;
    s->memory = a->backend == SHMS_BACKEND_POSIX ? &shms_memory_posix : &shms_memory_sysv;
    s->private_store = a->name_kind == 4;
    s->key = a->backend == SHMS_BACKEND_POSIX ? 0 : a->key;
}

bool shms_commit_sparse(struct shms_store *s, uint64_t offset, uint64_t bytes) {
    return s->memory->commit(s, offset, bytes);
}

/* Touches each page by a read-modify-write that changes nothing, because other processes may write to these bytes. */
static void touch(struct shms_store *s) {
    for (uint64_t at = 0; at < s->size; at += SHMS_PAGE)
        shms_fetch_or_acq_rel((_Atomic uint64_t *)(s->base + at), 0);
}

int shms_memory_prefault(struct shms_store *s) {
    if (!shms_commit(s, 0, s->size)) {
        s->call = "fallocate";
        return s->short_of;
    }
    s->call = "madvise(MADV_POPULATE_WRITE)";
    while (madvise(s->base, s->size, MADV_POPULATE_WRITE) != 0) {
        if (errno == EINVAL) { /* Linux before 5.14 */
            touch(s);
            return 0;
        }
        if (errno != EINTR && errno != EAGAIN)
            return errno == EFAULT ? ENOMEM : errno; /* EFAULT: the system has no page left */
    }
    return 0;
}
