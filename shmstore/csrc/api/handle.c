/* handle.c: see handle.h. */
#include "api/handle.h"

#include <stdlib.h>

#include "engine/adopt.h"
#include "api/api.h"
#include "segment/memory.h"

struct shms_handle *shms_handles[SHMS_HANDLES_MAX];

static _Atomic uint32_t first_free; /* a hint: the places below it are taken. Few handles at once, few structures */

static void detach(struct shms_handle *h) {
    uint32_t index = h->index, free;
    shms_attachments_remove(&h->s);
    shms_detach(&h->s); /* its last store lets another have the place */
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
    uint64_t w = shms_fetch_add_acq_rel(&h->word, (uint64_t)-1);
    if ((w & SHMS_HANDLE_CLOSING) && (w & (SHMS_HANDLE_CLOSING - 1)) == 1)
        detach(h);
}

void shms_handle_blame(struct shms_handle *h, _Atomic uint64_t *busy) {
    struct shms_store *s = &h->s;
    uint32_t owner = busy ? (uint32_t)(shms_load_acquire(busy) & 0xffff) : 0;
    bool known = owner && owner <= s->client_count;
    shms_store_relaxed(&h->blamed_pid, known ? SHMS_WHO_PID(shms_load_acquire(&shms_client_at(s, owner - 1)->entry)) : 0);
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

/* In a forked child the parent's threads that were inside do not exist; the views of its Python objects do. */
static void forget_parents_calls(struct shms_handle *h) {
    uint64_t w = shms_load_acquire(&h->word);
    while (!shms_cas_acq_rel(&h->word, &w, (w & ~(SHMS_HANDLE_CLOSING - 1)) | h->views))
        ;
    h->counted_in = shms_fork_epoch;
}

bool shms_handle_has_news(const struct shms_handle *h) {
    return shms_load_acquire(&h->s.takeovers) != h->deaths_told || shms_load_relaxed(&h->s.rebuilds) != h->rebuilds_told;
}

bool shms_handle_news(struct shms_handle *h) {
    bool news = shms_handle_has_news(h);
    h->deaths_told = shms_load_acquire(&h->s.takeovers);
    h->rebuilds_told = shms_load_relaxed(&h->s.rebuilds);
    return news;
}

/* Somebody held this process for dead. What other threads have in hand is lost with the place: they find out when
 * they next wait, and until then nobody goes on. */
static bool robbed(struct shms_store *s) { return s->me && shms_load_acquire(&s->me->entry) != s->entry; }

int shms_handle_recheck(struct shms_handle *h) {
    struct shms_store *s = &h->s;
    if (s->fork_epoch == shms_fork_epoch && SHMS_UNLIKELY(robbed(s))) {
        if (shms_load_relaxed(&s->records_busy))
            return SHMS_NO_CLIENT;
        s->memory->put_out(s);
        s->fork_epoch = SHMS_NO_EPOCH;
    }
    if (s->fork_epoch != shms_fork_epoch) {
        if (h->counted_in != shms_fork_epoch) {
            forget_parents_calls(h);
            shms_store_relaxed(&s->away, 0);
        }
        s->beacon = -1;
        int rc = s->readonly ? SHMS_OK : shms_client_claim(s);
        if (rc != SHMS_OK)
            return rc;
        s->fork_epoch = shms_fork_epoch;
    }
    uint32_t state = SHMS_WHO_STATE(shms_load_relaxed(&s->header->state));
    if (state == SHMS_STATE_DESTROYED)
        return SHMS_DESTROYED;
    if (state != SHMS_STATE_READY)
        return SHMS_CORRUPT;
    if (shms_os_now_coarse() - shms_load_relaxed(&s->looked_at) > SHMS_SECOND)
        return shms_look(s);
    return SHMS_OK;
}

/* A structure as a closed handle leaves it. It stays: threads that come too late look into it. */
static struct shms_handle *make_place(uint32_t index) {
    struct shms_handle *h = calloc(1, sizeof *h);
    if (h) {
        h->index = index;
        shms_store_relaxed(&h->word, SHMS_HANDLE_CLOSING);
        shms_handles[index] = h;
    }
    return h;
}

/* A place in the table: a closed handle's structure is used again under the next generation, once its last call is
 * out and the store detached. */
static int64_t place(const struct shms_store *s) {
    uint32_t first = shms_load_relaxed(&first_free);
    for (uint32_t i = 0; i < SHMS_HANDLES_MAX; i++) {
        uint32_t index = (first + i) % SHMS_HANDLES_MAX;
        struct shms_handle *h = shms_handles[index] ? shms_handles[index] : make_place(index);
        if (!h)
            return SHMS_NO_MEMORY;
        uint64_t w = shms_load_acquire(&h->word), generation = (w >> 32) + 1;
        if (!(w & SHMS_HANDLE_CLOSING) || (w & (SHMS_HANDLE_CLOSING - 1)) || __atomic_load_n(&h->s.base, __ATOMIC_ACQUIRE))
            continue;
        shms_cas_acq_rel(&first_free, &first, index + 1); /* unless a lower one has become free meanwhile */
        h->s = *s;
        h->timeout = 5 * SHMS_SECOND;
        h->ttl = 0;
        h->codec = SHMS_CODEC_MSGPACK;
        shms_store_relaxed(&h->blamed_pid, 0);
        h->views = 0;
        h->counted_in = shms_fork_epoch;
        h->deaths_told = h->rebuilds_told = 0;
        shms_attachments_add(&h->s);
        shms_store_release(&h->word, generation << 32);
        return (int64_t)(generation << 16 | index);
    }
    return SHMS_NO_MEMORY;
}

/* Opening gives the interpreter's lock up, so it ends in a structure of its own; shms_adopt, which keeps the
 * lock, moves it into the table. */
struct opened {
    struct shms_store s;
};

void *shms_w_open(const struct shms_open_wish *wish, struct shms_open_found *found, int *status) {
    struct opened *o = calloc(1, sizeof *o);
    *status = SHMS_NO_MEMORY;
    if (!o || !shms_attachments_add(&o->s)) { /* from here on a child does not keep its beacon burning */
        free(o);
        return NULL;
    }
    *status = shms_open(&o->s, wish, found);
    if (*status != SHMS_OK) {
        shms_attachments_remove(&o->s);
        free(o);
        return NULL;
    }
    o->s.fork_epoch = shms_fork_epoch; /* not in shms_adopt: a signal handler may fork between the two */
    return o;
}

int64_t shms_adopt(void *opened) {
    struct opened *o = opened;
    shms_attachments_remove(&o->s);
    int64_t handle = place(&o->s);
    if (handle < 0)
        shms_detach(&o->s);
    free(o);
    return handle;
}

void shms_close(int64_t handle) {
    struct shms_handle *h = shms_handle_get(handle);
    if (!h)
        return;
    if (h->counted_in != shms_fork_epoch)
        forget_parents_calls(h);
    uint64_t w = shms_load_acquire(&h->word);
    while (!shms_cas_acq_rel(&h->word, &w, w | SHMS_HANDLE_CLOSING))
        ;
    if (!(w & (SHMS_HANDLE_CLOSING - 1)))
        detach(h);
}

void shms_leave(int64_t handle) {
    struct shms_handle *h = shms_handle_get(handle);
    struct shms_store *s = h ? &h->s : NULL;
    if (!s || !s->me || s->fork_epoch != shms_fork_epoch || shms_load_relaxed(&s->records_busy) || s->pins_used)
        return;
    /* A call that gave the interpreter's lock up may hold a lock in this place's name (check, recover). Either it is
     * counted, and seen here, or it sees the epoch (enter in api.c) and becomes a client again. */
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
