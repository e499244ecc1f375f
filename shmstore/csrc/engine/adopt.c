/* adopt.c: claiming a client slot: a free one, or else the slot of a dead client with what it holds (clients.h) */
#include "engine/adopt.h"

#include "segment/memory.h"
#include "engine/recover.h"

/* Tries each dead slot. recover.c works in the name of s->number, so this process uses the number while it is adopting.
 * A death in between leaves the slot in state adopting, with this process's id: recovery treats it like a dead one. */
static bool claim_dead(struct shms_store *s) {
    for (uint32_t i = 0; i < shms_clients_used(s); i++) {
        struct shms_client *c = shms_client_at(s, i);
        uint64_t w = shms_load_acquire(&c->owner);
        if (SHMS_OWNER_STATE(w) != SHMS_CLIENT_DEAD)
            continue;
        uint64_t mine = SHMS_OWNER(SHMS_OWNER_GENERATION(w) + 1, SHMS_CLIENT_ADOPTING,
                                   shms_namespace_tag(s->identity.pid_ns), s->identity.pid);
        if (!shms_cas_acq_rel(&c->owner, &w, mine))
            continue;
        s->number = i + 1;
        s->me = c;
        s->owner = mine;
        bool emptied = shms_recover_adopted(s, i, mine);
        s->me = NULL;
        s->number = 0;
        if (emptied && shms_client_become_live(s, i, mine))
            return true;
        if (!emptied)
            shms_cas_acq_rel(&c->owner, &mine, SHMS_OWNER_WITH_STATE(mine, SHMS_CLIENT_DEAD));
    }
    return false;
}

int shms_client_claim(struct shms_store *s) {
    s->me = NULL;
    s->number = 0;
    shms_os_identity(&s->identity);
    int rc = shms_client_claim_free(s);
    if (rc == SHMS_OK)
        return rc;
    /* Every slot is taken, or there is no memory for another one. Look closely which clients are still alive. A process
     * without a number can free only slots that hold no block and no arena lock. It adopts one of the others. */
    shms_recover_all(s, false);
    rc = shms_client_claim_free(s);
    return rc == SHMS_OK || claim_dead(s) ? SHMS_OK : rc;
}
