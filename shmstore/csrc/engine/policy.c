/* policy.c: hints, shares and ghosts. The policy and the argument are in policy.h; the hands are in evict.c. */
#include "engine/policy.h"

/* ---- shares */

static struct shms_shares shares(uint64_t counts) {
    return (struct shms_shares){(uint32_t)(counts >> 32), (uint32_t)counts};
}
static uint64_t counts(struct shms_shares n) { return (uint64_t)n.entries << 32 | n.small; }
static uint32_t moved(uint32_t n, int by) {
    return by < 0 && n < (uint32_t)-by ? 0 : n + (uint32_t)by;
} /* after a death: E3 */

struct shms_shares shms_policy_shares(const struct shms_store *s) {
    struct shms_shares n = shares(shms_load_relaxed(&s->header->policy.counts));
    return (struct shms_shares){moved(n.entries, s->policy.entries), moved(n.small, s->policy.small)};
}

static void add(struct shms_store *s, int entries, int small) {
    _Atomic uint64_t *word = &s->header->policy.counts;
    uint64_t was = shms_load_relaxed(word), new;
    do {
        struct shms_shares n = shares(was);
        n = (struct shms_shares){moved(n.entries, entries), moved(n.small, small)};
        n.small = n.small < n.entries ? n.small : n.entries; /* it may be too high after a death: E3 */
        new = counts(n);
    } while (!shms_cas_acq_rel(word, &was, new));
}

/* Adds to the shared counts only what no process may keep to itself: one more entry at once, and otherwise now and then. */
static void count(struct shms_store *s, int entries, int small) {
    struct shms_own_policy *own = &s->policy;
    own->entries += entries;
    own->small += small;
    if (own->entries > 0 || own->entries < -own->most || own->small > own->most || own->small < -own->most)
        shms_policy_tell(s);
}

void shms_policy_tell(struct shms_store *s) {
    struct shms_own_policy *own = &s->policy;
    if (own->entries || own->small)
        add(s, own->entries, own->small);
    own->entries = own->small = 0;
}

void shms_policy_none(struct shms_store *s, enum shms_share share) {
    uint64_t was = shms_load_relaxed(&s->header->policy.counts);
    struct shms_shares n = shares(was);
    n.small = share == SHMS_SHARE_SMALL ? 0 : n.entries;
    s->policy.small = 0;
    shms_cas_acq_rel(&s->header->policy.counts, &was, counts(n));
}

void shms_policy_correct(struct shms_store *s) {
    uint64_t was = shms_load_relaxed(&s->header->policy.counts), used = 0, live = 0;
    uint64_t high = shms_min(shms_load_acquire(&s->header->clients_high), s->client_count);
    for (uint32_t i = 0; i < high; i++) {
        struct shms_client *c = shms_client_at(s, i);
        used += shms_load_relaxed(&c->counters[SHMS_USED_BLOCKS]);
        live += SHMS_OWNER_STATE(shms_load_relaxed(&c->owner)) != SHMS_CLIENT_FREE;
    }
    used = SHMS_USED(used);
    uint64_t kept = live * (uint64_t)s->policy.most; /* so much may still be subtracted (E4) */
    live += kept;
    struct shms_shares n = shares(was);
    if (n.entries + live >= used && used + live >= n.entries)
        return;
    n.entries = (uint32_t)(used + kept);
    n.small = (uint32_t)shms_min(n.small, n.entries);
    shms_cas_acq_rel(&s->header->policy.counts, &was, counts(n));
}

/* ---- time: steps pass with insertions into the small share, epochs with evictions from it */

/* clock: what ends this period << bits | the period. Counts one event; a period has `length` of them. *own: events that
 * this process has not counted yet, at most an eighth of a period. Returns the period. */
static uint32_t tick(_Atomic uint64_t *events, _Atomic uint64_t *clock, uint32_t bits, uint64_t length, uint32_t *own,
                     int32_t most) {
    uint64_t w = shms_load_relaxed(clock), mask = (1u << bits) - 1;
    if (++*own < shms_min(length / 8, (uint64_t)most))
        return (uint32_t)(w & mask);
    uint64_t now = shms_fetch_add_acq_rel(events, *own) + *own;
    *own = 0;
    if (now < w >> bits)
        return (uint32_t)(w & mask);
    uint64_t next = (now + shms_max(length, 1)) << bits | ((w + 1) & mask);
    return (uint32_t)((shms_cas_acq_rel(clock, &w, next) ? next : w) & mask);
}

uint32_t shms_policy_age(const struct shms_store *s, uint8_t hint) {
    return ((uint32_t)shms_load_relaxed(&s->header->policy.step) - SHMS_HINT_STEP_OF(hint)) & 7;
}

/* ---- ghosts */

static _Atomic uint16_t *ghosts_of(const struct shms_store *s, uint64_t hash) {
    uint64_t mixed = (hash * 0x9e3779b97f4a7c15ull) >> 32; /* the home bucket is made of the upper bits as they are */
    return &s->ghosts[(mixed * s->ghost_sets >> 32) * SHMS_GHOST_WAYS];
}
static uint16_t print_of(uint64_t hash) { return (uint16_t)((hash >> 16 & 0xfff) | 1); }

void shms_policy_remember(struct shms_store *s, uint64_t hash) {
    struct shms_policy *p = &s->header->policy;
    struct shms_shares n = shms_policy_shares(s);
    uint64_t main_share = n.entries - shms_min(n.entries, shms_policy_tenth(n));
    uint32_t epoch = tick(&p->evicted, &p->epoch, 4, main_share / 8, &s->policy.evicted, s->policy.most), oldest = 0,
             oldest_age = 0;
    _Atomic uint16_t *ways = ghosts_of(s, hash);
    for (uint32_t i = 0; i < SHMS_GHOST_WAYS; i++) {
        uint16_t ghost = shms_load_relaxed(&ways[i]);
        uint32_t age = (ghost & 0xfff) == print_of(hash) ? 17 : !ghost ? 16 : (epoch - (ghost >> 12)) & 15;
        if (age >= oldest_age) {
            oldest = i;
            oldest_age = age;
        }
    }
    shms_store_relaxed(&ways[oldest], (uint16_t)(print_of(hash) | epoch << 12));
}

static bool take_ghost(struct shms_store *s, uint64_t hash) {
    uint64_t clock = shms_load_relaxed(&s->header->policy.epoch);
    if (clock == 0)
        return false; /* nothing was evicted so far */
    _Atomic uint16_t *ways = ghosts_of(s, hash);
    for (uint32_t i = 0; i < SHMS_GHOST_WAYS; i++) {
        uint16_t ghost = shms_load_relaxed(&ways[i]);
        if (SHMS_LIKELY((ghost & 0xfff) != print_of(hash)) || (((uint32_t)clock - (ghost >> 12)) & 15) > 8)
            continue;
        shms_store_relaxed(&ways[i], 0);
        return true;
    }
    return false;
}

/* ---- entries come and go */

void shms_policy_enter(struct shms_store *s, uint64_t slot, uint64_t hash, bool kept) {
    struct shms_policy *p = &s->header->policy;
    bool known = kept || take_ghost(s, hash);
    uint32_t step = known ? 0
                          : tick(&p->inserted, &p->step, 3, shms_policy_tenth(shms_policy_shares(s)) / 4,
                                 &s->policy.inserted, s->policy.most);
    shms_store_relaxed(&s->hints[slot], (uint8_t)(SHMS_HINT_USED | (known ? SHMS_HINT_MAIN : SHMS_HINT_STEP(step))));
    count(s, 1, !known);
}

uint8_t shms_policy_leave(struct shms_store *s, uint64_t slot) { return shms_exchange_acq_rel(&s->hints[slot], 0); }

void shms_policy_stay(struct shms_store *s, uint64_t slot, uint8_t hint) { shms_store_relaxed(&s->hints[slot], hint); }

void shms_policy_left(struct shms_store *s, uint8_t hint) {
    if (SHMS_LIKELY(hint & SHMS_HINT_USED))
        count(s, -1, hint & SHMS_HINT_MAIN ? 0 : -1);
}

void shms_policy_found(struct shms_store *s, uint64_t slot) {
    uint64_t bucket = slot / SHMS_BUCKET_SLOTS; /* the number was read from the segment, so it is checked here (P6) */
    if (bucket >= s->bucket_count || !shms_bucket_in_use(s, bucket))
        return;
    uint8_t hint = shms_load_relaxed(&s->hints[slot]);
    if (!(hint & SHMS_HINT_USED))
        shms_cas_acq_rel(&s->hints[slot], &hint, SHMS_HINT_USED | SHMS_HINT_MAIN);
}

/* ---- changes of a hint */

static bool change(struct shms_store *s, uint64_t slot, uint8_t hint, uint32_t new) {
    return shms_cas_acq_rel(&s->hints[slot], &hint, (uint8_t)new);
}

void shms_policy_raise(struct shms_store *s, uint64_t slot) {
    uint8_t hint = shms_load_relaxed(&s->hints[slot]);
    if ((hint & SHMS_HINT_USED) && (hint & SHMS_HINT_FREQUENCY) < 3 && !s->readonly)
        change(s, slot, hint, hint + 1u); /* lost to another process: it was used by that one */
}

bool shms_policy_lower(struct shms_store *s, uint64_t slot, uint8_t hint) { return change(s, slot, hint, hint - 1u); }

bool shms_policy_promote(struct shms_store *s, uint64_t slot, uint8_t hint) {
    if (!change(s, slot, hint, SHMS_HINT_USED | SHMS_HINT_MAIN))
        return false;
    count(s, 0, -1);
    return true;
}
