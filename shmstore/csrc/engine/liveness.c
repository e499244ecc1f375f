/* liveness.c: has the process behind a client slot ended? Only proof counts.
 *
 * A process id alone proves nothing: the kernel uses ids again, and containers that share memory need not share ids.
 * Proofs of death:
 *   same pid namespace      no process has the id; or it is a zombie without other threads; or its start time differs;
 *                           or it has called exec: its memory map has no such segment, and its liveness mark is gone
 *   other pid namespace,    the liveness mark has been missing for UNMARKED
 *   mark visible from here
 *   any                     this process alone is attached (System V: shm_nattch is 1), and the client was attached to
 *                           this very segment, not to the one before a resize
 * A System V liveness mark is a socket and visible within a network namespace. A POSIX mark is a lock on the file, and
 * visible from every namespace.
 *
 * LIMITS
 *   Otherwise the result is unknown. A process that needs what the client holds waits for it, and times out with an
 *   error that names it. A stopped or traced process is alive.
 *   A program that closes descriptors which it did not open also closes its liveness mark. So a missing mark alone
 *   proves nothing where process ids are shared. Across pid namespaces it is the only evidence. There it must be
 *   missing for UNMARKED: the owner makes its mark again at the next second of use (shms_revalidate), long before. An
 *   owner that did not use the store in that time loses its slot, and claims another one (handle.c). */
#include "engine/liveness.h"

#include "segment/memory.h"

#define UNMARKED 2500 /* ms; more than two of the seconds after which shms_revalidate makes the mark again */

/* True if the mark of this client has been missing for UNMARKED. The table has SHMS_UNMARKED_REMEMBERED words, chosen
 * by index: generation and number of marks 16 | index 16 | time of the first look in ms 32. Two clients that share a
 * word replace each other, and a client that made its mark again counts as another one. The wait only
 * becomes longer. */
static bool unmarked_for_long(struct shms_store *s, uint32_t index, uint64_t owner, uint64_t marks) {
    _Atomic uint64_t *memory = &s->unmarked[index % SHMS_UNMARKED_REMEMBERED];
    uint64_t life = (SHMS_OWNER_GENERATION(owner) + marks * 0x9e37) & 0xffff;
    uint64_t client = life << 48 | (uint64_t)(index & 0xffff) << 32;
    uint64_t ms = (shms_os_now_coarse() / 1000000) & 0xffffffff, known = shms_load_relaxed(memory);
    if ((known & ~0xffffffffull) != client) {
        shms_store_relaxed(memory, client | ms);
        return false;
    }
    return ((ms - known) & 0xffffffff) >= UNMARKED;
}

enum shms_life shms_client_life(struct shms_store *s, uint32_t index, uint64_t owner) {
    struct shms_client *c = shms_client_at(s, index);
    uint32_t pid = SHMS_OWNER_PID(owner);
    bool maybe_same_ns = SHMS_OWNER_TAG(owner) == shms_namespace_tag(s->identity.pid_ns) && s->identity.pid_ns != 0;
    if (SHMS_OWNER_STATE(owner) == SHMS_CLIENT_DEAD)
        return SHMS_GONE;
    if (SHMS_OWNER_STATE(owner) == SHMS_CLIENT_CLAIMING)
        /* Its identity is not written yet: only the owner word and the attachments can tell. */
        return (maybe_same_ns ? shms_os_process_life(pid, 0) == SHMS_GONE : s->identity.pid_ns && s->memory->only_me(s))
                   ? SHMS_GONE
                   : SHMS_UNKNOWN;
    if (SHMS_OWNER_STATE(owner) != SHMS_CLIENT_LIVE)
        return SHMS_ALIVE; /* free: its owner left */
    uint64_t start = shms_load_relaxed(&c->start_time), pid_ns = shms_load_relaxed(&c->pid_ns);
    uint64_t net_ns = shms_load_relaxed(&c->net_ns), marks = shms_load_relaxed(&c->liveness);
    /* The identity is that of `owner` only if the owner word is still the same: the next owner changes the word before
     * it writes its identity. [claim-then-live] */
    shms_fence_acquire();
    if (shms_load_acquire(&c->owner) != owner)
        return SHMS_ALIVE;
    if (owner == s->owner && c == s->me)
        return SHMS_ALIVE;
    bool carried = marks == SHMS_CARRIED; /* it need not be attached to this segment yet */
    bool mark_visible = marks && !carried && s->memory->can_see_mark(s, net_ns);
    if (pid_ns && pid_ns == s->identity.pid_ns) {
        enum shms_life life = shms_os_process_life(pid, start);
        /* Alive by its id, but without mark and mapping: it has called exec. Reading the mappings takes longest. */
        if (life == SHMS_ALIVE && mark_visible && s->memory->marked(s, index + 1, SHMS_OWNER_GENERATION(owner)) == 0 &&
            s->memory->maps(s, pid) == 0)
            return SHMS_GONE;
        return life;
    }
    if (!carried && s->memory->only_me(s))
        return SHMS_GONE;
    if (mark_visible) {
        int marked = s->memory->marked(s, index + 1, SHMS_OWNER_GENERATION(owner));
        if (marked == 1)
            shms_store_relaxed(&s->unmarked[index % SHMS_UNMARKED_REMEMBERED], 0); /* the next absence is another one */
        if (marked >= 0)
            return marked ? SHMS_ALIVE : unmarked_for_long(s, index, owner, marks) ? SHMS_GONE : SHMS_UNKNOWN;
    }
    return SHMS_UNKNOWN;
}

bool shms_client_obviously_gone(struct shms_store *s, uint32_t index, uint64_t owner) {
    struct shms_client *c = shms_client_at(s, index);
    if (SHMS_OWNER_STATE(owner) == SHMS_CLIENT_DEAD)
        return true;
    if (SHMS_OWNER_STATE(owner) != SHMS_CLIENT_LIVE || !s->identity.pid_ns ||
        shms_load_relaxed(&c->pid_ns) != s->identity.pid_ns)
        return false;
    /* pid_ns is that of `owner` only if the word is still the same, as above. */
    shms_fence_acquire();
    return shms_load_acquire(&c->owner) == owner && shms_os_no_such_process(SHMS_OWNER_PID(owner));
}
