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
#define MARKED_LOOKED_AT 4u    /* by one eviction, of those that are marked: most of their entries may be current */
#define ROUND_MS 1000u

static uint64_t earlier(uint64_t a, uint64_t b) { return !a || (b && b < a) ? b : a; } /* 0: never */

void shms_expire_note(struct shms_store *s, uint64_t bucket, uint64_t expiry, bool tagged) {
    _Atomic uint64_t *due = &s->due[bucket / SHMS_GROUP_BUCKETS];
    uint64_t ms = expiry ? expiry / 1000000 + 1 : 0, w = shms_load_relaxed(due), new;
    do
        new = SHMS_DUE(earlier(SHMS_DUE_MS(w), ms), (w & SHMS_DUE_MARK) | (tagged ? SHMS_DUE_MARK : 0), w + 1);
    while (!shms_cas_acq_rel(due, &w, new)); /* [publish-then-due] pairs with the first load in sweep */
    if (!shms_evicts(s) || !ms)
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
        shms_expire_note(s, (home + d) % s->bucket_count, 1, true);
}

/* May there be outdated entries that no sweep has seen yet? */
static bool any_outdated(const struct shms_store *s) {
    return shms_load_relaxed(&s->header->outdated) != shms_load_relaxed(&s->header->swept);
}

static void round_begins(struct shms_store *s, struct shms_round *round) {
    round->outdated = shms_load_acquire(&s->header->outdated); /* [counter-then-outdated] */
    round->passed_over = false;
}

static void round_ends(struct shms_store *s, struct shms_round *round) {
    uint64_t swept = shms_load_relaxed(&s->header->swept);
    while (!round->passed_over && swept < round->outdated &&
           !shms_cas_acq_rel(&s->header->swept, &swept, round->outdated))
        ;
    round_begins(s, round);
}

/* Takes the entry out if it is gone. *tagged: it has generations. */
static bool sweep_entry(struct shms_store *s, struct shms_record *record, _Atomic uint64_t *slot, struct shms_entry *x,
                        uint64_t now, bool *tagged, bool *passed_over) {
    uint64_t hash;
    if (!shms_entry_in_slot(s, slot, x, &hash)) {
        x->expiry = 0;
        *tagged |= shms_load_relaxed(slot) != 0; /* it is changing, or damaged */
        return false;
    }
    bool expired = x->expiry && x->expiry <= now, has = shms_has_generations(x->extension, x->extension_length);
    bool outdated = has && shms_entry_judge(s, x) == SHMS_MISS;
    *tagged |= has;
    if (!expired && !outdated)
        return false;
    if (shms_entry_take_out(s, record, x, hash, outdated ? 0 : now)) { /* what is outdated stays so, in this life */
        shms_stat(s, SHMS_EXPIRATIONS, 1);
        return true;
    }
    *passed_over |= shms_load_relaxed(slot) == x->word; /* still there: its home was busy */
    return false;
}

/* Sweeps one group: removes what is gone, and sets the due word to what is left. */
static uint64_t sweep(struct shms_store *s, struct shms_record *record, uint64_t group, uint64_t now,
                      bool *passed_over) {
    _Atomic uint64_t *due = &s->due[group];
    uint64_t before = shms_load_acquire(due), earliest = 0, gone = 0; /* [publish-then-due] before any look at a slot */
    bool tagged = false;
    uint64_t last = shms_min((group + 1) * SHMS_GROUP_BUCKETS, s->bucket_count);
    for (uint64_t bucket = group * SHMS_GROUP_BUCKETS; bucket < last; bucket++)
        for (uint32_t i = 0; i < SHMS_BUCKET_SLOTS; i++) {
            _Atomic uint64_t *slot = &s->buckets[bucket].slots[i];
            struct shms_entry x;
            if (shms_load_relaxed(slot) == 0)
                continue;
            if (sweep_entry(s, record, slot, &x, now, &tagged, passed_over))
                gone++;
            else if (x.expiry)
                earliest = earlier(earliest, x.expiry / 1000000 + 1);
        }
    /* The exchange fails if a writer made a note meanwhile. Then the due word stays as it is, early enough. */
    shms_cas_acq_rel(
        due, &before,
        SHMS_DUE(earliest, tagged ? SHMS_DUE_MARK : 0, before + 1)); /* failed: the next sweep looks again */
    return gone;
}

static bool is_due(uint64_t due, uint64_t now_ms, bool outdated) {
    uint64_t ms = SHMS_DUE_MS(due);
    return (ms && ms <= now_ms) || (outdated && (due & SHMS_DUE_MARK));
}

static void some_go_round(struct shms_store *s) {
    round_ends(s, &s->sweep_round);
    s->sweep_cursor = 0;
}

void shms_expire_some(struct shms_store *s, struct shms_record *record) {
    uint64_t group = s->sweep_cursor < s->group_count ? s->sweep_cursor : s->sweep_cursor % s->group_count;
    uint64_t line = group / WORDS_LOOKED_AT;
    /* A line of due words stands for one page of the slot table. */
    if (!shms_page_in_use(s, line)) {
        uint64_t next = shms_next_page_in_use(s, line) * WORDS_LOOKED_AT;
        s->sweep_cursor = next;
        if (next >= s->group_count)
            some_go_round(s);
        return;
    }
    uint64_t now = shms_os_now();
    uint64_t last = shms_min((line + 1) * WORDS_LOOKED_AT, s->group_count);
    bool outdated = any_outdated(s);
    for (; group < last; group++)
        if (is_due(shms_load_relaxed(&s->due[group]), now / 1000000, outdated)) {
            /* What a busy lock kept in the table stays due until the next round. */
            sweep(s, record, group, now, &s->sweep_round.passed_over);
            last = group + 1;
        }
    s->sweep_cursor = last;
    if (last >= s->group_count)
        some_go_round(s);
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
        bool due = is_due(shms_load_relaxed(&s->due[*group]), now / 1000000 + 1, true);
        if (looked++ == GROUPS_LOOKED_AT || (due && most-- == 0))
            return false;
        if (due)
            *gone += sweep(s, record, *group, now, passed_over);
        ++*group;
    }
    return true;
}

/* Goes on with this process's round over the due words, to its end at most. Returns how many entries were removed. */
static uint64_t go_on(struct shms_store *s, struct shms_record *record, uint64_t now, uint32_t *groups) {
    uint64_t now_ms = now / 1000000 + 1, gone = 0; /* due times are rounded up */
    bool outdated = any_outdated(s);
    if (s->due_cursor == 0) {
        s->due_earliest = now_ms + ROUND_MS;
        round_begins(s, &s->due_round);
    }
    while (s->due_cursor < s->group_count && !gone && *groups) {
        uint64_t page = s->due_cursor / WORDS_LOOKED_AT, used = shms_next_page_in_use(s, page);
        if (used != page) {
            s->due_cursor = used * WORDS_LOOKED_AT;
            continue;
        }
        uint64_t group = s->due_cursor++, ms = SHMS_DUE_MS(shms_load_relaxed(&s->due[group]));
        --*groups;
        if (is_due(shms_load_relaxed(&s->due[group]), now_ms, outdated)) {
            if (!ms || ms > now_ms)
                *groups -= shms_min(*groups, GROUPS_LOOKED_AT / MARKED_LOOKED_AT);
            gone = sweep(s, record, group, now, &s->due_round.passed_over);
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
    /* Twice: what ended behind the cursor of a round is found by the next one. */
    for (int round = 0; round < 2 && !gone && ((first && first <= now / 1000000 + 1) || any_outdated(s)); round++) {
        gone = go_on(s, record, now, &groups);
        if (gone || s->due_cursor < s->group_count)
            break;
        s->due_cursor = 0;
        round_ends(s, &s->due_round);
        if (first && shms_cas_acq_rel(&s->header->first_due, &first,
                                      s->due_earliest)) /* else there is an earlier one: `first` */
            first = s->due_earliest;
    }
    return gone;
}
