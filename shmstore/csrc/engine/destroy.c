/* destroy.c: the end of a store. Other processes learn of it from the header, or from the kernel (shms_revalidate).
 *
 * WRITER  1 remove the memory, so no process can find the store   2 mark the header destroyed   3 wake all waiters
 * A resize may supersede the store between 1 and 2. Then its successor is removed, too: by this process, or, if it does not
 * find its name or key any more, by the resizer (resize.c).
 * CRASH  between 1 and 2: the header says ready. Each attached process asks the kernel once in a second of use, and the
 *   first one that learns of the removal does steps 2 and 3. */
#include <errno.h>

#include "engine/freeze.h"
#include "segment/memory.h"
#include "engine/open.h"
#include "engine/sleepers.h"

/* False: it is superseded. */
static bool mark_destroyed(struct shms_store *s) {
    uint64_t state = shms_load_acquire(&s->header->state);
    while (SHMS_OWNER_STATE(state) != SHMS_STATE_DESTROYED && SHMS_OWNER_STATE(state) != SHMS_STATE_SUPERSEDED &&
           !shms_cas_acq_rel(&s->header->state, &state, SHMS_OWNER_WITH_STATE(state, SHMS_STATE_DESTROYED)))
        ;
    if (SHMS_OWNER_STATE(state) == SHMS_STATE_SUPERSEDED)
        return false;
    shms_wake_everybody(s);
    return true;
}

int shms_destroy(struct shms_store *s) {
    if (shms_superseded(s))
        return SHMS_SUPERSEDED;
    int error = s->refused = s->memory->remove(s);
    if (error)
        return error == ETIMEDOUT ? SHMS_TIMEOUT : SHMS_SYSTEM;
    if (mark_destroyed(s))
        return SHMS_OK;
    s->memory->discard(s, shms_load_acquire(&s->header->successor));
    return SHMS_SUPERSEDED;
}

int shms_revalidate(struct shms_store *s) {
    struct shms_memory_state d;
    shms_store_relaxed(&s->validated_at, shms_os_now_coarse());
    if (SHMS_OWNER_STATE(shms_load_relaxed(&s->header->state)) == SHMS_STATE_DESTROYED)
        return SHMS_DESTROYED;
    if (shms_superseded(s))
        return SHMS_SUPERSEDED;
    s->memory->mark_again(s);
    if (s->memory->state(s, &d) == 0 && d.removed) {
        if (shms_superseded(s))
            return SHMS_SUPERSEDED;
        if (!s->readonly)
            mark_destroyed(s);
        if (!s->readonly && s->root) /* the segment with the key was removed, but this one was not (ipcrm -M) */
            s->memory->remove(s);
        shms_store_relaxed(&s->validated_at, 0); /* a read-only attachment cannot mark it, so each call asks again */
        return SHMS_DESTROYED;
    }
    return SHMS_OK;
}
