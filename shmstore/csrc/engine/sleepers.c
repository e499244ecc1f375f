/* sleepers.c: the contract is in sleepers.h. */
#include "engine/sleepers.h"

#include <pthread.h>

#include "engine/lock.h"
#include "engine/table.h"

_Atomic uint32_t shms_poke_count;
static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static struct shms_sleeper *list;

/* One exchange is as good as taking the lock and releasing it: nothing is changed in between. */
void shms_bucket_touch(_Atomic uint64_t *lock) {
    uint64_t w = shms_load_acquire(lock);
    while (SHMS_LOCK_HOLDER(w) == 0 && !shms_cas_acq_rel(lock, &w, w + SHMS_LOCK_ONE))
        ;
    shms_os_futex_wake_all(shms_lock_count(lock));
}

void shms_poke(void) {
    pthread_mutex_lock(&list_lock);
    shms_fetch_add_acq_rel(&shms_poke_count, 1);
    for (struct shms_sleeper *sleeper = list; sleeper; sleeper = sleeper->next)
        shms_bucket_touch(sleeper->lock);
    pthread_mutex_unlock(&list_lock);
}

bool shms_sleeper_join(struct shms_sleeper *sleeper, uint32_t pokes) {
    pthread_mutex_lock(&list_lock);
    bool joins = shms_pokes() == pokes;
    if (joins) {
        sleeper->next = list;
        list = sleeper;
    }
    pthread_mutex_unlock(&list_lock);
    return joins;
}

void shms_sleeper_leave(struct shms_sleeper *sleeper) {
    pthread_mutex_lock(&list_lock);
    struct shms_sleeper **p = &list;
    while (*p != sleeper)
        p = &(*p)->next;
    *p = sleeper->next;
    pthread_mutex_unlock(&list_lock);
}

void shms_sleepers_forked(void) {
    pthread_mutex_init(&list_lock, NULL);
    list = NULL;
}

/* [told-then-flags] A sleeper sets its flag, and then looks whether the store has ended and whether an owner has left. Either it
 * sees what this process did before, or its flag is seen here. */
void shms_wake_everybody(struct shms_store *s) {
    shms_fence_seq_cst();
    for (uint64_t page = 0; (page = shms_next_page_in_use(s, page)) < s->table_pages; page++) {
        uint64_t last = shms_min((page + 1) * SHMS_PAGE_BUCKETS, s->bucket_count);
        for (uint64_t b = page * SHMS_PAGE_BUCKETS; b < last; b++)
            if (shms_load_acquire(&s->buckets[b].lock) & SHMS_LOCK_WAITERS)
                shms_bucket_touch(&s->buckets[b].lock);
    }
    shms_bell_ring_all(s);
}
