/* adopt.c: a slot for this process in the registry, if need be that of a dead client, whose memory and locks come with it. */
#include "engine/adopt.h"

#include "segment/memory.h"
#include "engine/recover.h"

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
        bool emptied = shms_recover_adopted(s, i, mine);
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
    /* A full registry, or no memory for another entry: look closely who of them still lives. Recovery takes arenas in
     * the name of a client, so a process without a place can free only entries that leave no block or arena lock
     * behind; others it inherits. */
    shms_recover_all(s, false);
    rc = shms_client_claim_free(s);
    return rc == SHMS_OK || claim_dead(s) ? SHMS_OK : rc;
}
