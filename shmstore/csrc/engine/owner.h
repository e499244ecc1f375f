/* owner.h: the owner of a lock or lease: a client, as the value of an entry names it
 *
 * The number says which client slot, and the owner word, with its generation, says which owner of that slot. So a client
 * that left, or that was proved dead, never becomes the owner again (C3). */
#ifndef SHMS_OWNER_H
#define SHMS_OWNER_H

#include "segment/segment.h"

struct shms_lock_owner {
    uint64_t word;
    uint64_t number;
};

/* REQUIRES: this process is a client. */
static inline struct shms_lock_owner shms_owner_me(const struct shms_store *s) {
    return (struct shms_lock_owner){s->owner, s->number};
}
/* Has this client neither left nor been found dead? It asks nobody. */
static inline bool shms_owner_stays(const struct shms_store *s, struct shms_lock_owner owner) {
    return owner.number - 1 < s->client_count &&
           shms_load_acquire(&shms_client_at(s, (uint32_t)owner.number - 1)->owner) == owner.word;
}
/* Has this client left, or is it proved dead? REQUIRES: no engine lock is held; it may call the kernel. A dead client is
 * recovered before this returns true. closely: prove it by all means (liveness.c); otherwise by its process id alone. */
bool shms_owner_gone(struct shms_store *s, struct shms_lock_owner owner, bool closely);

#endif
