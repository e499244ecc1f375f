/* evict.c: the order of attempts, which is in evict.h. */
#include "engine/evict.h"

#include "engine/clients.h"
#include "engine/expire.h"
#include "engine/hands.h"
#include "engine/heap.h"
#include "engine/policy.h"

#define IN_ORDER 8u      /* evicted in the order of the policy before other means are tried */
#define ENTRIES_TRIES 8u /* evictions for one entry */
#define PLACES 8u        /* windows emptied for one small block */
#define WINDOWS_TRIED 64u
#define BLOCKS_AT_ONCE 1024u

void shms_evict_entries(struct shms_store *s, struct shms_record *record) {
    for (uint32_t i = 0; i < ENTRIES_TRIES && shms_policy_shares(s).entries >= s->entries_max; i++) {
        if (shms_any_expiry(s) && shms_expire_first(s, record))
            continue;
        if (!shms_evict_next(s, record, SHMS_FOR_ENTRIES) || i > 0)
            shms_policy_correct(s); /* one eviction makes room for one entry: is the number right? */
    }
}

bool shms_evict_near(struct shms_store *s, uint64_t home) {
    int index = shms_record_take(s);
    if (index < 0)
        return false;
    uint64_t last = shms_min(SHMS_REACH_MAX, s->bucket_count - 1), bytes = 0;
    for (uint32_t frequency = 0; !bytes && frequency <= SHMS_HINT_FREQUENCY; frequency++)
        for (uint64_t d = 0; !bytes && d <= last; d++)
            for (uint64_t i = 0; !bytes && i < SHMS_BUCKET_SLOTS; i++) {
                uint64_t slot = (home + d) % s->bucket_count * SHMS_BUCKET_SLOTS + i;
                if ((shms_load_relaxed(&s->hints[slot]) & SHMS_HINT_FREQUENCY) == frequency)
                    bytes = shms_evict_slot(s, &s->me->records[index], slot, SHMS_FOR_ENTRIES);
            }
    shms_record_put(s, index);
    return bytes != 0;
}

/* ---- room for a block */

static bool expire_or_evict(struct shms_store *s, struct shms_record *record, uint64_t *bytes) {
    if (SHMS_UNLIKELY(shms_any_expiry(s)) && shms_expire_first(s, record))
        return true;
    uint64_t more = shms_evict_next(s, record, SHMS_FOR_MEMORY);
    *bytes += more;
    return more != 0;
}

/* Attempts 3 to 6. */
static int in_place(struct shms_store *s, struct shms_record *record, uint32_t kind, uint64_t bytes) {
    if (shms_heap_alloc_larger(s, record, kind, SHMS_CLASSES_ABOVE) == SHMS_OK)
        return SHMS_OK;
    for (uint32_t i = 0; i < PLACES; i++) {
        struct shms_window w;
        bool chosen = shms_window_choose(s, shms_class_pages(kind), &w);
        if (i == 0 && !(chosen && w.used <= w.bytes / 2) && shms_window_coldest(s, record, kind))
            chosen = false;
        if (chosen)
            while (shms_window_clear_some(s, record, &w, UINT32_MAX) == SHMS_AGAIN)
                ;
        if (shms_heap_alloc(s, record, bytes) == SHMS_OK)
            return SHMS_OK;
    }
    return SHMS_FULL;
}

int shms_evict_alloc(struct shms_store *s, struct shms_record *record, uint64_t bytes) {
    uint32_t kind = shms_class_of(bytes);
    /* A large block takes a window anyway: what is evicted elsewhere before that is evicted for nothing. */
    uint64_t wanted = bytes > shms_heap_largest(s) / 10 ? 0 : bytes, evicted = 0;
    if (!wanted && shms_any_expiry(s) && shms_expire_first(s, record) && shms_heap_alloc(s, record, bytes) == SHMS_OK)
        return SHMS_OK;
    for (uint32_t i = 0; i < IN_ORDER && evicted < wanted; i++) {
        if (!expire_or_evict(s, record, &evicted))
            break;
        if (SHMS_LIKELY(shms_heap_alloc(s, record, bytes) == SHMS_OK))
            return SHMS_OK;
    }
    return kind == SHMS_CLASS_LARGE ? SHMS_FULL : in_place(s, record, kind, bytes);
}

int shms_evict_window(struct shms_store *s, struct shms_window *w, uint64_t bytes) {
    if (!w->end) {
        if (w->tries++ >= WINDOWS_TRIED || !shms_window_choose(s, (bytes + SHMS_PAGE - 1) / SHMS_PAGE, w))
            return w->tries >= WINDOWS_TRIED ? SHMS_FULL : SHMS_AGAIN;
        return SHMS_AGAIN;
    }
    int index = shms_record_take(s);
    if (index < 0)
        return SHMS_AGAIN;
    s->spared = w->spared;
    int rc = shms_window_clear_some(s, &s->me->records[index], w, BLOCKS_AT_ONCE);
    shms_record_put(s, index);
    if (rc != SHMS_AGAIN)
        w->end = 0; /* the next call chooses another one */
    return rc == SHMS_FULL ? SHMS_AGAIN : rc;
}
