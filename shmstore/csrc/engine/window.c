/* window.c: the contract is in window.h. */
#include "engine/window.h"

#include "engine/heap.h"
#include "engine/policy.h"
#include "engine/table.h"

#define WINDOWS_LOOKED_AT 16u
#define PAGES_LOOKED_AT 4096u /* in all of them */
#define SPANS_LOOKED_AT 64u   /* for the coldest block */
#define BLOCKS_COMPARED 16u
#define BLOCKS_WEIGHED 4u /* of a span */
#define WORTH_OF_USE 4u

static uint64_t random_below(struct shms_store *s, uint64_t n) {
    s->random = s->random * 6364136223846793005ull + 1442695040888963407ull;
    return (s->random >> 33) % n;
}

/* The first page of the open span that this page belongs to, or the page itself. */
static uint64_t span_around(const struct shms_store *s, uint64_t page, struct shms_span *span, bool *open) {
    if ((*open = shms_span_at(s, page, span)))
        return page;
    uint64_t distance = shms_load_relaxed(&s->pages[page].info);
    if (distance <= page && shms_load_acquire(&s->pages[page].word) && shms_span_at(s, page - distance, span) &&
        span->pages > distance) {
        *open = true;
        return page - distance;
    }
    return page;
}

/* The slot that names this block; UINT64_MAX: none does. */
static uint64_t slot_of(struct shms_store *s, uint64_t offset) {
    uint32_t slot = shms_load_relaxed(&((struct shms_block *)(s->base + offset))->slot);
    uint64_t bucket = slot / SHMS_BUCKET_SLOTS;
    bool names = bucket < s->bucket_count && shms_bucket_in_use(s, bucket) &&
                 SHMS_SLOT_BLOCK(shms_load_acquire(&s->buckets[bucket].slots[slot % SHMS_BUCKET_SLOTS])) == offset;
    return names ? slot : UINT64_MAX;
}

/* How often what is in this slot was used, plus one; in the main share, one more. What is young had no time to be used, and
 * counts as used once. Otherwise the windows with the latest entries would seem to be worth least. */
static uint64_t worth_of(const struct shms_store *s, uint64_t slot) {
    uint8_t hint = shms_load_relaxed(&s->hints[slot]);
    bool is_main = hint & SHMS_HINT_MAIN, young = !is_main && shms_policy_age(s, hint) < SHMS_POLICY_YOUNG;
    return 1u + WORTH_OF_USE * ((hint & SHMS_HINT_FREQUENCY) + young) + is_main;
}

/* The mean over some blocks of the span that are in slots. */
static double worth(struct shms_store *s, const struct shms_span *span) {
    uint64_t sum = 0, seen = 0;
    uint32_t step = (uint32_t)shms_max(1, span->blocks / BLOCKS_WEIGHED);
    for (uint32_t i = (uint32_t)random_below(s, step); i < span->blocks; i += step) {
        uint64_t slot = slot_of(s, span->start + i * span->bytes);
        if (slot == UINT64_MAX)
            continue;
        sum += worth_of(s, slot);
        seen++;
    }
    return seen ? (double)sum / (double)seen : 1;
}

static uint64_t bytes_used(const struct shms_store *s, const struct shms_span *span) {
    const struct shms_page *p = &s->pages[span->first];
    uint32_t free = (uint32_t)(__builtin_popcountll(shms_load_relaxed(&p->map[0])) +
                               __builtin_popcountll(shms_load_relaxed(&p->map[1])));
    return (span->blocks - shms_min(free, span->blocks)) * span->bytes;
}

/* A window of so many pages that begins at this page or at its span. */
static bool measure(struct shms_store *s, uint64_t page, uint64_t pages, struct shms_window *w) {
    uint64_t high = shms_pages_high(s);
    struct shms_span span;
    bool open;
    w->first = w->at = w->end = span_around(s, page, &span, &open);
    w->used = w->worth = 0;
    while (w->end < w->first + pages) {
        if (w->end >= high)
            return false;
        if (!open && shms_load_acquire(&s->pages[w->end].word))
            return false; /* it is being opened or closed */
        if (open) {
            uint64_t used = bytes_used(s, &span);
            w->used += used;
            w->worth += (uint64_t)((double)used * worth(s, &span));
        }
        w->end += open ? span.pages : 1;
        open = w->end < high && shms_span_at(s, w->end, &span);
    }
    w->bytes = (w->end - w->first) * SHMS_PAGE;
    return true;
}

bool shms_window_choose(struct shms_store *s, uint64_t pages, struct shms_window *w) {
    uint64_t high = shms_pages_high(s), looks = shms_max(1, shms_min(WINDOWS_LOOKED_AT, PAGES_LOOKED_AT / pages));
    struct shms_window best = {.worth = UINT64_MAX}, one;
    if (high < pages)
        return false;
    for (uint64_t i = 0; i < looks; i++)
        if (measure(s, random_below(s, high - pages + 1), pages, &one) && one.worth < best.worth)
            best = one;
    if (best.worth == UINT64_MAX)
        return false;
    best.tries = w->tries;
    best.spared = w->spared;
    best.last = 0;
    *w = best;
    return true;
}

/* False: the block stays in use. */
static bool empty_block(struct shms_store *s, struct shms_record *record, uint64_t offset) {
    uint64_t w = shms_load_acquire(shms_word_at(s, offset)), slot;
    if (SHMS_WORD_ALIVE(w))
        return (slot = slot_of(s, offset)) != UINT64_MAX && shms_evict_slot(s, record, slot, SHMS_FOR_MEMORY) != 0;
    if ((w & 3) == SHMS_WORD_ENDED) {
        shms_heap_unpinned(s, offset, w & ~3ull);
        return shms_load_acquire(shms_word_at(s, offset)) != w;
    }
    return true;
}

/* Is it the entry that goes last? */
static bool is_spared(struct shms_store *s, const struct shms_window *w, uint64_t offset) {
    return w->spared && slot_of(s, offset) != UINT64_MAX &&
           shms_block_hash(s, (struct shms_block *)(s->base + offset)) == w->spared;
}

/* Or has the end of its last block closed it? Then its words are its closer's. */
static bool is_open(const struct shms_store *s, const struct shms_span *span) {
    struct shms_span now;
    return shms_span_at(s, span->first, &now) && now.number == span->number;
}

/* Nothing else is left in the window. */
static int clear_last(struct shms_store *s, struct shms_record *record, struct shms_window *w) {
    struct shms_span span;
    if (!shms_span_of(s, w->last, &span))
        return SHMS_OK; /* it was overwritten or removed, and its span closed */
    s->spared = 0;
    bool done = empty_block(s, record, w->last) || !is_open(s, &span);
    s->spared = w->spared;
    return done && (!is_open(s, &span) || shms_span_close(s, &span)) ? SHMS_OK : SHMS_FULL;
}

int shms_window_clear_some(struct shms_store *s, struct shms_record *record, struct shms_window *w, uint32_t blocks) {
    for (uint32_t done = 0; w->at < w->end;) {
        struct shms_span span;
        if (done >= blocks)
            return SHMS_AGAIN;
        if (!shms_span_at(s, w->at, &span)) {
            if (shms_load_acquire(&s->pages[w->at].word))
                return SHMS_FULL; /* another process opens a span here */
            w->at++;
            done++;
            continue;
        }
        bool spares = false;
        for (uint32_t i = 0; i < span.blocks; i++) {
            uint64_t offset = span.start + i * span.bytes;
            if (empty_block(s, record, offset) || !is_open(s, &span))
                continue;
            if (!is_spared(s, w, offset))
                return SHMS_FULL;
            w->last = offset;
            spares = true;
        }
        if (!spares && is_open(s, &span) && !shms_span_close(s, &span))
            return SHMS_FULL;
        w->at += span.pages;
        done += span.blocks;
    }
    return w->last ? clear_last(s, record, w) : SHMS_OK;
}

bool shms_window_coldest(struct shms_store *s, struct shms_record *record, uint32_t kind) {
    uint64_t high = shms_pages_high(s), coldest = UINT64_MAX, least = UINT64_MAX;
    uint32_t seen = 0;
    for (uint32_t i = 0; high && i < SPANS_LOOKED_AT && seen < BLOCKS_COMPARED; i++) {
        struct shms_span span;
        bool open;
        span_around(s, random_below(s, high), &span, &open);
        if (!open || span.kind < kind || span.kind > kind + SHMS_CLASSES_ABOVE || span.kind >= SHMS_CLASSES)
            continue;
        for (uint32_t j = 0; j < 4; j++) {
            uint64_t slot = slot_of(s, span.start + random_below(s, span.blocks) * span.bytes);
            if (slot == UINT64_MAX)
                continue;
            uint64_t worth_here = worth_of(s, slot);
            seen++;
            if (worth_here < least) {
                least = worth_here;
                coldest = slot;
            }
        }
    }
    return coldest != UINT64_MAX && shms_evict_slot(s, record, coldest, SHMS_FOR_MEMORY) != 0;
}
