/* freeze.c: the contract, steps and deaths are in freeze.h. */
#include "engine/freeze.h"

#include "segment/memory.h"

static _Atomic uint32_t *lower_half(_Atomic uint64_t *word) { return (_Atomic uint32_t *)word; } /* little-endian */

int shms_freeze_begin(struct shms_store *s, uint64_t *ready, uint32_t *resizer) {
    struct shms_header *h = s->header;
    *ready = shms_load_acquire(&h->state);
    if (SHMS_OWNER_STATE(*ready) != SHMS_STATE_READY)
        return SHMS_OWNER_STATE(*ready) == SHMS_STATE_SUPERSEDED ? SHMS_SUPERSEDED : SHMS_DESTROYED;
    uint64_t w = shms_load_acquire(&h->resize);
    *resizer = SHMS_RESIZER(w);
    if (*resizer || w & SHMS_RESIZE_FROZEN)
        return SHMS_BUSY;
    return shms_cas_seq_cst(&h->resize, &w, (w + SHMS_RESIZE_ONE) | s->number) ? SHMS_OK : SHMS_BUSY;
}

bool shms_freeze(struct shms_store *s) {
    uint64_t w = shms_load_acquire(&s->header->resize);
    return SHMS_RESIZER(w) == s->number && shms_cas_seq_cst(&s->header->resize, &w, w | SHMS_RESIZE_FROZEN);
}

bool shms_freeze_commit(struct shms_store *s, uint64_t ready) {
    bool done = shms_cas_seq_cst(&s->header->state, &ready, SHMS_OWNER_WITH_STATE(ready, SHMS_STATE_SUPERSEDED));
    if (done)
        shms_os_futex_wake_all(lower_half(&s->header->resize));
    return done;
}

bool shms_freeze_end(struct shms_store *s, uint32_t number) {
    struct shms_header *h = s->header;
    uint64_t w = shms_load_acquire(&h->resize), state = shms_load_acquire(&h->state);
    uint64_t successor = shms_load_acquire(&h->successor);
    if (SHMS_RESIZER(w) != number || shms_load_acquire(&h->resize) != w)
        return false;
    uint64_t next = SHMS_OWNER(SHMS_OWNER_GENERATION(state) + 1, SHMS_OWNER_STATE(state), SHMS_OWNER_TAG(state),
                               SHMS_OWNER_PID(state));
    /* A creation word that another finder has changed meanwhile is not the one that the resizer expects either. */
    if (SHMS_OWNER_STATE(state) == SHMS_STATE_SUPERSEDED ||
        (SHMS_OWNER_STATE(state) == SHMS_STATE_READY && !shms_cas_seq_cst(&h->state, &state, next) &&
         SHMS_OWNER_STATE(state) == SHMS_STATE_SUPERSEDED))
        return false;
    if (successor)
        s->memory->discard(s, successor);
    if (!shms_cas_seq_cst(&h->resize, &w, (w & ~(SHMS_RESIZE_FROZEN | 0xffffull)) + SHMS_RESIZE_ONE))
        return false;
    shms_os_futex_wake_all(lower_half(&h->resize));
    return true;
}

void shms_freeze_await(struct shms_store *s, uint64_t nanoseconds) {
    uint64_t w = shms_load_seq_cst(&s->header->resize);
    if (w & SHMS_RESIZE_FROZEN && !shms_superseded(s))
        shms_os_futex_wait(lower_half(&s->header->resize), (uint32_t)w, nanoseconds);
}
