/* bell.c: the contract is in bell.h. */
#include "engine/bell.h"

static void ring(struct shms_store *s, uint32_t bucket) {
    struct shms_bell *bell = &s->header->bell;
    uint32_t w = shms_load_relaxed(&bell->word), now;
    do
        now = (w & ~SHMS_BELL_SLEEPS) + 2;
    while (!shms_cas_acq_rel(&bell->word, &w, now));
    uint32_t rings = SHMS_BELL_RINGS(now);
    shms_store_release(&bell->log[rings % SHMS_BELL_LOG], (uint64_t)rings << 32 | bucket);
    if (w & SHMS_BELL_SLEEPS)
        shms_os_futex_wake_all(&bell->word);
}

void shms_wake(struct shms_store *s, _Atomic uint64_t *lock) {
    shms_os_futex_wake_all(shms_lock_count(lock));
    ring(s, (uint32_t)(((struct shms_bucket *)lock) - s->buckets));
}

void shms_bell_ring_all(struct shms_store *s) { ring(s, SHMS_BELL_EVERY); }

int shms_bell_heard(struct shms_store *s, uint32_t *rings, uint32_t *buckets) {
    uint32_t now = shms_bell_rings(s), missed = (now - *rings) & SHMS_BELL_RINGS(UINT32_MAX), first = *rings;
    *rings = now;
    if (missed > SHMS_BELL_LOG)
        return -1;
    for (uint32_t i = 0; i < missed; i++) {
        uint32_t ring = (first + 1 + i) & SHMS_BELL_RINGS(UINT32_MAX);
        uint64_t entry = shms_load_acquire(&s->header->bell.log[ring % SHMS_BELL_LOG]);
        if (entry >> 32 != ring || (uint32_t)entry >= s->bucket_count)
            return -1; /* the bytes are not trusted: what is no bucket counts as every one */
        buckets[i] = (uint32_t)entry;
    }
    return (int)missed;
}

bool shms_bell_may_sleep(struct shms_bell *bell, uint32_t rings, uint32_t *value) {
    uint32_t w = shms_load_acquire(&bell->word);
    while (SHMS_BELL_RINGS(w) == rings)
        if ((w & SHMS_BELL_SLEEPS) || shms_cas_acq_rel(&bell->word, &w, w | SHMS_BELL_SLEEPS)) {
            *value = w | SHMS_BELL_SLEEPS;
            return true;
        }
    return false;
}
