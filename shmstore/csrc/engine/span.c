/* span.c: steps and argument are in span.h.
 *
 * WHERE A RUN IS LOOKED FOR  Spans of small blocks from below, upwards; large blocks from above, downwards, so that
 * short-lived small spans do not stand between large ones. Only pages below `pages_high` are looked at. It is raised in
 * steps, after the bits and infos of the step have been committed.
 *
 * WHERE THE SYSTEM HAS NO MEMORY  A run that needs some cannot be had, but another one may: one whose pages all kept
 * theirs. If there is none, free pages elsewhere give their memory back, and the first run is tried again.
 *
 * GIVING MEMORY BACK  A page that is freed keeps its memory, as long as all free pages have no more than `keep` together,
 * and a quarter. Above that, memory goes back when a span is closed, until they have `keep`. A large span loses its lower
 * pages: the next large block comes from above. `keep` grows to twice the size of each block of a megabyte or more that
 * needs memory again. So a store that overwrites large values again and again soon stops losing and fetching pages, and
 * a store that shrank once has paid once. */
#include "engine/span.h"

#include "segment/memory.h"

#define HIGH_STEP 4096u        /* pages, by which pages_high is raised: 16 MiB of heap */
#define KEEP_FIRST 4096u       /* pages */
#define RAISES_KEEP_FROM 256u  /* pages: a megabyte */
#define GIVEN_AT_ONCE 1024u    /* pages */
#define CURSOR_FROM (1u << 18) /* pages: in a smaller heap every search begins at its end */
#define SMALL_PAGES 8u         /* runs up to here are looked for from below */
#define OPEN_TRIES 64u
#define RUNS_COMPARED 16u
#define RUNS_LOOKED_AT 4096u /* that are too short; then a hunt finds one (compact.h) */
#define LONG_RUN (1u << 16)  /* pages */

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

/* ---- bits */

static inline bool bit(const _Atomic uint64_t *bits, uint64_t page) {
    return shms_load_relaxed(&bits[page / 64]) >> (page % 64) & 1;
}
static void set_bits(_Atomic uint64_t *bits, uint64_t from, uint64_t to, bool value) {
    for (uint64_t next; from < to; from = next) {
        next = shms_min((from / 64 + 1) * 64, to);
        uint64_t mask = (next - from == 64 ? ~0ull : (1ull << (next - from)) - 1) << (from % 64);
        if (value)
            shms_fetch_or_acq_rel(&bits[from / 64], mask);
        else
            shms_fetch_and_acq_rel(&bits[from / 64], ~mask);
    }
}
/* The first page in [from, to) whose bit is `value`; `to` if there is none. */
static uint64_t next_bit(const _Atomic uint64_t *bits, uint64_t from, uint64_t to, bool value) {
    while (from < to) {
        uint64_t w =
            (value ? shms_load_relaxed(&bits[from / 64]) : ~shms_load_relaxed(&bits[from / 64])) >> (from % 64);
        if (w)
            return shms_min(from + (uint64_t)__builtin_ctzll(w), to);
        from = (from / 64 + 1) * 64;
    }
    return to;
}
/* One behind the last page in [from, to) whose bit is `value`; `from` if there is none. */
static uint64_t last_bit(const _Atomic uint64_t *bits, uint64_t from, uint64_t to, bool value) {
    while (from < to) {
        uint64_t at = to - 1, w = value ? shms_load_relaxed(&bits[at / 64]) : ~shms_load_relaxed(&bits[at / 64]);
        w <<= 63 - at % 64;
        if (w)
            return shms_max(to - (uint64_t)__builtin_clzll(w), from);
        to = at / 64 * 64;
    }
    return from;
}

/* The first run of so many free pages in [from, to), by the bits; UINT64_MAX if there is none among the first *looks runs. */
static uint64_t run_above(struct shms_store *s, uint64_t from, uint64_t to, uint64_t pages, uint32_t *looks) {
    while ((from = next_bit(s->taken, from, to, false)) + pages <= to) {
        uint64_t end = next_bit(s->taken, from, from + pages, true);
        if (end == from + pages)
            return from;
        from = end;
        if (--*looks == 0) {
            s->run_cursor = from;
            break;
        }
    }
    return UINT64_MAX;
}
/* From above: the shortest of the first few that are long enough, so that few short ones are left over. A very long one
 * ends the search. */
static uint64_t run_below(const struct shms_store *s, uint64_t high, uint64_t pages, uint32_t *looks) {
    uint64_t best = UINT64_MAX, least = UINT64_MAX, most = pages + LONG_RUN, to = high, begin;
    for (uint32_t fits = 0; fits < RUNS_COMPARED && (to = last_bit(s->taken, 0, to, false)) >= pages; to = begin) {
        begin = last_bit(s->taken, to > most ? to - most : 0, to, true);
        if (to - begin < pages) {
            if (--*looks == 0)
                break;
            continue;
        }
        fits++;
        if (to - begin < least) {
            least = to - begin;
            best = to - pages;
        }
        if (to - begin == most)
            break;
    }
    return best;
}

/* *looks: so many runs that are too short may be looked at. 0 afterwards: there may be one that was not found. */
static uint64_t find_run(struct shms_store *s, uint64_t pages, uint32_t *looks) {
    uint64_t high = shms_pages_high(s), at, found = s->run_found;
    s->run_found = 0;
    if (high < pages)
        return UINT64_MAX;
    if (found && found - 1 + pages <= high &&
        next_bit(s->taken, found - 1, found - 1 + pages, true) == found - 1 + pages)
        return found - 1;
    if (pages > SMALL_PAGES)
        return run_below(s, high, pages, looks);
    uint64_t cursor = s->run_cursor < high ? s->run_cursor : 0;
    at = run_above(s, cursor, high, pages, looks);
    if (at == UINT64_MAX && cursor && *looks)
        at = run_above(s, 0, shms_min(cursor + pages, high), pages, looks);
    if (*looks) /* else the next search goes on there */
        s->run_cursor = at == UINT64_MAX || high < CURSOR_FROM ? 0 : at;
    return at;
}

/* The first run of so many free pages that all have memory; UINT64_MAX if there is none. */
static uint64_t find_run_with_memory(const struct shms_store *s, uint64_t pages) {
    uint64_t high = shms_pages_high(s), at = 0, begin;
    while ((at = next_bit(s->taken, at, high, false)) + pages <= high) {
        begin = shms_max(last_bit(s->taken, at, at + pages, true), last_bit(s->present, at, at + pages, false));
        if (begin == at)
            return at;
        at = next_bit(s->present, begin, high, true);
    }
    return UINT64_MAX;
}

/* Makes more of the heap known: the bits and infos of its pages are committed first. False: there is no more, or no
 * memory. */
static bool raise_high(struct shms_store *s, uint64_t pages) {
    uint64_t high = shms_load_acquire(&s->header->pages_high);
    if (high >= s->heap_pages)
        return false;
    uint64_t new = shms_min(SHMS_ALIGN_UP(high + pages, HIGH_STEP), s->heap_pages);
    if (s->sparse) {
        uint64_t from = high / 64 * 8, bytes = (new + 63) / 64 * 8 - from;
        if (!shms_commit_sparse(s, (uint64_t)((uint8_t *)s->taken - s->base) + from, bytes) ||
            !shms_commit_sparse(s, (uint64_t)((uint8_t *)s->present - s->base) + from, bytes) ||
            !shms_commit_sparse(s, (uint64_t)((uint8_t *)&s->pages[high] - s->base), (new - high) * sizeof *s->pages))
            return false;
    }
    while (high < new && !shms_cas_acq_rel(&s->header->pages_high, &high, new))
        ;
    return true;
}

/* ---- memory of pages */

/* Commits the pages that may have none. REQUIRES: they are taken by this process. */
static bool commit(struct shms_store *s, uint64_t from, uint64_t to) {
    uint64_t absent = next_bit(s->present, from, to, false), missing = 0;
    if (SHMS_LIKELY(absent == to))
        return true;
    for (uint64_t at = absent; at < to; at = next_bit(s->present, at + 1, to, false))
        missing++;
    if (s->sparse) {
        s->short_of = 0;
        if (!shms_commit_sparse(s, s->heap_offset + absent * SHMS_PAGE, (to - absent) * SHMS_PAGE))
            return false;
    }
    set_bits(s->present, absent, to, true);
    uint64_t returned = shms_load_relaxed(&s->header->returned), keep = shms_load_relaxed(&s->header->keep);
    if (returned && to - from >= RAISES_KEEP_FROM) {
        shms_store_relaxed(&s->header->returned, returned - shms_min(returned, missing));
        shms_store_relaxed(&s->header->keep, shms_max(keep, shms_min(2 * (to - from), s->heap_pages)));
    }
    return true;
}

/* The hint `idle` may be wrong after a death; it never counts below 0. */
static uint64_t add_idle(struct shms_store *s, uint64_t more, uint64_t less) {
    uint64_t idle = shms_load_relaxed(&s->header->idle);
    idle = idle + more - shms_min(less, idle + more);
    shms_store_relaxed(&s->header->idle, idle);
    return idle;
}

static uint64_t count_present(const struct shms_store *s, uint64_t from, uint64_t to) {
    uint64_t count = 0;
    for (uint64_t at = from, end; (at = next_bit(s->present, at, to, true)) < to; at = end) {
        end = next_bit(s->present, at, to, false);
        count += end - at;
    }
    return count;
}

/* REQUIRES: the pages are taken by this process. */
static void give_back(struct shms_store *s, uint64_t from, uint64_t to) {
    uint64_t present = count_present(s, from, to);
    set_bits(s->present, from, to, false); /* before the memory goes: the bit is never set without it */
    shms_os_give_back(s->base + s->heap_offset + from * SHMS_PAGE, (to - from) * SHMS_PAGE);
    shms_store_relaxed(&s->header->returned, shms_load_relaxed(&s->header->returned) + present);
    add_idle(s, 0, present);
}

/* How many of the idle pages are to give their memory back. */
static uint64_t too_many(struct shms_store *s, uint64_t idle) {
    uint64_t keep = shms_max(shms_min(shms_load_relaxed(&s->header->keep), s->heap_pages), KEEP_FIRST);
    return idle > keep + keep / 4 && s->memory->may_give_back(s) ? idle - keep : 0;
}

/* ---- taking and freeing runs */

/* Exchanges the words for 0, the first one last (S2). The bits stay. */
static void free_unseen(struct shms_store *s, uint64_t first, uint64_t pages, uint64_t first_word, uint64_t word) {
    for (uint64_t i = pages; i-- > 0;) {
        uint64_t was = i ? word : first_word;
        shms_cas_acq_rel(&s->pages[first + i].word, &was, 0);
    }
}
/* The bits of free pages: from here on a search finds them, also one that knows of none (pages_missed). */
static void show(struct shms_store *s, uint64_t from, uint64_t to) {
    set_bits(s->taken, from, to, false);
    shms_fetch_add_acq_rel(&s->header->closed, 1);
}
static void free_words(struct shms_store *s, uint64_t first, uint64_t pages, uint64_t first_word, uint64_t word) {
    free_unseen(s, first, pages, first_word, word);
    show(s, first, first + pages);
}

static bool take_words(struct shms_store *s, uint64_t first, uint64_t pages, uint64_t word) {
    for (uint64_t i = 0; i < pages; i++) {
        uint64_t was = 0;
        if (SHMS_LIKELY(shms_cas_acq_rel(&s->pages[first + i].word, &was, word)))
            continue;
        set_bits(s->taken, first + i, first + i + 1, true);
        if (i)
            free_words(s, first, i, word, word);
        return false;
    }
    set_bits(s->taken, first, first + pages, true);
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
        uint64_t at = with_memory ? find_run_with_memory(s, pages) : find_run(s, pages, &looks);
        if (at == UINT64_MAX && with_memory)
            return SHMS_FULL;
        if (at == UINT64_MAX) {
            if (!raise_high(s, pages)) {
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
    uint64_t taken = SHMS_PAGE_TAKEN(number), present = count_present(s, first, first + pages);
    if (SHMS_UNLIKELY(!commit(s, first, first + pages))) {
        free_words(s, first, pages, taken, taken);
        shms_store_release(&record->page, 0);
        return SHMS_FULL;
    }
    if (present)
        add_idle(s, 0, present);
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
    uint64_t high = shms_pages_high(s), at = high, end = high;
    while (at > 0) {
        end = last_bit(s->taken, 0, at, false);
        at = last_bit(s->taken, end > GIVEN_AT_ONCE ? end - GIVEN_AT_ONCE : 0, end, true);
        if (end == 0 || next_bit(s->present, at, end, true) < end)
            break;
    }
    if (end == 0 || at == end || next_bit(s->present, at, end, true) == end)
        return false;
    uint64_t number = shms_number_shared(s), word = SHMS_PAGE_TAKEN(number);
    note_run(record, at, end - at, number, number);
    if (take_words(s, at, end - at, word)) {
        give_back(s, at, end);
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
        uint64_t idle = add_idle(s, span->pages, 0), too = unseen ? 0 : too_many(s, idle);
        if (too && span->pages > SMALL_PAGES)
            give_back(s, span->first, shms_min(span->first + too, end));
        free_unseen(s, span->first, span->pages, SHMS_PAGE_TAKEN(number), SHMS_PAGE_TAKEN(span->number));
        if (!unseen)
            show(s, span->first, end);
        for (int i = 0; too && i < 8 && too_many(s, shms_load_relaxed(&s->header->idle)); i++)
            if (!give_back_some(s, record))
                break;
    }
    shms_store_release(&record->page, 0);
    shms_store_release(&s->is_closing, 0);
    return all;
}

bool shms_span_close(struct shms_store *s, const struct shms_span *span) { return close_span(s, span, false); }

bool shms_span_close_unseen(struct shms_store *s, const struct shms_span *span) { return close_span(s, span, true); }

void shms_span_hide(struct shms_store *s, uint64_t from, uint64_t to) { set_bits(s->taken, from, to, true); }

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

void shms_span_find_free(struct shms_store *s, uint64_t from, uint64_t to) {
    for (uint64_t end; from < to; from = end) {
        bool hidden = shms_load_relaxed(&s->pages[from].word) == 0 && bit(s->taken, from);
        for (end = from + 1; hidden && end < to && shms_load_relaxed(&s->pages[end].word) == 0;)
            end++;
        if (hidden)
            show(s, from, end);
    }
}

uint64_t shms_span_longest_free(struct shms_store *s) {
    uint64_t high = shms_pages_high(s), at = 0, end, longest = 0;
    while ((at = next_bit(s->taken, at, high, false)) < high) {
        end = next_bit(s->taken, at, high, true);
        longest = shms_max(longest, end == high ? s->heap_pages - at : end - at);
        at = end;
    }
    return high && !bit(s->taken, high - 1) ? longest : shms_max(longest, s->heap_pages - high);
}
