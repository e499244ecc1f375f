/* compact.c: what is done, and when it ends, is in compact.h. */
#include "engine/compact.h"

#include "engine/heap.h"
#include "engine/compact.cdef.h"

static_assert(sizeof(struct shms_compact) <= sizeof(struct shms_compaction), "callers have room for it");

#define BEFORE_FULL 150u /* steps. A bound in time would make a loaded machine refuse more */
#define WIDE_FOR 50u     /* of them */
#define PAGES_AT_ONCE 16384u
#define BLOCKS_AT_ONCE 16384u

/* ---- for a put */

/* Twice the length first: what is left over keeps free memory in few pieces, so that later puts find room. */
int shms_hunt_step(struct shms_store *s, struct shms_hunt *h, uint64_t bytes) {
    uint64_t wanted = (bytes + SHMS_PAGE - 1) / SHMS_PAGE;
    if (h->steps++ == BEFORE_FULL)
        return SHMS_FULL;
    if (!h->search.count) { /* at first, and if another process was faster */
        h->narrow = h->steps > WIDE_FOR;
        return shms_search_begin(s, h->narrow ? wanted : 2 * wanted, &h->search) ? SHMS_AGAIN : SHMS_FULL;
    }
    int rc = shms_search_step(s, &h->search);
    if (h->narrow ? rc != SHMS_OK : rc == SHMS_AGAIN && h->steps <= WIDE_FOR)
        return rc;
    shms_search_end(s, &h->search);
    if (rc == SHMS_OK)
        return rc;
    h->narrow = shms_search_begin(s, wanted, &h->search);
    return h->narrow ? SHMS_AGAIN : SHMS_FULL;
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
    uint64_t longest = shms_span_longest_free(s);
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
    c->page = c->search.page = 0;
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
