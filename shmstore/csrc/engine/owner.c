/* owner.c: the contract is in owner.h. */
#include "engine/owner.h"

#include "engine/recover.h"

/* It may have ended: there is no such process, or a zombie, or another one with its process id. A tenth of the cost of a
 * proof, and as good where process ids are shared, except for a process that has called exec. */
static bool may_have_ended(struct shms_store *s, uint32_t index, uint64_t word) {
    struct shms_client *c = shms_client_at(s, index);
    uint64_t pid_ns = shms_load_relaxed(&c->pid_ns), start = shms_load_relaxed(&c->start_time);
    return pid_ns != s->identity.pid_ns || !pid_ns || shms_os_process_life(SHMS_OWNER_PID(word), start) != SHMS_ALIVE;
}

bool shms_owner_gone(struct shms_store *s, struct shms_lock_owner owner, bool closely) {
    if (owner.number == 0 || owner.number > s->client_count)
        return true; /* no client had this number: the value was overwritten by mistake */
    uint32_t index = (uint32_t)owner.number - 1;
    _Atomic uint64_t *word = &shms_client_at(s, index)->owner;
    if (shms_load_acquire(word) == owner.word && (closely || may_have_ended(s, index, owner.word)))
        shms_recover_client(s, index);
    return shms_load_acquire(word) != owner.word;
}
