/* table.c: layout, steps and ordering are in table.h. */
#include "engine/table.h"

enum { LOOK_MATCH, LOOK_OTHER, LOOK_AGAIN, LOOK_VOID, LOOK_CORRUPT };
/* LOOK_VOID: the slot names a block that is not alive. A block leaves its slot before its life ends, so the second look
 * at the slot shows this only if the slot is damaged. It is not concluded before SHMS_FIND_TRIES looks. */

void shms_key_init(const struct shms_store *s, struct shms_key *k, const void *bytes, uint32_t length, uint32_t kind) {
    k->bytes = bytes;
    k->length = length;
    k->kind = kind;
    k->hash = shms_hash_of(s, bytes, length, kind);
    k->home = shms_home_of(s, k->hash);
}

/* The extension stands between header and key, from *at on. An entry that was moved has its version in the header. */
static bool measure_rare(const struct shms_store *s, struct shms_block *b, struct shms_entry *e, uint64_t *at) {
    uint32_t length;
    e->version_moved = shms_load_relaxed(&b->hash);
    if (!(e->kind & SHMS_FLAG_EXTENDED))
        return true;
    shms_copy_short(&length, s->base + *at, 4);
    if (length < 8 || length > SHMS_EXT_MAX || length % 8 || *at + length > s->heap_end)
        return false;
    e->extension = s->base + *at;
    e->extension_length = length;
    *at += length;
    return true;
}

bool shms_entry_extension(const struct shms_store *s, struct shms_entry *e) {
    uint64_t at = (uint64_t)((uint8_t *)e->block - s->base) + SHMS_BLOCK_HEADER;
    e->extension = NULL;
    e->extension_length = 0;
    return SHMS_LIKELY(!(e->kind & SHMS_FLAG_EXTENDED)) || measure_rare(s, e->block, e, &at);
}

/* Fills *e from the block's header. Every length is checked against the heap. False: the lengths are impossible. The
 * block may be reused meanwhile, so they may be wrong without damage: only step 5 tells. */
static inline bool measure(const struct shms_store *s, struct shms_block *b, struct shms_entry *e, const uint8_t **key,
                           uint32_t *key_length) {
    uint64_t lengths = shms_load_relaxed(&b->lengths);
    uint64_t at = (uint64_t)((uint8_t *)b - s->base) + SHMS_BLOCK_HEADER;
    e->kind = SHMS_LENGTHS_KIND(lengths);
    e->value_length = SHMS_LENGTHS_VALUE(lengths);
    *key_length = SHMS_LENGTHS_KEY(lengths);
    e->extension = NULL;
    e->extension_length = 0;
    if (SHMS_UNLIKELY(e->kind & (SHMS_FLAG_EXTENDED | SHMS_FLAG_MOVED)) && !measure_rare(s, b, e, &at))
        return false;
    if (SHMS_UNLIKELY(*key_length > SHMS_KEY_MAX || at + *key_length > s->heap_end))
        return false;
    *key = s->base + at;
    at += *key_length;
    if (e->value_length >= SHMS_ALIGNED_FROM)
        at = SHMS_ALIGN_VALUE(at, e->kind);
    if (SHMS_UNLIKELY(at > s->heap_end || e->value_length > s->heap_end - at))
        return false;
    e->value = s->base + at;
    return true;
}

uint64_t shms_hash_of_moved(const struct shms_store *s, struct shms_block *b) {
    struct shms_entry e;
    const uint8_t *key;
    uint32_t length;
    uint8_t bytes[SHMS_KEY_MAX];
    if (!measure(s, b, &e, &key, &length))
        return 0; /* the block has another life by now */
    shms_copy_short(bytes, key, length);
    return shms_hash_of(s, bytes, length, e.kind & SHMS_KEY_FLAGS);
}

/* Steps 2 to 5 for the block that slot word w names. */
static inline int look(struct shms_store *s, _Atomic uint64_t *slot, uint64_t w, const struct shms_key *k,
                       struct shms_entry *e) {
    struct shms_block *b = shms_block_at(s, SHMS_SLOT_BLOCK(w));
    if (SHMS_UNLIKELY(!b))
        return shms_load_acquire(slot) == w ? LOOK_CORRUPT : LOOK_AGAIN;
    uint64_t q = shms_load_acquire(&b->word); /* [slot-between] pairs with the exchange [alloc] in heap.c */
    if (SHMS_UNLIKELY(shms_load_acquire(slot) != w))
        return LOOK_AGAIN;
    if (SHMS_UNLIKELY(!SHMS_WORD_ALIVE(q)))
        return LOOK_VOID;
    const uint8_t *key;
    uint32_t key_length;
    bool sound = true;
    bool match =
        (SHMS_LIKELY(shms_load_relaxed(&b->hash) == k->hash) || shms_load_relaxed(&b->lengths) & SHMS_FLAG_MOVED) &&
        (sound = measure(s, b, e, &key, &key_length)) && key_length == k->length &&
        (e->kind & SHMS_KEY_FLAGS) == k->kind && shms_equal_racy(key, k->bytes, key_length);
    e->expiry = shms_load_relaxed(&b->expiry);
    shms_fence_acquire(); /* [block-life] step 5: nothing above may be concluded before this */
    if (SHMS_UNLIKELY(SHMS_WORD_LIFE(shms_load_relaxed(&b->word)) != SHMS_WORD_LIFE(q)))
        return LOOK_AGAIN;
    if (SHMS_UNLIKELY(!sound))
        return LOOK_CORRUPT;
    e->slot = slot;
    e->word = w;
    e->block = b;
    e->life = SHMS_WORD_LIFE(q);
    return match ? LOOK_MATCH : LOOK_OTHER;
}

static inline int probe(struct shms_store *s, const struct shms_key *k, struct shms_entry *e, uint32_t *others) {
    if (others)
        *others = 0;
    if (!shms_bucket_in_use(s, k->home))
        return SHMS_MISS;
    uint64_t tag = SHMS_SLOT_TAG(k->hash, k->home), bucket = k->home;
    uint32_t reach = SHMS_LOCK_REACH(shms_load_acquire(&s->buckets[bucket].lock)), tries = 0, voids = 0;
    bool found = false;
    struct shms_entry found_at;
    for (uint32_t d = 0; d <= reach; d++) {
        if (d && d >= s->bucket_count)
            break; /* a small table has been probed once around */
        if (d && !shms_bucket_in_use(s, bucket))
            goto next;
        struct shms_bucket *b = &s->buckets[bucket];
        for (uint32_t i = 0; i < SHMS_BUCKET_SLOTS; i++) {
            uint64_t w;
        again:
            w = shms_load_acquire(&b->slots[i]); /* [publish] pairs with the exchanges in insert and replace */
            if (SHMS_LIKELY(w == 0 || SHMS_SLOT_TAG_OF(w) != tag)) {
                if (others && w && SHMS_SLOT_HOME8(w) == (uint32_t)(k->home & 0xff))
                    *others = d; /* its home may be 256 buckets away: then the reach is higher than needed */
                continue;
            }
            switch (look(s, &b->slots[i], w, k, e)) {
            case LOOK_VOID:
                voids++; /* fall through */
            case LOOK_AGAIN:
                if (++tries > SHMS_FIND_TRIES)
                    return voids == tries ? SHMS_CORRUPT : SHMS_BUSY;
                shms_count(&s->own_counters[SHMS_RETRIES], 1);
                goto again;
            case LOOK_CORRUPT:
                return SHMS_CORRUPT;
            case LOOK_MATCH:
                e->number = (uint32_t)(bucket * SHMS_BUCKET_SLOTS + i);
                e->distance = d;
                if (!others)
                    return SHMS_OK;
                if (!found)
                    found_at = *e;
                found = true;
                break;
            case LOOK_OTHER:
                if (others)
                    *others = d;
            }
        }
    next:
        if (++bucket == s->bucket_count)
            bucket = 0;
    }
    if (!found)
        return SHMS_MISS;
    *e = found_at;
    return SHMS_OK;
}

SHMS_APART int shms_entry_judge(const struct shms_store *s, const struct shms_entry *e) {
    if (SHMS_LIKELY(!e->extension))
        return SHMS_OK;
    enum shms_generation found = shms_generation_of(s, e->extension, e->extension_length);
    bool there = found != SHMS_OUTDATED || shms_load_acquire(e->slot) == e->word;
    return !there || !shms_entry_unchanged(e) ? SHMS_AGAIN : found == SHMS_OUTDATED ? SHMS_MISS : SHMS_OK;
}

int shms_find(struct shms_store *s, const struct shms_key *k, struct shms_entry *e) {
    for (uint32_t tries = 0; tries < SHMS_FIND_TRIES; tries++) {
        int rc = probe(s, k, e, NULL);
        if (SHMS_LIKELY(rc != SHMS_OK || (e->expiry | (uintptr_t)e->extension) == 0))
            return rc;
        if ((rc = shms_entry_judge(s, e)) == SHMS_AGAIN)
            continue;
        if (rc == SHMS_MISS || e->expiry == 0)
            return rc;
        /* [clock-then-expiry]  The clock first, then the expiry. In the other order, a touch between the two that
         * extended the entry in time would not be seen. */
        uint64_t now = shms_os_now();
        uint64_t expiry = shms_load_acquire(&e->block->expiry);
        if (!shms_entry_unchanged(e))
            continue; /* the entry was overwritten meanwhile */
        e->expiry = expiry;
        if (!expiry || expiry > now)
            return SHMS_OK;
        /* "Expired" is concluded only if the entry was still in its slot after the clock was read. Otherwise another
         * process may have overwritten it before, with a later expiry. */
        if (shms_load_acquire(e->slot) == e->word && shms_entry_unchanged(e))
            return SHMS_MISS;
    }
    return SHMS_BUSY;
}

int shms_find_locked(struct shms_store *s, const struct shms_key *k, struct shms_entry *e, uint32_t *others) {
    return probe(s, k, e, others);
}

int shms_peek(struct shms_store *s, uint64_t bucket, uint32_t index, struct shms_entry *e, const uint8_t **key,
              uint32_t *key_length) {
    _Atomic uint64_t *slot = &s->buckets[bucket].slots[index];
    uint32_t voids = 0;
    for (uint32_t tries = 0; tries < SHMS_FIND_TRIES; tries++) {
        uint64_t w = shms_load_acquire(slot); /* step 1, and then the steps of look(): [publish], [slot-between] */
        if (w == 0)
            return SHMS_MISS;
        struct shms_block *b = shms_block_at(s, SHMS_SLOT_BLOCK(w));
        uint64_t q = b ? shms_load_acquire(&b->word) : 0;
        if (shms_load_acquire(slot) != w)
            continue;
        if (!SHMS_WORD_ALIVE(q)) {
            if (!b || ++voids == SHMS_FIND_TRIES)
                return SHMS_CORRUPT;
            continue;
        }
        bool sound = measure(s, b, e, key, key_length);
        e->expiry = shms_load_relaxed(&b->expiry);
        shms_fence_acquire(); /* [block-life] step 5 */
        if (SHMS_WORD_LIFE(shms_load_relaxed(&b->word)) != SHMS_WORD_LIFE(q))
            continue;
        if (!sound)
            return SHMS_CORRUPT;
        e->slot = slot;
        e->word = w;
        e->block = b;
        e->life = SHMS_WORD_LIFE(q);
        e->number = (uint32_t)(bucket * SHMS_BUCKET_SLOTS + index);
        return SHMS_OK;
    }
    return SHMS_BUSY;
}
