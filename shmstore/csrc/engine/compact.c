/* compact.c: what is done, and when it ends, is in compact.h. */
#include "engine/compact.h"

#include "engine/heap.h"
#include "engine/compact.cdef.h"

static_assert(sizeof(struct shms_compact) <= sizeof(struct shms_compaction), "callers have room for it");

#define ASKS 3u           /* lengths that are asked for, each for a third of the steps at most */
#define MORE_LEAST 32u    /* pages, if that is a small part of the heap */
#define PART_LEAST 65536u /* pages of the heap that are looked at */
#define PART_OF_WANTED 64u
#define PAGES_AT_ONCE 16384u
#define BLOCKS_AT_ONCE 16384u

/* ---- for a put */

/* Begins to look for the next length: three times what is needed, or nearly all that is free; twice what is needed; just that.
 * False: less than that is free. Blocks that processes keep to themselves do not count as free, so just what is needed is looked
 * for anyway where that is quick. If large values are put into what is free in pieces, one after the other, each piece becomes
 * shorter than any value, and then nothing can be moved. Hence a long run is wanted first. */
static bool ask(const struct shms_store *s, struct shms_hunt *h, uint64_t wanted) {
    uint64_t more = shms_max(wanted, shms_min(MORE_LEAST, s->heap_pages / 512));
    for (; h->asked < ASKS; h->asked++) {
        uint64_t length = wanted + (ASKS - 1 - h->asked) * more;
        bool is_last = h->asked == ASKS - 1 && h->search.end - h->search.first == s->heap_pages;
        uint64_t free = h->search.free_pages + h->search.free_blocks / SHMS_PAGE;
        if (h->asked == 0)
            length = shms_min(length, free / 8 * 7);
        if ((length > free || length < wanted) && !is_last)
            continue;
        shms_search_run(&h->search, length);
        return true;
    }
    return false;
}

/* Begins with the next part of the heap, which is all of it if the heap is small. False: there is no other part. */
static bool aim(struct shms_store *s, struct shms_hunt *h, uint64_t wanted) {
    uint64_t part = shms_min(shms_max(PART_LEAST, PART_OF_WANTED * wanted), s->heap_pages);
    if (h->looked >= s->heap_pages || !shms_search_begin(s, wanted, &h->search))
        return false;
    uint64_t first = shms_min(s->hunt_page, s->heap_pages - part);
    shms_search_within(&h->search, first, first + part);
    h->counting = true;
    return true;
}

int shms_hunt_step(struct shms_store *s, struct shms_hunt *h, uint64_t bytes) {
    uint64_t wanted = (bytes + SHMS_PAGE - 1) / SHMS_PAGE, most = SHMS_HUNT_STEPS(wanted);
    if (h->steps++ == most)
        return SHMS_FULL;
    if (!h->search.count) /* at first, and if another process was faster */
        return aim(s, h, wanted) ? SHMS_AGAIN : SHMS_FULL;
    int rc = SHMS_AGAIN;
    if (!h->counting)
        rc = shms_search_step(s, &h->search);
    else if (shms_search_count(s, &h->search)) {
        h->counting = false;
        rc = ask(s, h, wanted) ? SHMS_AGAIN : SHMS_FULL;
    }
    if (rc == SHMS_OK)
        s->run_found = h->search.levels[0].best + 1;
    else if (rc == SHMS_FULL && h->search.count && ++h->asked < ASKS && ask(s, h, wanted))
        return SHMS_AGAIN;
    else if (rc == SHMS_FULL) {
        h->looked += h->search.end - h->search.first;
        s->hunt_page = h->search.end < s->heap_pages ? h->search.end : 0;
        h->asked = 0;
    } else if (h->asked + 1 < ASKS && h->steps > most / ASKS * (h->asked + 1))
        h->asked++; /* and begin again */
    else
        return rc;
    shms_search_end(s, &h->search);
    return rc == SHMS_OK ? rc : SHMS_AGAIN;
}

void shms_hunt_end(struct shms_store *s, struct shms_hunt *h) { shms_search_end(s, &h->search); }

/* ---- compact() */

enum { TIDY, COUNT, PACK, PAGES, RUNS, DONE };

/* Begins to empty the next span whose entries the other spans of its class can hold. True: there is none left. */
static bool pack(struct shms_store *s, struct shms_compact *c) {
    uint64_t high = shms_pages_high(s);
    for (uint32_t looks = 0; looks < PAGES_AT_ONCE && c->page < high; looks++) {
        struct shms_span span;
        bool open = shms_span_at(s, c->page, &span);
        uint64_t first = c->page;
        c->page += open ? span.pages : 1;
        if (!open || span.kind == SHMS_CLASS_LARGE)
            continue;
        uint32_t used = span.blocks - shms_search_free(s, &span);
        if (used == 0 || used * 4 > c->share * span.blocks || c->search.spare[span.kind] < span.blocks)
            continue;
        c->kind = span.kind;
        c->blocks = span.blocks;
        c->busy = true;
        shms_search_span(s, &c->search, first, c->page);
        return false;
    }
    return c->page >= high;
}

/* Chooses the length of the next run: half way from what there is to what could not be made. False: near enough. */
static bool choose_run(struct shms_store *s, struct shms_compact *c) {
    uint64_t longest = shms_pages_longest_free(s);
    c->wanted = c->wanted ? longest + (shms_max(c->wanted, longest) - longest) / 2 : c->search.free_pages;
    if (c->wanted <= longest + c->search.free_pages / 64)
        return false;
    c->busy = true;
    shms_search_run(&c->search, c->wanted);
    return true;
}

/* What the search has come to. */
static void conclude(struct shms_compact *c, int rc) {
    c->busy = false;
    if (c->part == PACK && rc == SHMS_OK)
        c->search.spare[c->kind] -= shms_min(c->search.spare[c->kind], c->blocks);
    if (c->part == RUNS && rc == SHMS_OK)
        c->part = DONE;
}

static void part_done(struct shms_compact *c) {
    c->page = c->search.page = c->search.first;
    c->part++;
    if (c->part == PAGES && ++c->share <= 4)
        c->part = PACK; /* the next passes take spans that are fuller */
}

int shms_compact_step(struct shms_store *s, struct shms_compact *c) {
    int rc = SHMS_AGAIN;
    if (c->part == DONE)
        return SHMS_OK;
    if (!c->search.count) {
        if (!shms_search_begin(s, 1, &c->search))
            return SHMS_BUSY;
        c->share = 1;
        c->moves_before = shms_load_relaxed(&s->me->counters[SHMS_MOVES]);
    }
    if (c->busy) {
        rc = shms_search_step(s, &c->search);
        if (rc != SHMS_AGAIN)
            conclude(c, rc);
    } else if (c->part == TIDY   ? shms_heap_tidy(s, &c->page, BLOCKS_AT_ONCE)
               : c->part == PACK ? pack(s, c)
               : c->part == RUNS ? !choose_run(s, c)
                                 : shms_search_count(s, &c->search))
        part_done(c);
    c->moved = shms_load_relaxed(&s->me->counters[SHMS_MOVES]) - c->moves_before;
    return c->part == DONE ? SHMS_OK : SHMS_AGAIN;
}

void shms_compact_end(struct shms_store *s, struct shms_compact *c) { shms_search_end(s, &c->search); }
