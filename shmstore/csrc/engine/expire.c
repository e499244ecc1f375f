/* expire.c: sweeping expired entries. The due word is explained in expire.h.
 *
 * WRITER  Taking an entry out, as a delete does (op.h):
 *   1 record.bucket := the home bucket of the entry; try its lock. It is busy: the entry stays due, and is passed over
 *   2 the slot still names the block, in the life that was looked at, and the expiry has passed
 *   3 shms_entry_replace;  unlock, which wakes waiters;  record.bucket := 0
 * The record is that of the operation that sweeps, which holds no bucket and no block meanwhile. */
#include "engine/expire.h"

#include "engine/replace.h"

#define WORDS_LOOKED_AT 8u
#define GROUPS_LOOKED_AT 4096u /* by one call; most of them are not due */
#define ROUND_MS 1000u

void shms_expire_note(struct shms_store *s, uint64_t bucket, uint64_t expiry) {
    _Atomic uint64_t *due = &s->due[bucket / SHMS_GROUP_BUCKETS];
    uint64_t ms = expiry / 1000000 + 1, w = shms_load_relaxed(due), new;
    do
        new = SHMS_DUE(SHMS_DUE_MS(w) && SHMS_DUE_MS(w) < ms ? SHMS_DUE_MS(w) : ms, w + 1);
    while (!shms_cas_acq_rel(due, &w, new)); /* [publish-then-due] pairs with the first load in sweep */
    if (!shms_evicts(s))
        return;
    w = shms_load_relaxed(&s->header->first_due);
    while ((w == 0 || ms < w) && !shms_cas_acq_rel(&s->header->first_due, &w, ms))
        ;
}

void shms_expire_suspect(struct shms_store *s, uint64_t home) {
    if (!shms_any_expiry(s))
        return;
    uint32_t reach = SHMS_LOCK_REACH(shms_load_acquire(&s->buckets[home].lock));
    for (uint32_t d = 0; d <= reach; d++)
        shms_expire_note(s, (home + d) % s->bucket_count, 1);
}

/* Sweeps one group: removes what has expired, and sets the due word to the earliest expiry that is left. */
static uint64_t sweep(struct shms_store *s, struct shms_record *record, uint64_t group, uint64_t now,
                      bool *passed_over) {
    _Atomic uint64_t *due = &s->due[group];
    uint64_t before = shms_load_acquire(due), earliest = 0, gone = 0; /* [publish-then-due] before any look at a slot */
    uint64_t last = shms_min((group + 1) * SHMS_GROUP_BUCKETS, s->bucket_count);
    for (uint64_t bucket = group * SHMS_GROUP_BUCKETS; bucket < last; bucket++)
        for (uint32_t i = 0; i < SHMS_BUCKET_SLOTS; i++) {
            _Atomic uint64_t *slot = &s->buckets[bucket].slots[i];
            struct shms_entry x;
            uint64_t hash, expiry = shms_entry_in_slot(s, slot, &x, &hash) ? x.expiry : 0;
            if (!expiry)
                continue;
            if (expiry <= now) {
                if (shms_entry_take_out(s, record, &x, hash, now)) {
                    shms_stat(s, SHMS_EXPIRATIONS, 1);
                    gone++;
                    continue;
                }
                *passed_over |= shms_load_relaxed(slot) == x.word; /* still there: its home was busy */
            }
            uint64_t ms = expiry / 1000000 + 1;
            earliest = earliest && earliest < ms ? earliest : ms;
        }
    /* The exchange fails if a writer made a note meanwhile. Then the due word stays as it is, early enough. */
    shms_cas_acq_rel(due, &before, SHMS_DUE(earliest, before + 1)); /* failed: the next sweep looks again */
    return gone;
}

void shms_expire_some(struct shms_store *s, struct shms_record *record) {
    uint64_t group = s->sweep_cursor < s->group_count ? s->sweep_cursor : s->sweep_cursor % s->group_count;
    uint64_t line = group / WORDS_LOOKED_AT;
    /* A line of due words stands for one page of the slot table. */
    if (!shms_page_in_use(s, line)) {
        uint64_t next = shms_next_page_in_use(s, line) * WORDS_LOOKED_AT;
        s->sweep_cursor = next < s->group_count ? next : 0;
        return;
    }
    uint64_t now = shms_os_now();
    uint64_t last = shms_min((line + 1) * WORDS_LOOKED_AT, s->group_count);
    bool passed_over = false;
    for (; group < last; group++) {
        uint64_t ms = SHMS_DUE_MS(shms_load_relaxed(&s->due[group]));
        if (ms && ms <= now / 1000000) {
            sweep(s, record, group, now,
                  &passed_over); /* what a busy lock kept in the table stays due until the next round */
            last = group + 1;
        }
    }
    s->sweep_cursor = last;
}

bool shms_expire_all(struct shms_store *s, struct shms_record *record, uint64_t *group, uint64_t most, uint64_t *gone,
                     bool *passed_over) {
    uint64_t now = shms_os_now(), looked = 0;
    while (*group < s->group_count) {
        uint64_t page = *group / WORDS_LOOKED_AT, used = shms_next_page_in_use(s, page);
        if (used != page) {
            *group = used * WORDS_LOOKED_AT;
            continue;
        }
        uint64_t ms = SHMS_DUE_MS(shms_load_relaxed(&s->due[*group]));
        bool is_due = ms && ms <= now / 1000000 + 1;
        if (looked++ == GROUPS_LOOKED_AT || (is_due && most-- == 0))
            return false;
        if (is_due)
            *gone += sweep(s, record, *group, now, passed_over);
        ++*group;
    }
    return true;
}

/* Goes on with this process's round over the due words, to its end at most. Returns how many entries were removed. */
static uint64_t go_on(struct shms_store *s, struct shms_record *record, uint64_t now, uint32_t *groups) {
    uint64_t now_ms = now / 1000000 + 1, gone = 0; /* due times are rounded up */
    bool passed_over = false;
    if (s->due_cursor == 0)
        s->due_earliest = now_ms + ROUND_MS;
    while (s->due_cursor < s->group_count && !gone && *groups) {
        uint64_t page = s->due_cursor / WORDS_LOOKED_AT, used = shms_next_page_in_use(s, page);
        if (used != page) {
            s->due_cursor = used * WORDS_LOOKED_AT;
            continue;
        }
        uint64_t group = s->due_cursor++, ms = SHMS_DUE_MS(shms_load_relaxed(&s->due[group]));
        --*groups;
        if (ms && ms <= now_ms) {
            gone = sweep(s, record, group, now, &passed_over);
            ms = SHMS_DUE_MS(shms_load_relaxed(&s->due[group]));
        }
        if (ms)
            s->due_earliest = shms_min(s->due_earliest, ms);
    }
    return gone;
}

uint64_t shms_expire_first(struct shms_store *s, struct shms_record *record) {
    uint64_t now = shms_os_now(), first = shms_load_relaxed(&s->header->first_due), gone = 0;
    uint32_t groups = GROUPS_LOOKED_AT;
    /* Twice: what expired behind the cursor of a round is found by the next one. */
    for (int round = 0; round < 2 && !gone && first && first <= now / 1000000 + 1; round++) {
        gone = go_on(s, record, now, &groups);
        if (gone || s->due_cursor < s->group_count)
            break;
        s->due_cursor = 0;
        if (shms_cas_acq_rel(&s->header->first_due, &first,
                             s->due_earliest)) /* else there is an earlier one: `first` */
            first = s->due_earliest;
    }
    return gone;
}
