/* handle.h: handles: stores as Python knows them, numbers with a generation that every call verifies
 *
 * Handles of one process that may write to one store share an attachment: mapping, client slot, liveness mark
 * (attachments.h). Threads keep apart in it by the GIL, whether they use one handle or several. A handle has its own
 * timeout, ttl and codec. A read-only handle has an attachment of its own, which cannot write.
 * INVARIANTS
 *   H1  The table changes only with the GIL held. A call that keeps the GIL needs only the check, because no other
 *       thread can close the handle meanwhile.
 *   H2  A call that releases the GIL is counted in `word`. Closing lets no further call in, and the last call in
 *       progress detaches. So no call touches a page that is unmapped.
 *   H3  The structure of a closed handle is used again under the next generation, so an old handle never finds it. */
#ifndef SHMS_HANDLE_H
#define SHMS_HANDLE_H

#include "engine/clients.h"
#include "engine/open.h"

struct shms_handle {
    struct shms_store *s;  /* NULL: the handle is closed and detached */
    _Atomic uint64_t word; /* generation 32 | closing 1 | calls in progress 31 */
    uint64_t timeout, ttl; /* ns; ttl 0: never expires */
    uint32_t codec;
    _Atomic uint32_t lock_holder;       /* also written by calls that have released the GIL: its client number, */
    _Atomic uint64_t lock_holder_owner; /* and the owner word of that client slot */
    uint32_t index;                     /* in the table */
    uint32_t views;                     /* open ones; each counts as a call in progress */
    uint32_t epoch;                     /* the fork epoch in which it was opened */
};
#define SHMS_HANDLE_CLOSING (1ull << 31)
#define SHMS_HANDLES_MAX 65536u

extern struct shms_handle *shms_handles[SHMS_HANDLES_MAX];

/* NULL: the handle is closed, or never existed. */
static inline struct shms_handle *shms_handle_get(int64_t handle) {
    uint32_t index = (uint32_t)handle & (SHMS_HANDLES_MAX - 1);
    struct shms_handle *h = shms_handles[index];
    if (SHMS_UNLIKELY(handle <= 0 || !h))
        return NULL;
    uint64_t w = shms_load_acquire(&h->word);
    return SHMS_LIKELY(w >> 32 == (uint64_t)handle >> 16 && !(w & SHMS_HANDLE_CLOSING)) ? h : NULL;
}

/* Makes a handle > 0, which takes over a use of the attachment, or returns a status. A closed structure is used again
 * once its last call has returned. REQUIRES: the GIL. */
int64_t shms_handle_add(struct shms_store *s);
/* No further call gets in. The last call in progress detaches. */
void shms_handle_close(struct shms_handle *h);

/* For calls that release the GIL: enter counts the call; leave may detach. */
struct shms_handle *shms_handle_enter(int64_t handle);
void shms_handle_leave(struct shms_handle *h);
/* A view counts as a call in progress until it ends. REQUIRES: the GIL. */
void shms_handle_view_add(struct shms_handle *h);
void shms_handle_view_remove(struct shms_handle *h);
/* Finds a closed handle, too, while it has views. NULL: there is none. */
struct shms_handle *shms_handle_of_view(int64_t handle);
/* Gives up the client slot, unless a call of this attachment is in progress or a view is open. Its handles stay usable:
 * their next call claims another slot. REQUIRES: the GIL. */
void shms_handle_leave_slot(struct shms_store *s);
/* Is a call in progress to end, because the handle was closed? One whose store was resized was closed for another handle of
 * that store: the call may go on. */
static inline bool shms_handle_closing(struct shms_handle *h) {
    return (shms_load_acquire(&h->word) & SHMS_HANDLE_CLOSING) != 0 &&
           SHMS_OWNER_STATE(shms_load_relaxed(&h->s->header->state)) != SHMS_STATE_SUPERSEDED;
}

/* When the time is up, for the error message: notes which process holds the lock, if any does by now. */
void shms_handle_note_lock_holder(struct shms_handle *h, _Atomic uint64_t *busy);

/* Have deaths come since the last call of take_events? */
bool shms_handle_has_events(const struct shms_handle *h);
bool shms_handle_take_events(struct shms_handle *h);

/* The rare cases of shms_handle_usable. The store is destroyed. It was resized, and is in another segment now
 * (SHMS_SUPERSEDED). This process was forked: it becomes a client of its
 * own. It has lost its client slot after its liveness mark was missing (liveness.c): it claims another one. */
int shms_handle_recheck(struct shms_handle *h);

/* Another process took this one for dead, and its client slot is no longer its own. What other threads hold is lost
 * with the slot. They find out at their next wait, and until then this process does not claim another slot. */
static inline bool shms_lost_slot(const struct shms_store *s) {
    return s->me && shms_load_acquire(&s->me->owner) != s->owner;
}

/* SHMS_OK: the handle may write. Else SHMS_READ_ONLY, or why this forked child has no client slot. */
int shms_handle_refuses_writing(struct shms_handle *h);
static inline int shms_handle_may_write(struct shms_handle *h) {
    return SHMS_LIKELY(!h->s->readonly) ? SHMS_OK : shms_handle_refuses_writing(h);
}

#define SHMS_SECOND 1000000000ull
/* At the start of every operation: is the store destroyed, was this process forked, is its slot its own, has a second
 * of use passed? */
static inline int shms_handle_usable(struct shms_handle *h) {
    struct shms_store *s = h->s;
    if (SHMS_UNLIKELY(SHMS_OWNER_STATE(shms_load_relaxed(&s->header->state)) != SHMS_STATE_READY ||
                      s->fork_epoch != shms_fork_epoch || shms_lost_slot(s) ||
                      shms_os_now_coarse() - shms_load_relaxed(&s->validated_at) > SHMS_SECOND))
        return shms_handle_recheck(h);
    return SHMS_OK;
}

#endif
