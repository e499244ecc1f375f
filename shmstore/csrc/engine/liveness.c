/* liveness.c: is the process behind a client's entry gone? Only proof counts.
 *
 * A process id alone proves nothing: ids are reused, and containers that share memory need not share ids.
 *   same pid namespace   the kernel knows no such id; or a zombie whose threads all ended; or another start time;
 *                        or it called exec: its beacon is out and its memory map no longer has the segment
 *   another one, same network namespace   its beacon is out
 *   neither              I am the only one attached (shm_nattch is 1)
 * In POSIX memory the beacon is a lock on the file itself, which every namespace sees (memory.h).
 * Everything else is unknown: whoever needs what an unknown holds waits, and times out with an error that names
 * it. A stopped or traced process is alive.
 *
 * A process that closes descriptors which it did not open puts its own beacon out. So a missing beacon alone
 * proves nothing where ids are shared; across pid namespaces it has to, if it stays out for UNMARKED: whoever put his
 * own beacon out by mistake relights it at the next second of use (shms_revalidate), long before. */
#include "engine/liveness.h"

#include "segment/memory.h"

#define UNMARKED 2500 /* ms */

/* Remembers since when this beacon was seen to be out: index, generation and how often it was lit 32 | time in ms 32, by
 * index. Two clients that share a place in the memory only make each other wait longer, and so does one who lit his
 * beacon meanwhile and let it go out once more. */
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
    if (SHMS_OWNER_STATE(owner) == SHMS_CLIENT_CLAIMING || SHMS_OWNER_STATE(owner) == SHMS_CLIENT_ADOPTING)
        return (maybe_same_ns ? shms_os_process_life(pid, 0) == SHMS_GONE : s->identity.pid_ns && s->memory->only_me(s)) ? SHMS_GONE
                                                                                                                         : SHMS_UNKNOWN;
    if (SHMS_OWNER_STATE(owner) != SHMS_CLIENT_LIVE)
        return SHMS_ALIVE;
    uint64_t start = shms_load_relaxed(&c->start_time), pid_ns = shms_load_relaxed(&c->pid_ns);
    uint64_t net_ns = shms_load_relaxed(&c->net_ns), marks = shms_load_relaxed(&c->liveness);
    /* The identity belongs to this generation only if the word still stands: the next tenant moves the word
     * before it writes a new one. */
    shms_fence_acquire();
    if (shms_load_acquire(&c->owner) != owner)
        return SHMS_ALIVE;
    if (owner == s->owner && c == s->me)
        return SHMS_ALIVE;
    bool mark_visible = marks && s->memory->can_see_mark(s, net_ns);
    if (pid_ns && pid_ns == s->identity.pid_ns) {
        enum shms_life life = shms_os_process_life(pid, start);
        if (life == SHMS_ALIVE && mark_visible && s->memory->maps(s, pid) == 0 &&
            s->memory->marked(s, index + 1, SHMS_OWNER_GENERATION(owner)) == 0)
            return SHMS_GONE;
        return life;
    }
    if (s->memory->only_me(s))
        return SHMS_GONE;
    if (mark_visible) {
        int marked = s->memory->marked(s, index + 1, SHMS_OWNER_GENERATION(owner));
        if (marked == 1)
            shms_store_relaxed(&s->unmarked[index % SHMS_UNMARKED_REMEMBERED], 0);
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
    shms_fence_acquire();
    return shms_load_acquire(&c->owner) == owner && shms_os_no_such_process(SHMS_OWNER_PID(owner));
}
