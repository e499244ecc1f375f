/* clear.c: steps, deaths and limits are in clear.h. */
#include "engine/clear.h"

#include "engine/heap.h"

#define BYTES_AT_ONCE (1u << 20) /* copied in a step, and for other work as many as could be copied in that time: */
#define PER_MOVE 4096u
#define PER_LOOK 256u
#define PER_PAGE 16u
#define TRIES 64u /* looks at a block that another process is about to publish or to free, or whose home is locked */

void shms_clear_begin(struct shms_store *s, uint64_t first, uint64_t end, bool opens, struct shms_clearing *w) {
    *w = (struct shms_clearing){.first = first, .end = end, .at = first, .opens = opens};
    shms_pages_hide(s, first, end);
}

/* SHMS_OK: the block is free. SHMS_AGAIN: look again; a move may be in progress. */
static int empty_block(struct shms_store *s, struct shms_record *record, const struct shms_span *span,
                       struct shms_clearing *w) {
    uint64_t offset = span->start + w->block * span->bytes, word = shms_load_acquire(shms_word_at(s, offset));
    if (word == span->free)
        return SHMS_OK;
    if (w->tries++ >= TRIES)
        return SHMS_FULL;
    if (!SHMS_WORD_ALIVE(word)) {
        if ((word & 3) == SHMS_WORD_ENDED)
            shms_heap_unpinned(s, offset, word & ~3ull);
        return SHMS_AGAIN;
    }
    int rc = shms_move_begin(s, record, offset, w->opens, &w->move);
    w->moving = rc == SHMS_OK;
    w->lacks = rc == SHMS_FULL && w->opens ? (span->bytes + SHMS_PAGE - 1) / SHMS_PAGE : 0;
    return rc == SHMS_OK || rc == SHMS_MISS ? SHMS_AGAIN : SHMS_FULL;
}

/* Step 2, for the span at w->at. *left: what this step may still do, in bytes. */
static int empty_span(struct shms_store *s, struct shms_record *record, const struct shms_span *span,
                      struct shms_clearing *w, uint64_t *left) {
    shms_heap_hide(s, span); /* others may have freed blocks meanwhile */
    while (w->block < span->blocks) {
        if (*left == 0)
            return SHMS_AGAIN;
        if (w->moving) {
            uint64_t before = w->move.copied;
            if (!shms_move_copy(s, &w->move, *left))
                return SHMS_AGAIN;
            *left -= shms_min(w->move.copied - before + PER_MOVE, *left);
            w->moving = false;
            if (shms_move_end(s, record, &w->move, true) == SHMS_BUSY)
                w->tries += TRIES / 4; /* it has spun already. Whatever came of it, the word is looked at again */
            continue;
        }
        *left -= shms_min(PER_LOOK, *left);
        uint32_t tries = w->tries;
        int rc = empty_block(s, record, span, w);
        if (rc == SHMS_FULL)
            return rc;
        if (rc == SHMS_OK) {
            w->block++;
            w->tries = 0;
        } else if (!w->moving && tries >= TRIES / 4)
            return SHMS_AGAIN; /* gives others time */
    }
    return SHMS_OK;
}

int shms_clear_step(struct shms_store *s, struct shms_record *record, struct shms_clearing *w) {
    struct shms_span span;
    uint64_t left = BYTES_AT_ONCE;
    while (w->at < w->end) {
        if (left == 0)
            return SHMS_AGAIN;
        uint64_t word = shms_load_acquire(&s->pages[w->at].word);
        if (word == 0) {
            left -= shms_min(PER_PAGE, left);
            w->at++;
            continue;
        }
        if (!SHMS_PAGE_IS_OPEN(word) || !shms_span_at(s, w->at, &span) || w->at + span.pages > w->end)
            return SHMS_FULL; /* another process has opened or closed a span here */
        int rc = empty_span(s, record, &span, w, &left);
        if (rc != SHMS_OK)
            return rc;
        w->block = 0; /* of the next span; or of this one again, if another process has allocated in it */
        if (!shms_span_close_unseen(s, &span) && w->tries++ >= TRIES)
            return SHMS_FULL;
    }
    return SHMS_OK;
}

void shms_clear_end(struct shms_store *s, struct shms_record *record, struct shms_clearing *w) {
    if (w->moving)
        shms_move_cancel(s, record, &w->move);
    w->moving = false;
    shms_pages_find_free(s, w->first, w->end);
    uint64_t page = w->at; /* all before it are free, and the maps behind it have not been touched */
    if (page < w->end)
        shms_heap_tidy(s, &page, 1);
}
