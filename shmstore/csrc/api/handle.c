/* handle.c: the table of handles. The contract is in handle.h. */
#include "api/handle.h"

#include <stdlib.h>

#include "api/deaths.h"
#include "api/listen.h"
#include "engine/freeze.h"
#include "engine/recover.h"
#include "engine/sleepers.h"
#include "segment/memory.h"

struct shms_handle *shms_handles[SHMS_HANDLES_MAX];

static _Atomic uint32_t first_free; /* a hint: all indices below it are in use. Keeps indices, and structures, few */

static uint32_t high; /* indices from here on have never been in use */

static void detach(struct shms_handle *h) {
    struct shms_store *s = h->s;
    uint32_t index = h->index, free;
    __atomic_store_n(&h->s, NULL, __ATOMIC_RELEASE); /* from here on shms_handle_add may use the structure again */
    shms_store_drop(s);
    free = shms_load_relaxed(&first_free);
    while (index < free && !shms_cas_acq_rel(&first_free, &free, index))
        ;
}

struct shms_handle *shms_handle_enter(int64_t handle) {
    struct shms_handle *h = shms_handle_get(handle);
    if (!h)
        return NULL;
    uint64_t w = shms_load_acquire(&h->word);
    do
        if (w >> 32 != (uint64_t)handle >> 16 || (w & SHMS_HANDLE_CLOSING))
            return NULL;
    while (!shms_cas_acq_rel(&h->word, &w, w + 1));
    return h;
}

void shms_handle_leave(struct shms_handle *h) {
    /* The decrement releases what the call did. The last call of a closing handle acquires that, then detaches. */
    uint64_t w = shms_fetch_add_acq_rel(&h->word, (uint64_t)-1);
    if ((w & SHMS_HANDLE_CLOSING) && (w & (SHMS_HANDLE_CLOSING - 1)) == 1)
        detach(h);
}

void shms_handle_note_lock_holder(struct shms_handle *h, _Atomic uint64_t *busy) {
    struct shms_store *s = h->s;
    uint32_t holder = shms_frozen(s) ? SHMS_RESIZER(shms_load_acquire(&s->header->resize))
                      : busy         ? SHMS_LOCK_HOLDER(shms_load_acquire(busy))
                                     : 0;
    bool known = holder && holder <= s->client_count;
    shms_store_relaxed(&h->lock_holder_owner, known ? shms_load_acquire(&shms_client_at(s, holder - 1)->owner) : 0);
    shms_store_relaxed(&h->lock_holder, known ? holder : 0);
}

void shms_handle_view_add(struct shms_handle *h) {
    h->views++;
    shms_fetch_add_acq_rel(&h->word, 1);
}

void shms_handle_view_remove(struct shms_handle *h) {
    h->views--;
    shms_handle_leave(h);
}

struct shms_handle *shms_handle_of_view(int64_t handle) {
    struct shms_handle *h = handle > 0 ? shms_handles[(uint32_t)handle & (SHMS_HANDLES_MAX - 1)] : NULL;
    return h && h->views && shms_load_acquire(&h->word) >> 32 == (uint64_t)handle >> 16 ? h : NULL;
}

/* In a forked child, the parent's threads do not exist, so their calls are not in progress. Its Python objects do
 * exist, so their views are. */
static void forget_parents_calls(void) {
    shms_listen_forked();
    shms_deaths_forked();
    shms_sleepers_forked();
    for (uint32_t i = 0; i < high; i++)
        if (shms_handles[i]) {
            uint64_t w = shms_load_relaxed(&shms_handles[i]->word);
            shms_store_relaxed(&shms_handles[i]->word, (w & ~(SHMS_HANDLE_CLOSING - 1)) | shms_handles[i]->views);
        }
}

/* The first handle of the attachment, from *i on; NULL: there is no other. */
static struct shms_handle *next_of(const struct shms_store *s, uint32_t *i) {
    for (; *i < high; ++*i)
        if (shms_handles[*i] && __atomic_load_n(&shms_handles[*i]->s, __ATOMIC_ACQUIRE) == s)
            return shms_handles[(*i)++];
    return NULL;
}

static bool any_call(const struct shms_store *s) {
    struct shms_handle *h;
    for (uint32_t i = 0; (h = next_of(s, &i));)
        if (shms_load_acquire(&h->word) & (SHMS_HANDLE_CLOSING - 1))
            return true;
    return false;
}

/* A call that has released the GIL may hold a lock in the name of this client (recover). Either its count is seen here,
 * and the slot is kept; or it sees the epoch (enter in api.c), and becomes a client again. The two seq_cst fences allow
 * no third case. */
void shms_handle_leave_slot(struct shms_store *s) {
    if (!s->me || s->fork_epoch != shms_fork_epoch || shms_load_relaxed(&s->records_busy) ||
        shms_load_relaxed(&s->pins_used))
        return;
    s->fork_epoch = SHMS_NO_EPOCH;
    shms_fence_seq_cst();
    if (any_call(s))
        s->fork_epoch = shms_fork_epoch;
    else
        shms_client_leave(s);
}

/* A forked child that closed all handles which it opened itself is a client only if it uses one that it inherited. Most
 * children do not, and end without giving up a slot (os._exit). */
static void leave_to_parent(struct shms_store *s) {
    struct shms_handle *h, *inherited = NULL;
    for (uint32_t i = 0; (h = next_of(s, &i)); inherited = h)
        if (h->epoch == shms_fork_epoch)
            return;
    if (inherited)
        shms_handle_leave_slot(s);
}

bool shms_handle_has_events(const struct shms_handle *h) {
    return shms_load_acquire(&h->s->takeovers) != h->s->deaths_logged;
}

bool shms_handle_take_events(struct shms_handle *h) {
    bool any = shms_handle_has_events(h);
    h->s->deaths_logged = shms_load_acquire(&h->s->takeovers);
    return any;
}

int shms_handle_recheck(struct shms_handle *h) {
    struct shms_store *s = h->s;
    if (shms_superseded(s)) /* also a forked child: it becomes a client of the successor */
        return SHMS_SUPERSEDED;
    if (s->fork_epoch == shms_fork_epoch && SHMS_UNLIKELY(shms_lost_slot(s))) {
        if (shms_load_relaxed(&s->records_busy))
            return SHMS_NO_CLIENT;
        s->memory->unmark(s);
        s->fork_epoch = SHMS_NO_EPOCH;
    }
    /* In another epoch: this process was forked, or the slot was lost or given up (shms_leave). */
    if (s->fork_epoch != shms_fork_epoch) {
        s->liveness = -1;
        int rc = s->readonly ? SHMS_OK : shms_client_claim(s);
        /* A forked child for which there is no slot reads, as a read-only handle does, until it gets one. */
        s->without_slot = rc != SHMS_OK && s->fork_epoch != SHMS_NO_EPOCH;
        if (rc != SHMS_OK && !s->without_slot)
            return rc;
        s->readonly |= s->without_slot;
        s->fork_epoch = shms_fork_epoch;
    }
    uint32_t state = SHMS_OWNER_STATE(shms_load_relaxed(&s->header->state));
    if (state == SHMS_STATE_DESTROYED)
        return SHMS_DESTROYED;
    if (state != SHMS_STATE_READY)
        return SHMS_CORRUPT;
    if (shms_os_now_coarse() - shms_load_relaxed(&s->validated_at) > SHMS_SECOND)
        return shms_revalidate(s);
    return SHMS_OK;
}

int shms_handle_refuses_writing(struct shms_handle *h) {
    struct shms_store *s = h->s;
    if (!s->without_slot)
        return SHMS_READ_ONLY;
    int rc = shms_client_claim(s);
    if (rc == SHMS_OK)
        s->readonly = s->without_slot = false;
    return rc;
}

/* Makes a structure in the state of a closed handle. It is never freed: another thread may still read it. */
static struct shms_handle *make_handle(uint32_t index) {
    struct shms_handle *h = calloc(1, sizeof *h);
    if (h) {
        h->index = index;
        shms_store_relaxed(&h->word, SHMS_HANDLE_CLOSING);
        shms_handles[index] = h;
        high = shms_max(high, index + 1);
    }
    return h;
}

int64_t shms_handle_add(struct shms_store *s) {
    shms_attachments_at_fork(forget_parents_calls);
    uint32_t first = shms_load_relaxed(&first_free);
    for (uint32_t i = 0; i < SHMS_HANDLES_MAX; i++) {
        uint32_t index = (first + i) % SHMS_HANDLES_MAX;
        struct shms_handle *h = shms_handles[index] ? shms_handles[index] : make_handle(index);
        if (!h)
            return SHMS_NO_MEMORY;
        uint64_t w = shms_load_acquire(&h->word), generation = (w >> 32) + 1;
        /* In use, or closed and not yet detached. */
        if (!(w & SHMS_HANDLE_CLOSING) || (w & (SHMS_HANDLE_CLOSING - 1)) || __atomic_load_n(&h->s, __ATOMIC_ACQUIRE))
            continue;
        shms_cas_acq_rel(&first_free, &first, index + 1); /* fails if a lower index has become free meanwhile */
        h->s = s;
        h->timeout = 5 * SHMS_SECOND;
        h->ttl = 0;
        h->codec = SHMS_CODEC_MSGPACK;
        shms_store_relaxed(&h->lock_holder, 0);
        h->views = 0;
        h->epoch = shms_fork_epoch;
        shms_store_release(&h->word, generation << 32);
        return (int64_t)(generation << 16 | index);
    }
    return SHMS_NO_MEMORY;
}

void shms_handle_close(struct shms_handle *h) {
    uint64_t w = shms_load_acquire(&h->word);
    while (!shms_cas_acq_rel(&h->word, &w, w | SHMS_HANDLE_CLOSING))
        ;
    shms_listen_ended((int64_t)(w >> 32 << 16 | h->index));
    if (w & (SHMS_HANDLE_CLOSING - 1)) {
        shms_poke(); /* some may sleep in calls of this handle */
        return;
    }
    struct shms_store *shared = h->epoch != SHMS_FIRST_EPOCH && h->epoch == shms_fork_epoch ? h->s : NULL;
    detach(h);
    if (shared)
        leave_to_parent(shared);
}
