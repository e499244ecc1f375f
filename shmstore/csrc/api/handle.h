/* handle.h: attachments as Python knows them: numbers with a generation, checked at every call.
 *
 * The table is changed only with the GIL held. Calls that keep that lock need no more than the
 * check, since nobody can close the handle meanwhile. Calls that give it up are counted: closing lets no new
 * one in, and whoever is last out detaches, so nobody touches an unmapped page. */
#ifndef SHMS_HANDLE_H
#define SHMS_HANDLE_H

#include "engine/clients.h"
#include "engine/open.h"

struct shms_handle {
    struct shms_store s;
    _Atomic uint64_t word; /* generation 32 | closing 1 | calls inside 31 */
    uint64_t timeout, ttl; /* ns; ttl 0: for ever */
    uint32_t codec;
    _Atomic uint32_t lock_holder_pid; /* calls that gave the GIL up write it, too */
    uint32_t index;        /* in the table */
    uint32_t views;        /* open ones; each counts as a call inside */
    uint32_t counted_in;   /* the fork epoch that the calls in `word` were counted in */
    uint64_t deaths_logged, rebuilds_logged; /* of s.takeovers and s.rebuilds, how many were logged */
};
#define SHMS_HANDLE_CLOSING (1ull << 31)
#define SHMS_HANDLES_MAX 65536u

extern struct shms_handle *shms_handles[SHMS_HANDLES_MAX];

/* NULL: closed, or never opened. */
static inline struct shms_handle *shms_handle_get(int64_t handle) {
    uint32_t index = (uint32_t)handle & (SHMS_HANDLES_MAX - 1);
    struct shms_handle *h = shms_handles[index];
    if (SHMS_UNLIKELY(handle <= 0 || !h))
        return NULL;
    uint64_t w = shms_load_acquire(&h->word);
    return SHMS_LIKELY(w >> 32 == (uint64_t)handle >> 16 && !(w & SHMS_HANDLE_CLOSING)) ? h : NULL;
}

/* Moves the attachment into the table: a handle > 0, or a status. The structure of a closed handle is used again under
 * the next generation, once its last call has returned and the store is detached. REQUIRES the GIL. */
int64_t shms_handle_add(const struct shms_store *s);
/* No further call gets in; the last one that is inside detaches. */
void shms_handle_close(struct shms_handle *h);

/* Counted: for calls that give the GIL up. Pairs with leave, which may detach. */
struct shms_handle *shms_handle_enter(int64_t handle);
void shms_handle_leave(struct shms_handle *h);
/* A view counts as a call that is inside until it ends; with the GIL held. */
void shms_handle_view_add(struct shms_handle *h);
void shms_handle_view_remove(struct shms_handle *h);
/* Also of a closed handle: NULL only if there never was one. */
struct shms_handle *shms_handle_of_view(int64_t handle);
static inline bool shms_handle_closing(struct shms_handle *h) {
    return (shms_load_acquire(&h->word) & SHMS_HANDLE_CLOSING) != 0;
}

/* The time is up: who holds the lock that was waited for? For the message; nobody if it is NULL or free by now. */
void shms_handle_note_lock_holder(struct shms_handle *h, _Atomic uint64_t *busy);

/* Was anybody taken over or anything rebuilt since this was last asked? */
bool shms_handle_has_events(const struct shms_handle *h);
bool shms_handle_take_events(struct shms_handle *h);

/* The rare cases of shms_handle_usable: destroyed; forked, and then this child becomes a client of its own; robbed of
 * its place after its beacon was out (liveness.c), and then it takes another. */
int shms_handle_recheck(struct shms_handle *h);

#define SHMS_SECOND 1000000000ull
/* At the start of every operation: destroyed? forked? a second of use gone by? */
static inline int shms_handle_usable(struct shms_handle *h) {
    struct shms_store *s = &h->s;
    if (SHMS_UNLIKELY(SHMS_OWNER_STATE(shms_load_relaxed(&s->header->state)) != SHMS_STATE_READY ||
                      s->fork_epoch != shms_fork_epoch || shms_os_now_coarse() - shms_load_relaxed(&s->validated_at) > SHMS_SECOND))
        return shms_handle_recheck(h);
    return SHMS_OK;
}

#endif
