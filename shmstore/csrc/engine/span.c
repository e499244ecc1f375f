/* span.c: steps and argument are in span.h. Where runs are looked for, and when memory goes back, is in pages.h. */
#include "engine/span.h"

#include "segment/memory.h"

#define OPEN_TRIES 64u
#define RUNS_LOOKED_AT 4096u /* that are too short; then a hunt finds one (compact.h) */

/* ---- views */

static bool view(const struct shms_store *s, uint64_t page, uint64_t word, struct shms_span *ret) {
    uint64_t info = shms_load_relaxed(&s->pages[page].info);
    uint32_t kind = (uint32_t)info & 0xff;
    uint64_t pages = info >> 8;
    bool large = kind == SHMS_CLASS_LARGE;
    if (pages == 0 || pages > s->heap_pages - page ||
        (!large && (kind >= SHMS_CLASSES || pages > SHMS_CLASS_PAGES_MAX)))
        return false;
    ret->first = page;
    ret->pages = pages;
    ret->number = SHMS_PAGE_NUMBER(word);
    ret->free = shms_free_word(s, ret->number);
    ret->start = s->heap_offset + page * SHMS_PAGE;
    ret->kind = kind;
    ret->bytes = large ? pages * SHMS_PAGE : shms_class_bytes(kind);
    ret->blocks = large ? 1 : shms_class_times(kind, pages * SHMS_PAGE);
    return ret->blocks >= 1 && ret->blocks <= SHMS_SPAN_BLOCKS_MAX;
}

bool shms_span_at(const struct shms_store *s, uint64_t page, struct shms_span *ret) {
    if (page >= s->heap_pages)
        return false;
    uint64_t word = shms_load_acquire(&s->pages[page].word); /* [open-span] */
    return SHMS_PAGE_IS_OPEN(word) && view(s, page, word, ret);
}

bool shms_span_of(const struct shms_store *s, uint64_t offset, struct shms_span *ret) {
    if (offset < s->heap_offset || offset >= s->heap_end)
        return false;
    uint64_t page = (offset - s->heap_offset) / SHMS_PAGE, word = shms_load_acquire(&s->pages[page].word);
    if (!SHMS_PAGE_IS_OPEN(word)) {
        uint64_t distance = shms_load_relaxed(&s->pages[page].info);
        if (distance > page)
            return false;
        page -= distance;
        word = shms_load_acquire(&s->pages[page].word); /* [open-span] */
        if (!SHMS_PAGE_IS_OPEN(word))
            return false;
    }
    if (!view(s, page, word, ret) || offset - ret->start >= ret->blocks * ret->bytes)
        return false;
    return shms_span_index(ret, offset) * ret->bytes == offset - ret->start;
}

/* ---- taking and freeing runs */

/* Exchanges the words for 0, the first one last (S2). The bits stay. */
static void free_unseen(struct shms_store *s, uint64_t first, uint64_t pages, uint64_t first_word, uint64_t word) {
    for (uint64_t i = pages; i-- > 0;) {
        uint64_t was = i ? word : first_word;
        shms_cas_acq_rel(&s->pages[first + i].word, &was, 0);
    }
}
static void free_words(struct shms_store *s, uint64_t first, uint64_t pages, uint64_t first_word, uint64_t word) {
    free_unseen(s, first, pages, first_word, word);
    shms_pages_show(s, first, first + pages);
}

static bool take_words(struct shms_store *s, uint64_t first, uint64_t pages, uint64_t word) {
    for (uint64_t i = 0; i < pages; i++) {
        uint64_t was = 0;
        if (SHMS_LIKELY(shms_cas_acq_rel(&s->pages[first + i].word, &was, word)))
            continue;
        shms_pages_hide(s, first + i, first + i + 1);
        if (i)
            free_words(s, first, i, word, word);
        return false;
    }
    shms_pages_hide(s, first, first + pages);
    return true;
}

static void note_run(struct shms_record *r, uint64_t first, uint64_t pages, uint64_t number, uint64_t span) {
    shms_store_release(&r->other, number);
    shms_store_release(&r->blocks, span);
    shms_store_release(&r->page, SHMS_RECORD_RUN(first, pages)); /* last: a finder that sees it sees the numbers */
}

/* Takes a run of pages with a new number. record.page names it. */
static int take_run(struct shms_store *s, struct shms_record *record, uint64_t pages, bool with_memory, uint64_t *first,
                    uint64_t *number) {
    for (uint32_t tries = 0; tries < OPEN_TRIES;) {
        uint64_t closed = shms_load_acquire(&s->header->closed);
        uint32_t looks = RUNS_LOOKED_AT;
        s->short_of = 0;
        if (closed == s->closed_seen && pages >= s->pages_missed)
            return SHMS_FULL; /* a full cache comes here with every put */
        uint64_t at = with_memory ? shms_pages_find_with_memory(s, pages) : shms_pages_find(s, pages, &looks);
        if (at == UINT64_MAX && with_memory)
            return SHMS_FULL;
        if (at == UINT64_MAX) {
            if (!shms_pages_raise(s, pages)) {
                if (s->short_of == 0 && looks) {
                    s->pages_missed = closed == s->closed_seen ? shms_min(pages, s->pages_missed) : pages;
                    s->closed_seen = closed;
                }
                return SHMS_FULL;
            }
            continue; /* ends, because pages_high only grows */
        }
        *number = shms_number(s);
        note_run(record, at, pages, *number, *number);
        if (SHMS_LIKELY(take_words(s, at, pages, SHMS_PAGE_TAKEN(*number)))) {
            *first = at;
            return SHMS_OK;
        }
        shms_store_release(&record->page, 0);
        tries++;
    }
    return SHMS_FULL;
}

static int open_run(struct shms_store *s, struct shms_record *record, uint32_t kind, uint64_t pages, bool with_memory,
                    struct shms_span *ret) {
    uint64_t first, number;
    int rc = take_run(s, record, pages, with_memory, &first, &number);
    if (rc != SHMS_OK)
        return rc;
    uint64_t taken = SHMS_PAGE_TAKEN(number), present = shms_pages_count_present(s, first, first + pages);
    if (SHMS_UNLIKELY(!shms_pages_commit(s, first, first + pages))) {
        free_words(s, first, pages, taken, taken);
        shms_store_release(&record->page, 0);
        return SHMS_FULL;
    }
    if (present)
        shms_pages_add_idle(s, 0, present);
    for (uint64_t i = 1; i < pages; i++)
        shms_store_relaxed(&s->pages[first + i].info, i);
    shms_store_relaxed(&s->pages[first].info, pages << 8 | kind);
    shms_fence_release(); /* [block-life] these words lie within blocks of the former span, which a reader may be copying */
    view(s, first, SHMS_PAGE_OPEN(number), ret);
    for (uint32_t i = 0; i < ret->blocks; i++)
        shms_store_relaxed(shms_word_at(s, ret->start + i * ret->bytes), ret->free);
    shms_store_relaxed(&s->pages[first].map[0], 0);
    shms_store_relaxed(&s->pages[first].map[1], 0);
    uint64_t was = taken;
    return shms_cas_acq_rel(&s->pages[first].word, &was, SHMS_PAGE_OPEN(number)) ? SHMS_OK
                                                                                 : SHMS_FULL; /* [open-span] */
}

/* Gives back the memory of free pages: takes the highest run that has some, as an opener does, and frees it again.
 * False: no free page has memory. */
static bool give_back_some(struct shms_store *s, struct shms_record *record) {
    uint64_t at, end;
    if (!shms_pages_with_memory(s, &at, &end))
        return false;
    uint64_t number = shms_number_shared(s), word = SHMS_PAGE_TAKEN(number);
    note_run(record, at, end - at, number, number);
    if (take_words(s, at, end - at, word)) {
        shms_pages_give_back(s, at, end);
        free_words(s, at, end - at, word, word);
    }
    shms_store_release(&record->page, 0);
    return true;
}

int shms_span_open(struct shms_store *s, struct shms_record *record, uint32_t kind, uint64_t pages,
                   struct shms_span *ret) {
    int rc = open_run(s, record, kind, pages, false, ret);
    if (SHMS_LIKELY(rc == SHMS_OK) || s->short_of == 0)
        return rc;
    int short_of = s->short_of;
    if (open_run(s, record, kind, pages, true, ret) == SHMS_OK)
        return SHMS_OK;
    bool more = false; /* ends: a run loses its memory, or a page in it turns out to be taken */
    while (s->memory->may_give_back(s) && give_back_some(s, record))
        more = true;
    s->short_of = short_of;
    return more ? open_run(s, record, kind, pages, false, ret) : rc;
}

static bool close_span(struct shms_store *s, const struct shms_span *span, bool unseen) {
    uint32_t idle = 0;
    if (!s->me || !shms_cas_acq_rel(&s->is_closing, &idle, 1))
        return false;
    struct shms_record *record = &s->me->records[SHMS_CLIENT_CLOSER];
    uint64_t number = shms_number_shared(s), life = shms_life_of(s, number);
    note_run(record, span->first, span->pages, number, span->number);
    uint32_t mine = 0;
    for (; mine < span->blocks; mine++) {
        uint64_t was = span->free;
        if (!shms_cas_acq_rel(shms_word_at(s, span->start + mine * span->bytes), &was, life))
            break;
    }
    bool all = mine == span->blocks;
    if (!all)
        while (mine-- > 0) {
            uint64_t was = life;
            shms_cas_acq_rel(shms_word_at(s, span->start + mine * span->bytes), &was, span->free);
        }
    uint64_t open = SHMS_PAGE_OPEN(span->number);
    if (all && shms_cas_acq_rel(&s->pages[span->first].word, &open, SHMS_PAGE_TAKEN(number))) {
        uint64_t end = span->first + span->pages;
        uint64_t idle = shms_pages_add_idle(s, span->pages, 0), too = unseen ? 0 : shms_pages_too_many(s, idle);
        if (too && span->pages > SHMS_SMALL_PAGES)
            shms_pages_give_back(s, span->first, shms_min(span->first + too, end));
        free_unseen(s, span->first, span->pages, SHMS_PAGE_TAKEN(number), SHMS_PAGE_TAKEN(span->number));
        if (!unseen)
            shms_pages_show(s, span->first, end);
        for (int i = 0; too && i < 8 && shms_pages_too_many(s, shms_load_relaxed(&s->header->idle)); i++)
            if (!give_back_some(s, record))
                break;
    }
    shms_store_release(&record->page, 0);
    shms_store_release(&s->is_closing, 0);
    return all;
}

bool shms_span_close(struct shms_store *s, const struct shms_span *span) { return close_span(s, span, false); }

bool shms_span_close_unseen(struct shms_store *s, const struct shms_span *span) { return close_span(s, span, true); }

void shms_span_settle(struct shms_store *s, uint64_t run, uint64_t number, uint64_t span) {
    uint64_t first = (run & 0xffffffffull) - 1, pages = run >> 32;
    if (!run || first >= shms_pages_high(s) || pages == 0 || pages > shms_pages_high(s) - first)
        return;
    uint64_t word = shms_load_acquire(&s->pages[first].word);
    struct shms_span open;
    if (word == SHMS_PAGE_OPEN(span) && shms_span_at(s, first, &open)) {
        if (number == span)
            return;
        uint64_t life = shms_life_of(s, number);
        for (uint32_t i = 0; i < open.blocks; i++) {
            uint64_t was = life;
            shms_cas_acq_rel(shms_word_at(s, open.start + i * open.bytes), &was, open.free);
        }
    } else if (word == SHMS_PAGE_TAKEN(number))
        free_words(s, first, pages, word, SHMS_PAGE_TAKEN(span));
}
