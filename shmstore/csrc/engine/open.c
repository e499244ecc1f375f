/* open.c: opening a store: find or make its memory, wait for its creator (create.c), compare, become a client
 *
 * A segment that was superseded by a resize (resize.h) leads to another one, and so on to the one that has the entries.
 * Another process may create, remove or replace the memory at any step. Then the loop begins again, while
 * there is time left. */
#include "engine/open.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "segment/create.h"
#include "engine/recover.h"

#define NAP 1000000ull

static int corrupt(struct shms_open_result *r, const char *what) {
    snprintf(r->what, sizeof r->what, "%s", what);
    return SHMS_CORRUPT;
}

/* REQUIRES: the store is ready. Is it the one that was asked for? */
static int compare(const struct shms_header *h, const struct shms_geometry *g, const struct shms_open_request *a,
                   struct shms_open_result *r, const struct shms_memory_state *d) {
    r->format = h->format;
    r->incompatible = h->incompatible;
    r->read_compatible = h->read_compatible;
    r->name_kind = h->name_kind;
    r->name_length = *(volatile const uint32_t *)&h->name_length; /* loaded once: it may change after the check */
    if (r->name_length > SHMS_NAME_MAX)
        r->name_length = 0;
    memcpy(r->name, (const char *)h + SHMS_NAME_OFFSET, r->name_length);
    r->store_size = h->size;
    r->max_entries = h->max_entries;
    r->max_clients = h->client_count;
    r->mode = d->mode;
    if (h->format != SHMS_FORMAT_VERSION || (h->incompatible & ~SHMS_KNOWN_INCOMPATIBLE))
        return SHMS_FORMAT;
    if (a->name_kind != 2 && (h->name_kind != a->name_kind || r->name_length != a->name_length ||
                              memcmp(r->name, a->name, a->name_length) != 0))
        return SHMS_COLLISION;
    if (a->uuid_given && memcmp(a->uuid, h->uuid, 16) != 0)
        return SHMS_NOT_FOUND;
    if (a->create == 1 && !r->created)
        return SHMS_EXISTS;
    if (r->created)
        return SHMS_OK;
    const char *what = a->evicts && !h->ghost_sets ? "kind" : a->mode_given && r->mode != a->mode ? "mode" : NULL;
    if (what) {
        snprintf(r->what, sizeof r->what, "%s", what);
        return SHMS_MISMATCH;
    }
    r->differs = (a->size_given && h->size != a->size && h->size != g->size ? 1u : 0) |
                 (a->entries_given && r->max_entries != a->max_entries ? 2u : 0) |
                 (a->max_clients && r->max_clients != a->max_clients ? 4u : 0);
    return SHMS_OK;
}

/* Sizes belong to the creator, so a process that asks for others attaches all the same. It leaves a note for
 * `shmstore doctor`. Processes that do so at once may mix their notes. */
static void note_request(struct shms_store *s, const struct shms_open_request *a, const struct shms_open_result *r) {
    struct shms_header *h = s->header;
    if (!(a->size_given || a->entries_given || a->max_clients) || (!r->differs && !shms_load_relaxed(&h->requested_at)))
        return;
    shms_store_relaxed(&h->requested_size, r->differs & 1 ? a->size : 0);
    shms_store_relaxed(&h->requested_max_entries, r->differs & 2 ? a->max_entries : 0);
    shms_store_relaxed(&h->requested_max_clients, r->differs & 4 ? (uint32_t)a->max_clients : 0);
    shms_store_relaxed(&h->requested_by, r->differs ? s->identity.pid : 0);
    shms_store_relaxed(&h->requested_at, r->differs ? shms_os_realtime() : 0);
}

/* Finds the memory or makes it: SHMS_OK or another status. SHMS_AGAIN: another process was faster. */
static int find_memory(struct shms_store *s, const struct shms_geometry *g, const struct shms_open_request *a,
                       struct shms_open_result *r, uint64_t successor) {
    int error = successor ? s->memory->find_successor(s, a, successor) : s->memory->find(s, a);
    if (error == ENOENT && successor)
        return SHMS_AGAIN;
    r->id = s->id;
    if (error == 0)
        return SHMS_OK;
    if (error == ENOEXEC)
        return SHMS_NOT_A_STORE;
    if (error != ENOENT)
        return shms_open_failed(r, s->call, error);
    if (a->create == 2 || a->readonly)
        return SHMS_NOT_FOUND;
    r->size = g->segment_size;
    error = s->memory->make(s, a, g->segment_size);
    r->id = s->id;
    if (error == EEXIST)
        return SHMS_AGAIN;
    if (error)
        return shms_open_failed(r, s->call, error);
    r->created = 1;
    return SHMS_OK;
}

/* Prefaults and locks the memory, if asked to. Prefaulting takes a second for a gigabyte. A creator whose segment
 * others can find already does it when the store is ready. Otherwise they would take the blank segment for another
 * program's. */
static int apply_memory_options(struct shms_store *s, const struct shms_open_request *a, struct shms_open_result *r) {
    bool before = r->created && shms_load_acquire(&((struct shms_header *)s->base)->magic) != SHMS_MAGIC;
    int error = a->prefault && (s->memory->hidden ? before || !r->created : !before) ? shms_memory_prefault(s) : 0;
    if (error == 0 && a->lock_memory && (before || !r->created))
        error = s->memory->lock(s);
    return error ? shms_open_failed(r, s->call, error) : SHMS_OK;
}

/* Commits the pages that the creator is about to write. */
static int prepare(struct shms_store *s, const struct shms_geometry *g, const struct shms_open_request *a,
                   struct shms_open_result *r) {
    if (!shms_commit(s, 0, g->classes + SHMS_CLASSES * sizeof(struct shms_class)) ||
        !shms_commit(s, g->ghosts, g->ghost_sets * SHMS_GHOST_WAYS * 2))
        return shms_open_failed(r, "fallocate", s->short_of);
    return apply_memory_options(s, a, r);
}

/* What was recovered before joining belongs to the joined attachment: for the statistics and the log. */
static void hand_over(struct shms_store *s, struct shms_store *joined) {
    for (uint32_t i = 0; i < SHMS_CLIENT_COUNTERS; i++)
        shms_fetch_add_acq_rel(&joined->own_counters[i], shms_load_relaxed(&s->own_counters[i]));
    if (shms_load_relaxed(&s->takeovers))
        shms_store_relaxed(&joined->last_dead_pid, shms_load_relaxed(&s->last_dead_pid));
    shms_fetch_add_acq_rel(&joined->takeovers, shms_load_relaxed(&s->takeovers));
}

static int attach(struct shms_store *s, const struct shms_memory_state *d, const struct shms_open_request *a,
                  struct shms_open_result *r) {
    bool only_read;
    int rc = shms_segment_view(s, s->base, d->size, &only_read);
    if (rc != SHMS_OK)
        return rc == SHMS_CORRUPT ? corrupt(r, "a size or offset in the header") : rc;
    s->readonly = a->readonly || only_read;
    r->only_read = only_read;
    memcpy(r->uuid, s->uuid, sizeof r->uuid);
    shms_store_relaxed(&s->validated_at, shms_os_now_coarse());
    if (s->readonly) {
        shms_os_identity(&s->identity);
        return SHMS_OK;
    }
    uint32_t number = a->follows_number; /* a client that follows keeps its slot, and what it holds */
    bool adopted = false;
    if (a->shares)
        s->joined = shms_attachments_join(s, number);
    if (!s->joined && number && !(adopted = shms_client_adopt(s, number, a->follows_owner)) && a->shares) {
        shms_attachments_claimed(s, false); /* it has lost that slot */
        s->joined = shms_attachments_join(s, 0);
    }
    if (s->joined) {
        shms_os_identity(&s->identity);
        shms_recover_all(s, true);
        hand_over(s, s->joined);
        return SHMS_OK;
    }
    if (!adopted && (rc = shms_client_claim(s)) != SHMS_OK) {
        r->error = s->short_of;
        return rc;
    }
    s->sweep_cursor = s->identity.pid;
    shms_recover_all(s, true);
    return SHMS_OK;
}

/* Undoes attach, and what came before it. */
static void undo(struct shms_store *s) {
    if (s->joined)
        shms_store_drop(s->joined);
    s->joined = NULL;
    shms_attachments_claimed(s, false);
    shms_detach(s);
}

/* The same, of a segment that was superseded after attach. Its next one has this client slot, too, or will have it: so the
 * slot is not given up here, which would free it there, and with it what the client holds. */
static void go_after(struct shms_store *s, struct shms_open_request *a) {
    if (s->me && !s->joined) {
        a->follows_number = s->number;
        a->follows_owner = s->owner;
        s->memory->unmark(s);
        s->me = NULL;
        s->number = 0;
    }
    undo(s);
}

/* Is what is mapped the segment that a superseded one leads to? An identifier may be another program's by now. */
static bool is_successor(const struct shms_store *s, const uint8_t uuid[16]) {
    const struct shms_header *h = (const struct shms_header *)s->base;
    return shms_load_acquire(&h->magic) == SHMS_MAGIC && memcmp(h->uuid, uuid, 16) == 0;
}

/* Ends an open that failed. Memory that was made and turned out to be of no use is removed: its mode shuts out its own
 * creator, or it cannot be locked. */
static int fail(struct shms_store *s, struct shms_open_result *r, int rc) {
    if (r->created && rc == SHMS_SYSTEM)
        s->memory->remove(s);
    undo(s);
    return rc;
}

static bool exists(struct shms_store *s, const struct shms_open_request *a) {
    bool found = s->memory->find(s, a) == 0;
    s->memory->unmap(s);
    return found;
}

static int too_small(const struct shms_open_request *a, struct shms_open_result *r, int planned) {
    r->minimum = shms_geometry_least(a->max_entries, a->evicts);
    return planned;
}

int shms_open(struct shms_store *s, const struct shms_open_request *request, struct shms_open_result *r) {
    struct shms_geometry g;
    struct shms_open_request changed = *request, *a = &changed;
    uint8_t uuid[16]; /* of the superseded segment that led to `successor` */
    uint64_t start = shms_os_now(), met = start;
    int32_t id = -1; /* the segment seen at `met`; another one may replace it during the wait */
    memset(r, 0, sizeof *r);
    uint64_t successor = 0, lost = 0; /* lost: a successor that was not there */
    int planned = shms_geometry_plan(a->size, a->max_entries, a->max_clients, a->evicts,
                                     a->huge_page ? a->huge_page : SHMS_PAGE, &g);
    s->joined = NULL;
    for (bool time_left = true; time_left; shms_os_nap(NAP)) {
        uint64_t waited = shms_os_now() - start;
        time_left = waited < a->timeout;
        struct shms_memory_state d;
        shms_memory_choose(s, a);
        if (planned != SHMS_OK && a->create != 2 && (a->create == 1 || !exists(s, a)))
            return too_small(a, r, planned);
        r->created = r->pid = 0;
        int rc = find_memory(s, &g, a, r, successor);
        if (rc == SHMS_AGAIN) {
            lost = successor;
            successor = 0;
            continue;
        }
        if (rc != SHMS_OK)
            return fail(s, r, rc);
        if (s->id != id) {
            id = s->id;
            met = shms_os_now();
        }
        int error = s->memory->state(s, &d);
        if (error)
            return fail(s, r, shms_open_failed(r, s->call, error));
        if (d.removed) {
            shms_detach(s);
            continue;
        }
        r->uid = d.trusted_uid;
        r->size = d.size;
        r->mode = d.mode;
        if (a->owner != -2 && r->uid != geteuid() && r->uid != 0 && (int64_t)r->uid != a->owner)
            return fail(s, r, SHMS_FOREIGN);
        if (r->size < SHMS_HEADER_SIZE)
            return fail(s, r, SHMS_NOT_A_STORE);
        error = s->memory->map(s, a, d.size, r->created);
        if (error == EIDRM) {
            shms_detach(s);
            continue;
        }
        if (successor && (error == ENOEXEC || (error == 0 && !is_successor(s, uuid)))) {
            shms_detach(s);
            lost = successor;
            successor = 0;
            continue;
        }
        if (error)
            return fail(s, r, error == ENOEXEC ? SHMS_NOT_A_STORE : shms_open_failed(r, s->call, error));
        if (r->created && (rc = prepare(s, &g, a, r)) != SHMS_OK)
            return fail(s, r, rc);
        switch (shms_create_or_wait(s, &g, planned, a, r, &d, shms_os_now() - met)) {
        case SHMS_CREATION_READY:
            error = r->created ? s->memory->publish(s, a) : 0;
            if (error == EEXIST) {
                shms_detach(s);
                continue;
            }
            if (error)
                return fail(s, r, shms_open_failed(r, s->call, error));
            rc = compare((struct shms_header *)s->base, &g, a, r, &d);
            if (rc == SHMS_OK && (rc = attach(s, &d, a, r)) == SHMS_OK && (rc = shms_revalidate(s)) == SHMS_OK &&
                (rc = apply_memory_options(s->joined ? s->joined : s, a, r)) == SHMS_OK) {
                if (!r->created && !s->readonly)
                    note_request(s, a, r);
                if (s->joined)
                    shms_detach(s);
                else
                    shms_attachments_claimed(s, true);
                return SHMS_OK;
            }
            if (rc == SHMS_SUPERSEDED) { /* another process resized it meanwhile */
                go_after(s, a);
                continue;
            }
            if (rc == SHMS_DESTROYED) { /* or removed it */
                undo(s);
                continue;
            }
            return fail(s, r, rc);
        case SHMS_CREATION_FOREIGN:
            return fail(s, r, SHMS_NOT_A_STORE);
        case SHMS_CREATION_UNPLANNED:
            shms_detach(s);
            return too_small(a, r, planned);
        case SHMS_CREATION_FAILED:
            return fail(s, r, SHMS_SYSTEM);
        case SHMS_CREATION_GONE: /* marked and still found: the process that marked it has not removed it */
            if (!a->readonly && a->create != 2)
                s->memory->remove(s);
            shms_detach(s);
            break;
        case SHMS_CREATION_SUPERSEDED: {
            struct shms_header *h = (struct shms_header *)s->base;
            uint64_t next = shms_load_acquire(&h->successor);
            memcpy(uuid, h->uuid, sizeof uuid);
            rc = compare(h, &g, a, r, &d);
            if (rc == SHMS_COLLISION || rc == SHMS_NOT_FOUND || rc == SHMS_FORMAT)
                return fail(s, r, rc);
            if (!a->readonly)
                s->memory->settle(s, next);
            /* It was not there, and the same header names it still: it was removed, and the signpost is left. */
            if (next == lost || next == successor) {
                if (a->readonly || a->create == 2)
                    return fail(s, r, SHMS_NOT_FOUND);
                s->memory->remove(s);
                next = 0;
            }
            successor = next;
            shms_detach(s);
            break;
        }
        case SHMS_CREATION_WAIT:
            shms_detach(s);
        }
    }
    return a->create == 2 || a->readonly ? SHMS_NOT_FOUND : SHMS_TIMEOUT;
}

void shms_detach(struct shms_store *s) {
    shms_client_release(s);
    s->memory->unmap(s);
}

void shms_store_drop(struct shms_store *s) {
    while (s && shms_attachments_drop(s)) {
        struct shms_store *successor = s->successor;
        shms_detach(s);
        free(s);
        s = successor;
    }
}
