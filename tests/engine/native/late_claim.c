/* A process claims a client slot, and loses it before it goes on: it leaves the slot's new owner alone. While it runs,
 * no other process in its pid namespace finds it gone; a process id of another namespace proves nothing. */
#include "harness.h"

#include "engine/clients.c"

static uint64_t claim_by(struct shms_store *s, uint32_t tag, uint32_t pid, uint64_t word) {
    uint64_t claim = SHMS_OWNER(SHMS_OWNER_GENERATION(word) + 1, SHMS_CLIENT_CLAIMING, tag, pid);
    EXPECT(shms_cas_acq_rel(&shms_client_at(s, 1)->owner, &word, claim));
    return claim;
}

int main(int argc, char **argv) {
    begin_scenario(argc, argv);
    struct shms_store *first = open_store(1 << 20), *late = open_store(0);
    shms_client_release(late);
    struct shms_client *slot = shms_client_at(first, 1);
    uint32_t here = shms_namespace_tag(first->identity.pid_ns), nobody = (1 << 22) - 1;
    for (uint32_t bit = 0; bit < 22; bit++) /* namespaces of one machine differ in some of these bits */
        EXPECT(shms_namespace_tag(first->identity.pid_ns ^ 1ull << bit) != here);

    uint64_t claim = claim_by(first, here, (uint32_t)getpid(), shms_load_acquire(&slot->owner));
    EXPECT(!shms_recover_client(first, 1)); /* it runs */
    claim = claim_by(first, here ^ 1, nobody, claim);
    EXPECT(!shms_recover_client(first, 1)); /* it may run elsewhere */
    claim = claim_by(first, here, nobody, claim);
    EXPECT(shms_recover_client(first, 1));

    struct shms_store *tenant = open_store(0);
    EXPECT(tenant->number == 2);
    struct shms_op op;
    EXPECT(reserve(tenant, &op, "k", 1, 500, 0) == SHMS_OK);
    struct shms_client before = *slot;
    late->identity.start_time = 12345;
    EXPECT(!become_live(late, 1, claim));
    EXPECT(memcmp(&before, slot, sizeof before) == 0);
    EXPECT(shms_client_life(first, 1, tenant->owner) == SHMS_ALIVE);
    shms_op_end(&op);
    expect_sound(first);
    return 0;
}
