/* heap.c: steps and argument are in heap.h.
 *
 * WHERE A BLOCK COMES FROM, in this order:
 *   1 the block of this class that this process freed last: it is in the cache
 *   2 the half of a span's map that this process took for itself
 *   3 a span that another process, or this one, left a hint for
 *   4 a new span
 *   5 free blocks of larger classes, if there are no pages
 * After a failure the caller tidies the heap (shms_heap_tidy), which finds what hints miss, and tries again. */
#include "engine/heap.h"

#include "engine/pinned.h"

#define CLASS_TRIES 16u /* hints looked at in one allocation */
#define HEADS_LOOKED_AT 512u
#define NEW_TRIES 16u

/* ---- hints of a class */

static void class_push(struct shms_store *s, uint32_t kind, uint64_t page) {
    struct shms_class *c = &s->classes[kind];
    for (uint32_t i = 0; i < SHMS_CLASS_HINTS; i++) {
        uint32_t none = 0;
        _Atomic uint32_t *hint = &c->hints[(page + i) % SHMS_CLASS_HINTS];
        if (shms_load_relaxed(hint) == page + 1)
            return;
        if (shms_load_relaxed(hint) == 0 && shms_cas_acq_rel(hint, &none, (uint32_t)page + 1))
            return;
    }
    shms_store_relaxed(&c->more, 1);
}

static bool class_pop(struct shms_store *s, uint32_t kind, uint64_t *page) {
    struct shms_class *c = &s->classes[kind];
    for (uint32_t i = 0; i < SHMS_CLASS_HINTS; i++) {
        uint32_t hint = shms_load_relaxed(&c->hints[i]);
        if (hint && shms_cas_acq_rel(&c->hints[i], &hint, 0)) {
            *page = hint - 1;
            return true;
        }
    }
    return false;
}

/* There were more spans with free blocks than hints: looks at some spans from where the last look ended. */
static bool class_look(struct shms_store *s, uint32_t kind, uint64_t *page) {
    struct shms_class *c = &s->classes[kind];
    if (!shms_load_relaxed(&c->more))
        return false;
    uint64_t high = shms_pages_high(s), at = s->look_cursor < high ? s->look_cursor : 0;
    if (at == 0)
        shms_store_relaxed(&c->more, 0); /* before the round: a hint that finds no room from now on sets it again */
    for (uint32_t i = 0; i < HEADS_LOOKED_AT && at < high; i++) {
        struct shms_span span;
        bool open = shms_span_at(s, at, &span);
        if (open && span.kind == kind &&
            (shms_load_relaxed(&s->pages[at].map[0]) || shms_load_relaxed(&s->pages[at].map[1]))) {
            *page = at;
            s->look_cursor = at + span.pages;
            shms_store_relaxed(&c->more, 1);
            return true;
        }
        at += open ? span.pages : 1;
    }
    if (at < high)
        shms_store_relaxed(&c->more, 1);
    s->look_cursor = at < high ? at : 0;
    return false;
}

/* ---- free blocks of a span, by its map */

static uint32_t bits_free(const struct shms_page *p) {
    return (uint32_t)(__builtin_popcountll(shms_load_relaxed(&p->map[0])) +
                      __builtin_popcountll(shms_load_relaxed(&p->map[1])));
}
static void own_give_up(struct shms_store *s, uint32_t kind);

/* Free blocks of the span that this process keeps to itself. */
static uint32_t own_free(const struct shms_store *s, const struct shms_span *span) {
    const struct shms_own_span *own = &s->own[span->kind];
    uint32_t count = own->kept - span->start < span->blocks * span->bytes;
    return own->span == span->first + 1 ? count + (uint32_t)__builtin_popcountll(own->bits) : count;
}

/* The block is free: others may take it. The process that frees the last block of a span closes it. keeps: the GIL is held,
 * so this process may look at what it keeps to itself. */
static void map_add(struct shms_store *s, const struct shms_span *span, uint64_t offset, bool keeps) {
    uint32_t index = shms_span_index(span, offset);
    struct shms_page *p = &s->pages[span->first];
    uint64_t was = shms_fetch_or_acq_rel(&p->map[index / 64], 1ull << (index % 64));
    if (was == 0 && span->blocks > 1) /* the hint for the other half may be with the process that took this one */
        class_push(s, span->kind, span->first);
    if (SHMS_LIKELY(bits_free(p) + (keeps ? own_free(s, span) : 0) < span->blocks))
        return;
    if (keeps)
        own_give_up(s, span->kind);
    shms_span_close(s, span);
}

/* Takes one half of the map for this process. */
static bool own_take(struct shms_store *s, uint32_t kind, uint64_t page) {
    struct shms_own_span *own = &s->own[kind];
    struct shms_span span;
    if (!shms_span_at(s, page, &span) || span.kind != kind)
        return false;
    for (uint32_t half = 0; half < 2; half++) {
        if (!shms_load_relaxed(&s->pages[page].map[half]))
            continue;
        uint64_t bits = shms_exchange_acq_rel(&s->pages[page].map[half], 0);
        if (!bits)
            continue;
        own->span = (uint32_t)page + 1;
        own->half = half;
        own->bits = bits;
        return true;
    }
    return false;
}

static bool own_refill(struct shms_store *s, uint32_t kind) {
    uint64_t page;
    if (s->own[kind].span && own_take(s, kind, s->own[kind].span - 1)) /* the other half, or what was freed since */
        return true;
    s->own[kind].span = 0;
    for (uint32_t i = 0; i < CLASS_TRIES && class_pop(s, kind, &page); i++)
        if (own_take(s, kind, page))
            return true;
    return class_look(s, kind, &page) && own_take(s, kind, page);
}

static void own_give_up(struct shms_store *s, uint32_t kind) {
    struct shms_own_span *own = &s->own[kind];
    struct shms_span span;
    uint64_t bits = own->bits, kept = own->kept;
    own->bits = own->kept = 0;
    if (kept && shms_span_of(s, kept, &span))
        map_add(s, &span, kept, false);
    for (; bits && own->span && shms_span_at(s, own->span - 1, &span); bits &= bits - 1) {
        uint64_t index = own->half * 64 + (uint64_t)__builtin_ctzll(bits);
        if (index < span.blocks)
            map_add(s, &span, span.start + index * span.bytes, false);
    }
    own->span = 0;
}

void shms_heap_leave(struct shms_store *s) {
    for (uint32_t kind = 0; kind < SHMS_CLASSES; kind++)
        own_give_up(s, kind);
}

/* ---- allocating */

/* Step 1 and 2. False: the block is not free, or not in this span any more. */
static inline bool take(struct shms_store *s, struct shms_record *record, uint64_t offset,
                        const struct shms_span *span) {
    uint64_t life = shms_life_of(s, shms_number(s)), was = span->free;
    shms_store_release(&record->life, life);    /* [record-then-owner] */
    shms_store_release(&record->block, offset); /* B2: before the exchange, which also releases it */
    if (SHMS_LIKELY(shms_cas_acq_rel(shms_word_at(s, offset), &was, life))) { /* [alloc] */
        s->allocated = offset;
        s->allocated_life = life;
        s->allocated_bytes = span->bytes;
        shms_fence_release(); /* [block-life] pairs with the fence in shms_entry_unchanged and look */
        return true;
    }
    shms_store_release(&record->block, 0);
    return false;
}

/* From what this process keeps and from hints. */
static bool take_free(struct shms_store *s, struct shms_record *record, uint32_t kind) {
    struct shms_own_span *own = &s->own[kind];
    struct shms_span span;
    if (SHMS_LIKELY(own->kept != 0)) {
        uint64_t offset = own->kept;
        own->kept = 0;
        if (SHMS_LIKELY(shms_span_of(s, offset, &span) && span.kind == kind && take(s, record, offset, &span)))
            return true;
    }
    for (uint32_t tries = 0; tries < 2 * SHMS_SPAN_BLOCKS_MAX; tries++) {
        if (own->bits == 0 && !own_refill(s, kind))
            return false;
        if (SHMS_UNLIKELY(!own->span || !shms_span_at(s, own->span - 1, &span) || span.kind != kind)) {
            own->bits = 0; /* it was closed: the bits were another's hints */
            continue;
        }
        uint64_t index = own->half * 64 + (uint64_t)__builtin_ctzll(own->bits);
        own->bits &= own->bits - 1;
        if (index < span.blocks && take(s, record, span.start + index * span.bytes, &span))
            return true;
    }
    return false;
}

/* A new span. Its first block is the caller's; the others are kept by this process. */
static int take_new(struct shms_store *s, struct shms_record *record, uint32_t kind, uint64_t pages) {
    struct shms_span span;
    bool taken = false;
    for (uint32_t tries = 0; !taken; tries++) { /* another process that tidies may close the span before it is used */
        int rc = tries < NEW_TRIES ? shms_span_open(s, record, kind, pages, &span) : SHMS_FULL;
        if (rc != SHMS_OK)
            return rc;
        taken = take(s, record, span.start, &span);
        shms_store_release(&record->page, 0); /* after the block is stated: a death in between leaves no span unknown */
    }
    if (span.blocks > 1) {
        struct shms_own_span *own = &s->own[kind];
        if (own->bits)
            own_give_up(s, kind);
        uint32_t first = span.blocks < 64 ? span.blocks : 64;
        own->span = (uint32_t)span.first + 1;
        own->half = 0;
        own->bits = (first == 64 ? ~0ull : (1ull << first) - 1) & ~1ull;
        if (span.blocks > 64) {
            shms_fetch_or_acq_rel(&s->pages[span.first].map[1], (1ull << (span.blocks - 64)) - 1);
            class_push(s, kind, span.first);
        }
    }
    return SHMS_OK;
}

/* A block of the first span that there is room for: of as many pages as it should have, or as few as hold one block. */
static int take_first(struct shms_store *s, struct shms_record *record, uint32_t kind) {
    uint64_t least = (shms_class_bytes(kind) + SHMS_PAGE - 1) / SHMS_PAGE, pages = shms_class_pages(kind);
    int rc = take_new(s, record, kind, pages);
    return rc == SHMS_OK || least == pages ? rc : take_new(s, record, kind, least);
}

int shms_heap_alloc_moved(struct shms_store *s, struct shms_record *record, uint64_t bytes, bool opens) {
    uint32_t kind = shms_class_of(bytes);
    if (kind != SHMS_CLASS_LARGE && take_free(s, record, kind))
        return SHMS_OK;
    if (!opens)
        return SHMS_FULL;
    return kind == SHMS_CLASS_LARGE ? take_new(s, record, kind, (bytes + SHMS_PAGE - 1) / SHMS_PAGE)
                                    : take_first(s, record, kind);
}

int shms_heap_alloc(struct shms_store *s, struct shms_record *record, uint64_t bytes) {
    uint32_t kind = shms_class_of(bytes);
    if (SHMS_UNLIKELY(kind == SHMS_CLASS_LARGE))
        return take_new(s, record, SHMS_CLASS_LARGE, (bytes + SHMS_PAGE - 1) / SHMS_PAGE);
    if (SHMS_LIKELY(take_free(s, record, kind)))
        return SHMS_OK;
    int rc = take_first(s, record, kind);
    if (SHMS_LIKELY(rc == SHMS_OK))
        return rc;
    int short_of = s->short_of;
    if (!shms_evicts(s)) /* a cache evicts first (evict.h) */
        rc = shms_heap_alloc_larger(s, record, kind, SHMS_CLASSES - 1 - kind);
    s->short_of = short_of;
    return rc;
}

int shms_heap_alloc_larger(struct shms_store *s, struct shms_record *record, uint32_t kind, uint32_t classes) {
    for (uint32_t larger = kind + 1; larger < SHMS_CLASSES && larger <= kind + classes; larger++)
        if (take_free(s, record, larger))
            return SHMS_OK;
    return SHMS_FULL;
}

/* ---- ending */

/* The block has just become free. */
static void became_free(struct shms_store *s, const struct shms_span *span, uint64_t offset, bool keeps) {
    if (span->kind == SHMS_CLASS_LARGE) {
        shms_store_relaxed(&s->pages[span->first].map[0], 1);
        shms_span_close(s, span);
    } else if (keeps && s->own[span->kind].kept == 0)
        s->own[span->kind].kept = offset;
    else
        map_add(s, span, offset, keeps);
}

static void end_zombie(struct shms_store *s, const struct shms_span *span, uint64_t offset, uint64_t life) {
    uint64_t zombie = shms_zombie_word(life);
    if (!shms_pin_any(s, offset, life) && shms_cas_acq_rel(shms_word_at(s, offset), &zombie, span->free)) /* [unpin] */
        became_free(s, span, offset, false);
}

void shms_heap_end_in(struct shms_store *s, const struct shms_span *span, uint64_t offset, uint64_t life, bool keeps) {
    uint64_t was = life;
    if (SHMS_LIKELY(shms_cas_acq_rel(shms_word_at(s, offset), &was, span->free))) {
        became_free(s, span, offset, keeps);
        return;
    }
    if (was == (life | SHMS_WORD_PINNED))
        shms_cas_seq_cst(shms_word_at(s, offset), &was, shms_zombie_word(life));
    end_zombie(s, span, offset, life);
}

void shms_heap_end(struct shms_store *s, uint64_t offset, uint64_t life, bool keeps) {
    struct shms_span span;
    if (SHMS_LIKELY(
            shms_span_of(s, offset, &span))) /* else the life has ended: a span with a block in use stays open (S1) */
        shms_heap_end_in(s, &span, offset, life, keeps);
}

void shms_heap_end_unseen(struct shms_store *s, uint64_t offset, uint64_t life) {
    struct shms_span span;
    uint64_t was = life;
    if (!shms_span_of(s, offset, &span) || !shms_cas_acq_rel(shms_word_at(s, offset), &was, span.free))
        shms_heap_end(s, offset, life, false); /* it was pinned */
}

void shms_heap_hide(struct shms_store *s, const struct shms_span *span) {
    if (span->kind == SHMS_CLASS_LARGE)
        return; /* nobody keeps a large block, or looks for one by its map */
    struct shms_own_span *own = &s->own[span->kind];
    for (uint32_t half = 0; half < 2; half++)
        if (shms_load_relaxed(&s->pages[span->first].map[half]))
            shms_exchange_acq_rel(&s->pages[span->first].map[half], 0);
    if (own->span == span->first + 1)
        own->span = 0, own->bits = 0;
    if (own->kept - span->start < span->blocks * span->bytes)
        own->kept = 0;
}

void shms_heap_unpinned(struct shms_store *s, uint64_t offset, uint64_t life) {
    struct shms_span span;
    if (shms_span_of(s, offset, &span) && shms_load_acquire(shms_word_at(s, offset)) == shms_zombie_word(life))
        end_zombie(s, &span, offset, life);
}

/* ---- tidying */

/* Is the block free, or was it a zombie that is not pinned? */
static bool is_free(struct shms_store *s, const struct shms_span *span, uint32_t i) {
    uint64_t offset = span->start + i * span->bytes, w = shms_load_acquire(shms_word_at(s, offset));
    if ((w & 3) == SHMS_WORD_ENDED)
        shms_heap_unpinned(s, offset, w & ~3ull);
    return shms_load_acquire(shms_word_at(s, offset)) == span->free;
}

/* Sets the bits of free blocks, frees zombies that are not pinned, and closes the span if nothing else is in it. Bits
 * that a process keeps to itself are set, too: then it finds that others were faster. Blocks of less than `least` bytes
 * are of no use: a span of them is of use only if it is empty. Returns how many blocks were looked at. */
static uint32_t tidy_span(struct shms_store *s, const struct shms_span *span, uint64_t least) {
    uint64_t map[2] = {0, 0};
    uint32_t free = 0, i = 0;
    for (; i < span->blocks && (span->bytes >= least || free == i); i++)
        if (is_free(s, span, i)) {
            map[i / 64] |= 1ull << (i % 64);
            free++;
        }
    if (free == 0 || (free == span->blocks && shms_span_close(s, span)) || i < span->blocks)
        return i;
    for (uint32_t half = 0; half < 2; half++)
        if (map[half] & ~shms_load_relaxed(&s->pages[span->first].map[half]))
            shms_fetch_or_acq_rel(&s->pages[span->first].map[half], map[half]);
    if (span->blocks > 1)
        class_push(s, span->kind, span->first);
    return i;
}

bool shms_heap_tidy_for(struct shms_store *s, uint64_t least, uint64_t *page, uint64_t most) {
    uint64_t high = shms_pages_high(s), done = 0;
    if (*page == 0)
        s->pages_missed = UINT64_MAX; /* the next search looks at all free pages */
    while (*page < high) {
        struct shms_span span;
        if (done++ >= most)
            return false;
        if (shms_span_at(s, *page, &span)) {
            done += tidy_span(s, &span, least);
            *page += span.pages;
        } else {
            shms_pages_find_free(s, *page, *page + 1);
            *page += 1;
        }
    }
    return true;
}

uint64_t shms_heap_largest(const struct shms_store *s) { return s->heap_pages * SHMS_PAGE; }
