/* hands.c: the contract is in hands.h. */
#include "engine/hands.h"

#include "engine/policy.h"

#define WORD 8u        /* hints in a word, which are looked at together */
#define WORDS_TAKEN 8u /* by a process at once */
#define TABLE_SHARE 256u
#define HINTS_MAX (1u << 18) /* looked at in one share for one eviction */
#define ENTRIES_MAX 1024u    /* the same */
#define AHEAD 64u            /* hints looked at for the next eviction, to fetch its bucket meanwhile */

static_assert(SHMS_PAGE_BUCKETS * SHMS_BUCKET_SLOTS % WORD == 0, "the hints of a page are whole words");
#define PAGE_WORDS (SHMS_PAGE_BUCKETS * SHMS_BUCKET_SLOTS / WORD)

/* The next word of hints of this share, in the order of the hand. */
static uint64_t next_word(struct shms_store *s, struct shms_own_hand *hand, enum shms_share share) {
    uint64_t words = (s->bucket_count * SHMS_BUCKET_SLOTS + WORD - 1) / WORD;
    if (hand->turn == hand->end) {
        uint64_t turns =
            shms_max(1, shms_min(WORDS_TAKEN, words / TABLE_SHARE)); /* a small table is not parcelled out */
        hand->turn = shms_fetch_add_acq_rel(&s->header->policy.hands[share], turns);
        hand->end = hand->turn + turns;
    }
    return hand->turn++ % words * s->hand_stride % words; /* below 2^60: there are 2^32 slots at most */
}

/* Looks at hints until one is of this share. *hints: how many may be looked at. False: none. */
static bool look(struct shms_store *s, enum shms_share share, uint64_t *hints) {
    struct shms_own_hand *hand = &s->own_hands[share];
    while (!hand->found) {
        if (*hints == 0)
            return false;
        *hints -= shms_min(*hints, WORD);
        hand->word = next_word(s, hand, share);
        if (!shms_page_in_use(s, hand->word / PAGE_WORDS))
            continue;
        uint64_t word = shms_load_relaxed((_Atomic uint64_t *)&s->hints[hand->word * WORD]), is_main = word << 5;
        hand->found = word & (share == SHMS_SHARE_MAIN ? is_main : ~is_main) & (0x0101010101010101ull * SHMS_HINT_USED);
    }
    return true;
}

/* The slot that `look` has found. */
static uint64_t found(const struct shms_own_hand *hand) {
    return hand->word * WORD + (uint64_t)__builtin_ctzll(hand->found) / 8;
}

/* The next slot of this share, by its hint. UINT64_MAX: none. */
static uint64_t next_of(struct shms_store *s, enum shms_share share, uint64_t *hints) {
    if (!look(s, share, hints))
        return UINT64_MAX;
    uint64_t slot = found(&s->own_hands[share]);
    s->own_hands[share].found &= s->own_hands[share].found - 1;
    return slot;
}

static uint64_t evict_main(struct shms_store *s, struct shms_record *record, enum shms_cause cause) {
    uint64_t slots = s->bucket_count * SHMS_BUCKET_SLOTS, hints = shms_min(5 * slots, HINTS_MAX), slot;
    uint64_t least = UINT64_MAX, bytes;
    uint32_t least_used = 4, looked = 0;
    for (; looked < ENTRIES_MAX && (slot = next_of(s, SHMS_SHARE_MAIN, &hints)) != UINT64_MAX; looked++) {
        uint8_t hint = shms_load_relaxed(&s->hints[slot]);
        uint32_t frequency = hint & SHMS_HINT_FREQUENCY;
        if (!(hint & SHMS_HINT_MAIN))
            continue;
        if (frequency) {
            if (frequency < least_used) {
                least = slot;
                least_used = frequency;
            }
            shms_policy_lower(s, slot, hint);
        } else if ((bytes = shms_evict_slot(s, record, slot, cause)) != 0)
            return bytes;
    }
    if (looked == 0 && slots <= HINTS_MAX)
        shms_policy_none(s, SHMS_SHARE_MAIN);
    return least == UINT64_MAX ? 0 : shms_evict_slot(s, record, least, cause);
}

static uint64_t evict_small(struct shms_store *s, struct shms_record *record, enum shms_cause cause) {
    uint64_t slots = s->bucket_count * SHMS_BUCKET_SLOTS, slot, bytes;
    uint32_t looked = 0;
    for (uint32_t round = 0; round < 2; round++) { /* on the second round anything goes, however young */
        uint64_t hints = shms_min(slots + WORDS_TAKEN * WORD, HINTS_MAX);
        for (looked = 0; looked < ENTRIES_MAX && (slot = next_of(s, SHMS_SHARE_SMALL, &hints)) != UINT64_MAX;
             looked++) {
            uint8_t hint = shms_load_relaxed(&s->hints[slot]);
            if (!(hint & SHMS_HINT_USED) || (hint & SHMS_HINT_MAIN) ||
                (round == 0 && shms_policy_age(s, hint) < SHMS_POLICY_YOUNG))
                continue;
            if (hint & SHMS_HINT_FREQUENCY) {
                struct shms_shares n = shms_policy_shares(s);
                if (shms_policy_promote(s, slot, hint) && n.small <= shms_policy_tenth(n) &&
                    (bytes = evict_main(s, record, cause)) != 0)
                    return bytes;
            } else if ((bytes = shms_evict_slot(s, record, slot, cause)) != 0)
                return bytes;
        }
    }
    if (looked == 0 && slots <= HINTS_MAX)
        shms_policy_none(s, SHMS_SHARE_SMALL);
    return 0;
}

uint64_t shms_evict_next(struct shms_store *s, struct shms_record *record, enum shms_cause cause) {
    struct shms_shares n = shms_policy_shares(s);
    bool small_first = n.small >= shms_policy_tenth(n);
    uint64_t bytes = small_first ? evict_small(s, record, cause) : evict_main(s, record, cause);
    if (!bytes)
        bytes = small_first ? evict_main(s, record, cause) : evict_small(s, record, cause);
    uint64_t ahead = AHEAD, slot;
    if (look(s, small_first ? SHMS_SHARE_SMALL : SHMS_SHARE_MAIN, &ahead)) {
        slot = found(&s->own_hands[small_first ? SHMS_SHARE_SMALL : SHMS_SHARE_MAIN]);
        __builtin_prefetch(&s->buckets[slot / SHMS_BUCKET_SLOTS]);
    }
    return bytes;
}

void shms_evict_prepare(struct shms_store *s) {
    struct shms_shares n = shms_policy_shares(s);
    struct shms_own_hand *hand = &s->own_hands[n.small >= shms_policy_tenth(n) ? SHMS_SHARE_SMALL : SHMS_SHARE_MAIN];
    uint64_t slot = hand->found ? found(hand) : 0, word;
    if (!hand->found || slot >= s->bucket_count * SHMS_BUCKET_SLOTS)
        return;
    word = shms_load_relaxed(&s->buckets[slot / SHMS_BUCKET_SLOTS].slots[slot % SHMS_BUCKET_SLOTS]);
    uint64_t offset = SHMS_SLOT_BLOCK(word);
    if (offset < s->heap_offset || offset >= s->heap_end)
        return;
    __builtin_prefetch(s->base + offset);
    __builtin_prefetch(&s->pages[(offset - s->heap_offset) / SHMS_PAGE]);
}
