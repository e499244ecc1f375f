/* clients.c: claiming a free client slot, and leaving it. The contract is in clients.h. */
#include "engine/clients.h"

#include "engine/heap.h"
#include "engine/pin.h"
#include "engine/policy.h"
#include "engine/sleepers.h"
#include "segment/attachments.h"
#include "segment/memory.h"

/* clients_high only grows. It is raised before the slot is claimed, so a process that counts below it meets every slot
 * that was ever claimed. */
static void raise_high(struct shms_store *s, uint64_t count) {
    uint64_t high = shms_load_relaxed(&s->header->clients_high);
    while (high < count && !shms_cas_acq_rel(&s->header->clients_high, &high, count))
        ;
}

/* The slot is this process's: its own memory says the same. */
static void own(struct shms_store *s, uint32_t index, uint64_t owner) {
    s->me = shms_client_at(s, index);
    s->number = index + 1;
    s->owner = owner;
    shms_store_relaxed(&s->records_busy, 0);
    memset(s->own_pins, 0, sizeof s->own_pins);
    s->pins_used = 0;
    s->next_number = s->numbers_end = 0; /* a forked child's are its parent's (life.h) */
    memset(s->own, 0, sizeof s->own);
    s->policy.entries = s->policy.small = 0; /* a forked child's are its parent's */
    s->policy.inserted = s->policy.evicted = 0;
    shms_store_relaxed(&s->is_closing, 0);
    s->fork_epoch = shms_fork_epoch;
}

/* REQUIRES: this process is claiming the slot, with this owner word. False: it lost the slot. */
static bool become_live(struct shms_store *s, uint32_t index, uint64_t owner) {
    struct shms_client *c = shms_client_at(s, index);
    if (shms_load_acquire(&c->owner) != owner)
        return false; /* the slot may belong to another process by now: nothing of it is written */
    for (uint32_t i = 0; i <= SHMS_CLIENT_RECORDS; i++) {
        shms_store_release(&c->records[i].bucket, 0); /* [record-then-owner] */
        shms_store_release(&c->records[i].block, 0);
        shms_store_release(&c->records[i].old, 0);
        shms_store_release(&c->records[i].page, 0);
    }
    for (uint32_t i = SHMS_USED_BLOCKS; i <= SHMS_USED_BYTES; i++) /* a late finder's exchange fails from now on */
        shms_store_relaxed(&c->counters[i], SHMS_USED_OF(owner, shms_load_relaxed(&c->counters[i])));
    for (uint32_t i = 0; i < s->pin_count; i++) {
        shms_store_relaxed(&c->pins[i].life, 0);
        shms_store_relaxed(&c->pins[i].block, 0);
    }
    /* The pin bit of a former owner that died may still be set. Other bits of the word belong to other clients. */
    uint64_t word = shms_load_relaxed(&s->pin_bits[index / 64]);
    while (!shms_cas_acq_rel(&s->pin_bits[index / 64], &word, word & ~(1ull << (index % 64))))
        ;
    bool marked = s->memory->mark_alive(s, index + 1, SHMS_OWNER_GENERATION(owner));
    shms_store_relaxed(&c->start_time, s->identity.start_time);
    shms_store_relaxed(&c->pid_ns, s->identity.pid_ns);
    shms_store_relaxed(&c->net_ns, s->identity.net_ns);
    shms_store_relaxed(&c->liveness, marked);
    shms_store_relaxed(&c->attached, shms_os_realtime());
    uint64_t live = SHMS_OWNER_WITH_STATE(owner, SHMS_CLIENT_LIVE);
    if (!shms_cas_acq_rel(&c->owner, &owner, live)) { /* [claim-then-live] pairs with the load in shms_client_life */
        s->memory->unmark(s);
        return false;
    }
    own(s, index, live);
    return true;
}

uint32_t shms_clients_used(struct shms_store *s) {
    return (uint32_t)shms_min(shms_load_acquire(&s->header->clients_high), s->client_count);
}

int shms_client_claim_free(struct shms_store *s) {
    for (uint32_t i = 0; i < s->client_count; i++) {
        struct shms_client *c = shms_client_at(s, i);
        /* The memory of a slot is committed by the first process that claims it. Two that do so at once do no harm. */
        if (i >= shms_clients_used(s) && !shms_commit(s, (uint64_t)((uint8_t *)c - s->base), s->client_size))
            return SHMS_FULL;
        uint64_t w = shms_load_acquire(&c->owner);
        if (SHMS_OWNER_STATE(w) != SHMS_CLIENT_FREE)
            continue;
        uint64_t claim = SHMS_OWNER(SHMS_OWNER_GENERATION(w) + 1, SHMS_CLIENT_CLAIMING,
                                    shms_namespace_tag(s->identity.pid_ns), s->identity.pid);
        raise_high(s, i + 1); /* before the claim: a death from here on is found */
        if (shms_cas_acq_rel(&c->owner, &w, claim) && become_live(s, i, claim))
            return SHMS_OK;
    }
    return SHMS_NO_CLIENT;
}

int shms_client_claim_number(struct shms_store *s, uint32_t number, uint64_t owner) {
    uint64_t claim = SHMS_OWNER_WITH_STATE(owner, SHMS_CLIENT_CLAIMING);
    struct shms_client *c = shms_client_at(s, number - 1);
    if (!shms_commit(s, (uint64_t)(s->clients - s->base), (uint64_t)number * s->client_size))
        return SHMS_FULL;
    shms_os_identity(&s->identity);
    raise_high(s, number);
    shms_store_release(&c->owner, claim);
    return become_live(s, number - 1, claim) ? SHMS_OK : SHMS_NO_CLIENT;
}

bool shms_client_adopt(struct shms_store *s, uint32_t number, uint64_t owner) {
    struct shms_client *c = shms_client_at(s, number - 1);
    uint64_t carried = SHMS_CARRIED;
    if (number > shms_clients_used(s) || shms_load_acquire(&c->owner) != owner ||
        SHMS_OWNER_STATE(owner) != SHMS_CLIENT_LIVE || !shms_cas_acq_rel(&c->liveness, &carried, 0))
        return false;
    shms_os_identity(&s->identity);
    shms_store_relaxed(&c->liveness, s->memory->mark_alive(s, number, SHMS_OWNER_GENERATION(owner)));
    own(s, number - 1, owner);
    s->is_named = true; /* for all that this attachment knows */
    return true;
}

void shms_client_leave(struct shms_store *s) {
    for (uint32_t i = 0; i < s->pin_count; i++)
        while (s->own_pins[i].users)
            shms_pin_clear(s, (int)i);
    shms_policy_tell(s);
    shms_heap_leave(s);
    /* The time is written before the exchange, while the slot is still this process's own. */
    shms_store_relaxed(&s->me->attached, shms_os_realtime());
    uint64_t w = s->owner;
    shms_cas_acq_rel(&s->me->owner, &w, SHMS_OWNER_WITH_STATE(w, SHMS_CLIENT_FREE));
    if (s->is_named) /* others may wait for it to release a lock */
        shms_wake_everybody(s);
    s->is_named = false;
    s->memory->unmark(s);
    s->me = NULL;
    s->number = 0;
}

void shms_client_release(struct shms_store *s) {
    if (s->me && s->fork_epoch == shms_fork_epoch)
        shms_client_leave(s);
    s->me = NULL;
    s->number = 0;
}
