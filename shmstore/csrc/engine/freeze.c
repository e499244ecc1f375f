/* freeze.c: the contract, steps and deaths are in freeze.h. */
#include "engine/freeze.h"

#include "segment/memory.h"

static _Atomic uint32_t *lower_half(_Atomic uint64_t *word) { return (_Atomic uint32_t *)word; } /* little-endian */

/* F3. The client slot is loaded after the word: if that is still the word, its client has not left. */
static bool is_orphaned(struct shms_store *s, uint64_t word) {
    uint32_t number = SHMS_RESIZER(word);
    return (number || word & SHMS_RESIZE_FROZEN) &&
           (!number || number > s->client_count ||
            SHMS_OWNER_STATE(shms_load_acquire(&shms_client_at(s, number - 1)->owner)) == SHMS_CLIENT_FREE);
}

int shms_freeze_begin(struct shms_store *s, struct shms_freeze *f, uint32_t *resizer) {
    struct shms_header *h = s->header;
    f->ready = shms_load_acquire(&h->state);
    if (SHMS_OWNER_STATE(f->ready) != SHMS_STATE_READY)
        return SHMS_OWNER_STATE(f->ready) == SHMS_STATE_SUPERSEDED ? SHMS_SUPERSEDED : SHMS_DESTROYED;
    uint64_t w = shms_load_acquire(&h->resize);
    *resizer = SHMS_RESIZER(w);
    if (*resizer || w & SHMS_RESIZE_FROZEN) {
        if (is_orphaned(s, w))
            shms_freeze_end(s, w);
        return SHMS_BUSY;
    }
    f->word = (w + SHMS_RESIZE_ONE) | s->number;
    return shms_cas_seq_cst(&h->resize, &w, f->word) ? SHMS_OK : SHMS_BUSY;
}

bool shms_freeze(struct shms_store *s, struct shms_freeze *f) {
    uint64_t w = f->word;
    f->word |= SHMS_RESIZE_FROZEN;
    return shms_cas_seq_cst(&s->header->resize, &w, f->word);
}

bool shms_freeze_undo(struct shms_store *s, struct shms_freeze *f) {
    uint64_t w = f->word;
    f->word = (w & ~SHMS_RESIZE_FROZEN) + SHMS_RESIZE_ONE;
    bool done = shms_cas_seq_cst(&s->header->resize, &w, f->word);
    if (done)
        shms_os_futex_wake_all(lower_half(&s->header->resize));
    return done;
}

bool shms_freeze_commit(struct shms_store *s, const struct shms_freeze *f) {
    uint64_t ready = f->ready;
    bool done = shms_cas_seq_cst(&s->header->state, &ready, SHMS_OWNER_WITH_STATE(ready, SHMS_STATE_SUPERSEDED));
    if (done)
        shms_os_futex_wake_all(lower_half(&s->header->resize));
    return done;
}

bool shms_freeze_end(struct shms_store *s, uint64_t w) {
    struct shms_header *h = s->header;
    uint64_t state = shms_load_acquire(&h->state), successor = shms_load_acquire(&h->successor);
    if (shms_load_acquire(&h->resize) != w) /* both were loaded while it was that resize */
        return false;
    uint64_t next = SHMS_OWNER(SHMS_OWNER_GENERATION(state) + 1, SHMS_OWNER_STATE(state), SHMS_OWNER_TAG(state),
                               SHMS_OWNER_PID(state));
    /* A creation word that another finder has changed meanwhile is not the one that the resizer expects either. */
    if (SHMS_OWNER_STATE(state) == SHMS_STATE_READY)
        shms_cas_seq_cst(&h->state, &state, next);
    if (SHMS_OWNER_STATE(state) == SHMS_STATE_SUPERSEDED)
        return false;
    if (successor) {
        s->memory->discard(s, successor);
        shms_cas_acq_rel(&h->successor, &successor, 0); /* the kernel may give the identifier to another segment */
    }
    if (!shms_cas_seq_cst(&h->resize, &w, (w & ~(SHMS_RESIZE_FROZEN | 0xffffull)) + SHMS_RESIZE_ONE))
        return false;
    shms_os_futex_wake_all(lower_half(&h->resize));
    return true;
}

void shms_freeze_await(struct shms_store *s, uint64_t nanoseconds) {
    uint64_t w = shms_load_seq_cst(&s->header->resize);
    if (!(w & SHMS_RESIZE_FROZEN) || shms_superseded(s))
        return;
    if (is_orphaned(s, w))
        shms_freeze_end(s, w);
    else
        shms_os_futex_wait(lower_half(&s->header->resize), (uint32_t)w, nanoseconds);
}
